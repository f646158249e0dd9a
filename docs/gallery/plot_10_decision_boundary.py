"""
Reading a decision boundary
===========================

What a network can express, drawn on two columns of the wine table: from a straight line to a patchwork.
"""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

data = load_wine(as_frame=True)
columns = ["color_intensity", "alcohol"]
X = StandardScaler().fit_transform(data.data[columns])
y = data.target.to_numpy()


def draw(ax, network, title):
    """The regions of the three classes; pale where the network is unsure."""
    x1, x2 = np.meshgrid(np.linspace(-2.2, 3.5, 240), np.linspace(-2.7, 2.5, 240))
    p = network.forward(np.column_stack([x1.ravel(), x2.ravel()]))
    colours = np.array([[0.12, 0.47, 0.71], [1.0, 0.5, 0.05], [0.17, 0.63, 0.17]])
    picture = np.clip(p @ colours, 0, 1).reshape(240, 240, 3)
    ax.imshow(picture, extent=(-2.2, 3.5, -2.7, 2.5), origin="lower", aspect="auto", alpha=0.6)
    ax.scatter(*X.T, c=colours[y], edgecolor="white", linewidth=0.6, s=22)
    ax.set(title=title, xlabel=columns[0], xticks=[], yticks=[])


def trained(layer_sizes, **options):
    network = tinyrs.Network(layer_sizes, activation="tanh", output_activation="softmax", seed=1)
    network.fit(X, y, learning_rate=0.02, batch_size=32, seed=0, **options)
    return network


figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
draw(axes[0], trained([2, 3], epochs=100), "no hidden layer: straight lines")
draw(axes[1], trained([2, 8, 3], epochs=100), "8 hidden neurons: curves")
draw(axes[2], trained([2, 128, 128, 3], epochs=1500), "two layers of 128, 1,500 epochs")
axes[0].set_ylabel(columns[1])

# %%
# The third network has learned single bottles by heart: its boundary bends around them. Weight decay and fewer epochs
# keep the boundary smooth, and rows that were held out say how smooth it should be.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for ax, weight_decay in zip(axes, (0.0, 0.1, 1.0), strict=True):
    network = trained([2, 128, 128, 3], epochs=300, optimizer="adamw", weight_decay=weight_decay)
    draw(ax, network, f"weight decay {weight_decay}")
axes[0].set_ylabel(columns[1])

# %%
# One neuron draws one line, at which its sum is 0. The first hidden layer of the second network:

network = trained([2, 8, 3], epochs=100)
(W, b), _ = network.parameters()
figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
draw(ax, network, "the lines of eight hidden neurons")
x1 = np.array([-2.2, 3.5])
for w, bias in zip(W, b, strict=True):
    ax.plot(x1, -(w[0] * x1 + bias) / w[1], color="0.2", linewidth=1)
ax.set(xlim=(-2.2, 3.5), ylim=(-2.7, 2.5), ylabel=columns[1])
