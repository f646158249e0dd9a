"""Learning curves of SGD, momentum and Adam on the digits."""

import matplotlib.pyplot as plt
import tinyrs
from sklearn.datasets import load_digits

X, y = load_digits(return_X_y=True)
figure, ax = plt.subplots()
for name, optimizer, rate in (
    ("SGD, rate 0.05", tinyrs.Optimizer("sgd", momentum=0.0), 0.05),
    ("momentum 0.9, rate 0.05", tinyrs.Optimizer("sgd", momentum=0.9), 0.05),
    ("Adam, rate 0.002", tinyrs.Optimizer("adam"), 0.002),
):
    network = tinyrs.Network([64, 64, 64, 10], output_activation="softmax", seed=0)
    history = network.fit(
        X / 16, y, optimizer=optimizer, learning_rate=rate, batch_size=64, epochs=20, seed=0
    )
    ax.semilogy(range(1, 21), history["loss"], label=name)
ax.set(xlabel="epoch", ylabel="training loss", xticks=range(0, 21, 5))
ax.legend()
