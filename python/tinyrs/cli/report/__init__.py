"""The HTML reports of `tinyrs train --report` and `tinyrs bench --html`: no scripts, nothing that is loaded.

    page         assembles the page about a model: metrics, curves, and how the model was made
    serving_page assembles the page of a benchmark: scenarios, latencies, cost and error, the machine
    document     the document around the sections, its heading, lists of facts
    classes      the confusion matrix, precision and recall
    budget       the search of --budget: planes of latency or size and error, the students that were tried
    columns      importance, content and warnings of the columns
    rows         the least confident predictions
    charts       curves and the reliability diagram as SVG; their axes are in `axes`
    serving_charts  histograms of latencies, and the plane of cost and error
    elements     cards, tables, lists that unfold
    names        shortens names and numbers
    markup       builds and escapes elements
    provenance   command, time and digests of the files

The content comes from `tinyrs.cli.training_results` and `tinyrs.bench.serving.outcomes`; `report.css` is
embedded. Start reading at `page.write`.
"""
