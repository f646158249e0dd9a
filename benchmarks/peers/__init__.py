"""Compares tinyrs with other libraries on the same work in the same run; `compare.py` is its command line.

workloads   the networks and their inputs
engines     the forward pass of each library
running     verify, take turns, verify again
processes   what only a new process shows: cold start, import time, idle threads
training/   the same for training
low_precision/  the same in low precision, with the error of each library
targets     the ratios that tinyrs has to reach
report      tables, Markdown, JSON, a plot

Start with `running`. Uses the public names of tinyrs, and `tinyrs.bench`.
"""
