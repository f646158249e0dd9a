"""The cross-entropy of one row, as a function of the probability of the right class."""

import matplotlib.pyplot as plt
import numpy as np

p = np.linspace(0.01, 1, 300)
figure, ax = plt.subplots()
ax.plot(p, -np.log(p))
for q in (0.01, 0.1, 0.5, 0.9):
    ax.plot(q, -np.log(q), "o", color="C0")
    ax.annotate(f"p = {q}: {-np.log(q):.2f}", (q, -np.log(q)), xytext=(8, 4), textcoords="offset points")
ax.set(xlabel="probability of the right class", ylabel="loss", xlim=(-0.03, 1.18), ylim=(-0.2, 5.2))
