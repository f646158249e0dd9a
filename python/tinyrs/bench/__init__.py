"""The benchmark tools: every answer is verified before it is timed.

    config        what to run: frozen dataclasses, filled from the command line or from YAML
    prices        prices of machines, from text or from prices.csv
    workload      the seeded network and its inputs
    engines       tinyrs and NumPy, which compute a pass
    verify        the right answer, and how far from it an engine may be
    harness       verify, warm up, take turns, verify again; percentiles
    latency       the percentiles of single calls of one model in this process
    isolated      a function in a new process that reports JSON
    environment   the machine: cores, caches, memory, versions
    runner        measures the engines of a plan on one case
    results       one schema: statistics, JSON, CSV
    report        text and Markdown
    plot          a plot of a sweep
    compare       two programs on the same cases: faster, slower, or not told apart
    interleave    runs two programs in turn
    cli           what quick_benchmark.py and benchmark.py share
    serving/      measures model files as they are served

Uses only the public names of `tinyrs`. Start with `runner`.
"""
