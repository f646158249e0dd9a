"""
What low precision costs
========================

The weights of one network in four formats: their size, and what changes in the probabilities of rows that the model has
not seen.
"""

import matplotlib.pyplot as plt
import numpy as np
import tinyrs
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
predictor = tinyrs.TinyClassifier(max_iter=128, random_state=0).fit(X_train, y_train).predictor()
exact = predictor.predict_proba(X_test)

formats = ["f16", "bf16", "int8_weights", "int8"]
differences = {}
print(
    f"f32           {predictor.network.nbytes / 1e3:4.0f} kB, accuracy {(predictor.predict(X_test) == y_test).mean():.3f}"
)
for name in formats:
    small = predictor.quantize(name, X=X_test, y=y_test)
    cost = small.quantization
    differences[name] = np.abs(small.predict_proba(X_test) - exact).max(axis=1)
    print(
        f"{name:12}  {small.network.nbytes / 1e3:4.0f} kB, accuracy {cost['accuracy']:.3f}, "
        f"log loss {cost['log_loss'] - cost['log_loss_before']:+.5f}, {cost['labels_changed']:.2%} of labels changed"
    )

# %%
# The largest change of a probability in each row, sorted: almost all rows hardly change.

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name in formats:
    ax.semilogy(np.linspace(0, 1, len(y_test)), np.sort(differences[name]) + 1e-9, label=name)
ax.set(xlabel="share of the rows", ylabel="largest change of a probability", ylim=(1e-7, 1))
ax.legend()
