"""tinyrs and what people would otherwise use, on the same work in the same run; `compare.py` is its command.

workloads   the networks and their inputs
engines     each library, called as its makers recommend
running     verify, then time in turns
processes   what only a fresh process shows: cold start, import, idle threads
targets     what tinyrs has to reach
report      tables, Markdown, JSON, a plot
"""
