"""Gradient descent with three learning rates."""

import matplotlib.pyplot as plt
import tinyrs
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
figure, ax = plt.subplots()
for rate, name in ((0.01, "too small"), (1.0, "about right"), (20.0, "too large")):
    network = tinyrs.Network([30, 16, 2], output_activation="softmax", seed=0)
    optimizer = tinyrs.Optimizer("sgd", momentum=0.0)
    history = network.fit(X, y, optimizer=optimizer, learning_rate=rate, batch_size=len(y), epochs=60, seed=0)
    ax.plot(history["loss"], label=f"{rate}: {name}")
ax.set(xlabel="step", ylabel="loss", ylim=(-0.1, 3))
ax.legend(title="learning rate")
