"""The program `tinyrs`: train, evaluate, use and export a classifier from the command line.

One module a command: `train`, `predict`, `evaluate`, `info`, `export`, `quantize`, `bench`. Each has
`parser()` and `run(options)`, which returns what `--json` prints. The other modules are shared by the
commands; `report/` writes the HTML page of `train --report`. Nothing else in the package imports this one.
Start reading at `main`, which imports only the module of the command that was given.
"""
