"""The program `tinyrs`: from a table to predictions, and what lies between, on a command line.

`main` knows the verbs and imports the module of the one that was asked for; a verb's module has `parser()`
and `run(options)`, which returns what `--json` prints.
"""
