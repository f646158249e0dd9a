"""The schedules of the learning rate."""

import matplotlib.pyplot as plt
import numpy as np
from tinyrs import oracle

t = np.linspace(0, 1, 800, endpoint=False)
figure, ax = plt.subplots()
for name in oracle.SCHEDULES:
    if name != "constant":
        ax.plot(t, [oracle.schedule(name, float(s)) for s in t], label=name)
ax.set(xlabel="share of all steps", ylabel="factor of the learning rate")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
