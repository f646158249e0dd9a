"""The benchmark tools: every answer is checked before it is timed.

    config       what to run: frozen dataclasses, from the command line or from YAML
    workload     the seeded network and its inputs
    engines      who computes it
    verify       what the right answer is, and how far from it an engine may be
    environment  the machine: cores, caches, memory, versions
    runner       verify, then time
    results      one schema: statistics, JSON, CSV
    report       text and Markdown
    plot         a picture of a sweep
    cli          what quick_benchmark.py and benchmark.py share

Uses the public names of `tinyrs` only.
"""
