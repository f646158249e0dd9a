"""The activation functions and their derivatives."""

import matplotlib.pyplot as plt
import numpy as np
from tinyrs import oracle

z = np.linspace(-4, 4, 401)
names = [name for name in oracle.ACTIVATIONS if name != "identity"]
figure, axes = plt.subplots(2, 4, figsize=(8.5, 4.2), sharex=True)
for ax, name in zip(axes.flat, names, strict=False):
    ax.plot(z, oracle.activate(z, name), label="f(z)")
    ax.plot(z, oracle.derivative(z, name), "--", label="f'(z)")
    ax.set(title=name, ylim=(-2, 4))
    ax.axhline(0, color="0.7", linewidth=0.5)
    ax.axvline(0, color="0.7", linewidth=0.5)
last = axes.flat[-1]
last.axis("off")
last.legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
