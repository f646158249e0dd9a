"""The methods of `Network` that need other modules of this package: `fit`, `save` and pickling.

`Network` is a class of the extension. This module adds these methods to it when `tinyrs` is imported, so that
the extension does not import Python modules of the package.

Why not a subclass? `forward` with one row would take 5 % longer: CPython calls a C method fastest on an
instance of exactly the class that defines it."""

from __future__ import annotations

from tinyrs._tinyrs import Network as Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike
    from typing import SupportsIndex

    import numpy.typing as npt

    from tinyrs._tinyrs import Optimizer
    from tinyrs.history import History, Record


def fit(
    self: Network,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: str | None = None,
    optimizer: str | Optimizer = "adam",
    learning_rate: float = 1e-3,
    schedule: str = "constant",
    learning_rate_factors: Sequence[tuple[float, float]] | None = None,
    batch_size: SupportsIndex = 256,
    epochs: SupportsIndex = 10,
    weight_decay: float = 0.0,
    weight_decay_schedule: str = "constant",
    dropout: float = 0.0,
    dropout_schedule: str = "constant",
    label_smoothing: float = 0.0,
    smoothing_prior: Sequence[float] | None = None,
    clip_norm: float | None = None,
    sample_weight: npt.ArrayLike | None = None,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    patience: SupportsIndex | None = None,
    monitor: str = "loss",
    restore_best: bool = True,
    shuffle: bool = True,
    seed: SupportsIndex | None = None,
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_every: SupportsIndex = 1,
    resume: str | PathLike[str] | None = None,
    callback: Callable[[Record], object] | None = None,
    progress: bool = False,
    n_threads: SupportsIndex | None = None,
) -> History:
    """Train the network, starting from its current parameters.

    Training runs in Rust without the GIL. Other threads can call `forward` meanwhile, and a callback sees the
    parameters at the end of each epoch. The same seed gives the same bits for any number of threads.

    Parameters
    ----------
    X : array of shape (rows, features), or SciPy CSR matrix
        Inputs. A sparse matrix is made dense one batch at a time.
    y : array
        Targets. For "cross_entropy": integer labels of shape (rows,), or distributions of shape
        (rows, outputs). For "binary_cross_entropy": numbers in [0, 1] of shape (rows, outputs). For
        "squared_error": numbers of shape (rows, outputs). With one output, the shape can be (rows,).
    loss : {"cross_entropy", "binary_cross_entropy", "squared_error"}, optional
        Loss function. The default depends on the output activation: "cross_entropy" for "softmax",
        "binary_cross_entropy" for "sigmoid", "squared_error" for others. With the output activation
        "identity", the first two treat the outputs as logits. The last two are means over the outputs.
    optimizer : {"adam", "adamw", "sgd"} or Optimizer
        A name starts with a new state. An `Optimizer` continues from its own state and keeps the new one.
    learning_rate : float
        Largest learning rate.
    schedule : {"constant", "warmup_cosine", "one_cycle", "coslog4", "flat_cosine"}
        Factor of the learning rate over the course t from 0 to 1 of all steps. "warmup_cosine" rises linearly
        over the first tenth, then falls along a cosine (Loshchilov and Hutter 2017). "one_cycle" rises from
        1/25 over the first three tenths, then falls (Smith and Topin 2018). "coslog4" is
        0.5 (1 - cos(2 pi log2(1 + 15 t))), "flat_cosine" is 1 and falls along a cosine over the second half
        (both Holzmuller et al. 2024).
    learning_rate_factors : sequence of (float, float), optional
        One pair per layer: factors of the learning rate of its weights and of its biases.
    batch_size : int
        Rows per step. The last batch of an epoch may be smaller.
    epochs : int
        Number of passes over X.
    weight_decay : float
        Factor of the decay of the weights; biases do not decay. "sgd" and "adam" add
        ``weight_decay * W`` to the gradient, "adamw" subtracts ``learning_rate * weight_decay * W`` from the
        weights (Loshchilov and Hutter 2019).
    weight_decay_schedule : str
        Factor of `weight_decay` over the steps, as for `schedule`.
    dropout : float
        Probability that a hidden value is set to 0 in a step; the other values are divided by
        ``1 - dropout`` (Srivastava et al. 2014).
    dropout_schedule : str
        Factor of `dropout` over the steps, as for `schedule`.
    label_smoothing : float
        Share of each target that `smoothing_prior` replaces (Szegedy et al. 2016).
    smoothing_prior : sequence of float, optional
        Probability of each output that label smoothing mixes into the targets, (outputs,), for example the
        frequency of each class. By default the same for all classes, or 1/2 for each label.
    clip_norm : float, optional
        Largest 2-norm of the gradient over all parameters; a larger gradient is scaled down to it.
    sample_weight : array of shape (rows,), optional
        Weights of the rows; only their ratios matter.
    validation : tuple (X, y), optional
        Rows to compute a loss and a score on after each epoch.
    patience : int, optional
        Number of epochs without an improvement after which training stops.
    monitor : {"loss", "score"}
        Criterion for the best epoch: the validation loss (the training loss without a validation set), or the
        validation score, of which the last maximum counts.
    restore_best : bool
        Whether to end with the parameters of the best epoch; needs a validation set.
    shuffle : bool
        Whether to visit the rows in a new random order in each epoch.
    seed : int, optional
        Seed of shuffling and dropout. None takes the seed of the checkpoint in `resume`, or a random seed.
    checkpoint : str or path, optional
        File to write the state of training to, after every `checkpoint_every` epochs and after the last one.
        An interrupted write leaves the previous checkpoint intact. `tinyrs.load` loads the network in it.
    checkpoint_every : int
        Number of epochs between two checkpoints.
    resume : str or path, optional
        Checkpoint to continue from. The data and the other arguments must be those of the interrupted call,
        which is checked; the result then has the same bits as training without an interruption.
    callback : callable, optional
        Called after each epoch with a dict: epoch, loss, validation_loss, validation_score, learning_rate,
        seconds, samples_per_second. Return True to stop training.
    progress : bool
        Whether to show a progress bar on standard error; needs tqdm.
    n_threads : int, optional
        Largest number of threads; by default `tinyrs.get_num_threads()`. Small steps use one thread.

    Returns
    -------
    History
        The records of the epochs, the best epoch, and why training stopped.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid. The network is unchanged.
    OSError
        If a checkpoint cannot be written or read.
    FloatingPointError
        If the loss or a parameter becomes infinite or NaN. The network has the parameters of the last
        finished epoch.
    KeyboardInterrupt
        After Ctrl-C. The network has the parameters of the last finished epoch.
    RuntimeError
        If the network or the optimizer is in use by another call of `fit`.
    """
    from tinyrs.history import History, ProgressBar

    write_checkpoint = read_checkpoint = None
    if checkpoint is not None or resume is not None:
        from functools import partial

        from tinyrs.files import checkpoint as files

        if checkpoint is not None:
            write_checkpoint = partial(files.write, checkpoint, self.options)
        if resume is not None:
            read_checkpoint = partial(files.read, resume)
    # Three tuples in the order of `FitArguments` in Rust: a dict of 28 items would take 2 us more.
    result = self._fit(
        (X, y, sample_weight, validation),
        (
            loss,
            learning_rate,
            schedule,
            learning_rate_factors,
            batch_size,
            epochs,
            weight_decay,
            weight_decay_schedule,
            dropout,
            dropout_schedule,
            label_smoothing,
            smoothing_prior,
            clip_norm,
            patience,
            monitor,
            restore_best,
            shuffle,
            n_threads,
        ),
        (
            optimizer,
            seed,
            write_checkpoint,
            checkpoint_every,
            read_checkpoint,
            callback,
            ProgressBar if progress else None,
        ),
    )
    return History(*result)


def save(self: Network, path: str | PathLike[str]) -> None:
    """Save the network to a safetensors file, which `tinyrs.load` loads.

    An interrupted write leaves an existing file intact. A killed process can leave a temporary file
    `.tinyrs-*.tmp` in the same folder, which can be deleted.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from tinyrs.files import model_file

    model_file.write(path, model_file.network_to_bytes(self))


def _reduce(self: Network) -> tuple[Callable[[bytes], object], tuple[bytes]]:
    """Pickle the network as the bytes of a model file."""
    from tinyrs.files import model_file
    from tinyrs.predictor import loads

    return loads, (model_file.network_to_bytes(self),)


for _name, _method in {"fit": fit, "save": save, "__reduce__": _reduce}.items():
    _method.__name__, _method.__qualname__ = _name, f"Network.{_name}"
    setattr(Network, _name, _method)
