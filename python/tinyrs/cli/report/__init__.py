"""The HTML report of `tinyrs train --report`: one file without scripts that loads nothing.

`page` assembles the sections, `charts` draws SVG, `markup` builds and escapes elements; `report.css` is
embedded. The content comes from `tinyrs.cli.training_results`. Start reading at `page.write`.
"""
