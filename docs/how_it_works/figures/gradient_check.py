"""The error of derivatives by central differences, over the step h."""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from tinyrs import oracle

rng = np.random.default_rng(0)
X, y = rng.normal(size=(32, 5)), rng.integers(0, 3, 32)
options = {"activation": "tanh", "output_activation": "softmax"}
layers = tinyrs.Network([5, 8, 8, 3], **options, precision="f64", seed=1).parameters()


def loss_and_gradients():
    return oracle.loss_and_gradients(X, y, layers, loss="cross_entropy", **options)


exact = loss_and_gradients()[1]
steps = np.logspace(-12, -1, 34)
figure, ax = plt.subplots()
for layer, color in enumerate(("C0", "C1", "C2")):
    W = layers[layer][0]
    w = W[1, 2]
    errors = []
    for h in steps:
        W[1, 2] = w + h
        above = loss_and_gradients()[0]
        W[1, 2] = w - h
        below = loss_and_gradients()[0]
        W[1, 2] = w
        errors.append(abs((above - below) / (2 * h) / exact[layer][0][1, 2] - 1))
    ax.loglog(steps, errors, "o-", markersize=3, color=color, label=f"a weight of layer {layer + 1}")
ax.loglog(steps[20:], steps[20:] ** 2, "--", color="0.5", label="$h^2$")
ax.set(xlabel="step h", ylabel="relative error")
ax.legend()
