"""Training with tinyrs and with other libraries; `benchmarks/training.py` is its command line.

workloads   the networks and their data
engines     each library's epoch
running     verify, take turns, verify again
report      the table of one workload
scaling     how the time of a step grows with the batch and the network, as a plot
"""
