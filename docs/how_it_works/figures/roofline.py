"""The roofline of a core with 15 GB/s and 150 GFLOP/s, over the rows of a batch."""

import matplotlib.pyplot as plt
import numpy as np

bandwidth, peak = 15.0, 150.0  # GB/s and GFLOP/s
rows = np.logspace(0, 3, 200)
rate = {"f32": 2 / 4, "int8 weights": 2 / 1}  # operations for each row and byte of weights
figure, ax = plt.subplots()
for name, operations in rate.items():
    ax.loglog(rows, np.minimum(bandwidth * operations * rows, peak), label=name)
ax.axhline(peak, color="0.6", linestyle=":")
ax.annotate("peak of the multiply-add units", (30, peak), xytext=(0, 5), textcoords="offset points")
ax.annotate("read bandwidth", (2.2, 18), rotation=38)
ax.set(xlabel="rows in a batch", ylabel="GFLOP/s at most", ylim=(5, 300))
ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
ax.legend(loc="lower right", title="15 GB/s, 150 GFLOP/s")
