"""Gradient descent with three learning rates."""

import matplotlib.pyplot as plt
import tinyrs
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

X, y = load_wine(return_X_y=True)
X = StandardScaler().fit_transform(X)
figure, ax = plt.subplots()
for rate, name in ((0.01, "too small"), (0.3, "about right"), (12.0, "too large")):
    network = tinyrs.Network([13, 16, 3], output_activation="softmax", seed=0)
    optimizer = tinyrs.Optimizer("sgd", momentum=0.0)
    history = network.fit(X, y, optimizer=optimizer, learning_rate=rate, batch_size=len(y), epochs=60, seed=0)
    ax.plot(history["loss"], label=f"{rate}: {name}")
ax.set(xlabel="step", ylabel="loss", ylim=(-0.1, 4))
ax.legend(title="learning rate")
