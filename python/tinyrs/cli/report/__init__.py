"""The HTML report of `tinyrs train --report`: one file without scripts that loads nothing.

    page         assembles the page: metrics at the top, curves, and how the model was made
    classes      the confusion matrix, precision and recall
    columns      importance, content and warnings of the columns
    rows         the least confident predictions
    charts       curves and the reliability diagram as SVG; their axes are in `axes`
    elements     cards, tables, lists that unfold
    names        shortens names and numbers
    markup       builds and escapes elements
    provenance   command, time and digests of the files

The content comes from `tinyrs.cli.training_results`; `report.css` is embedded. Start reading at `page.write`.
"""
