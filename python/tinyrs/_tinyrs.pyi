from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, SupportsIndex, TypedDict, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from tinyrs.history import History, Record

__all__ = [
    "ColumnCheck",
    "FeatureEncoder",
    "Network",
    "Optimizer",
    "RowPredictor",
    "Tensor",
    "build_info",
    "digest",
    "first_infinite",
    "get_num_threads",
    "machine_limits",
    "parse_json",
    "read_safetensors",
    "row_maxima",
    "set_num_threads",
    "write_safetensors",
]

_Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_Parameters = Iterable[tuple[npt.ArrayLike | Tensor, npt.ArrayLike | Tensor]]
_Gradients = list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]

class _BuildInfo(TypedDict):
    version: str
    isa: str
    isa_available: list[str]
    profile: str
    target: str

class _MachineLimits(TypedDict):
    n_threads: int
    working_set: int
    read_bandwidth: float
    streams: int
    prefetch_distance: int
    fma_f32: float
    fma_f64: float
    multiply_add_bf16: float
    multiply_add_int8: float

@final
class ColumnCheck:
    def __new__(
        cls,
        n_columns: int,
        columns: Sequence[tuple[int, float, float, float, float, float]],
        report: Callable[[list[tuple[int, int, int]], int], object],
    ) -> Self: ...
    def count(self, X: npt.ArrayLike) -> list[tuple[int, int]]: ...
    def find(self, counts: Sequence[tuple[int, int]], rows: int) -> list[tuple[int, int, int]]: ...

@final
class FeatureEncoder:
    def __new__(
        cls,
        n_columns: int,
        numbers: Sequence[tuple[int, float, float, bool]],
        categories: Sequence[tuple[int, int]],
    ) -> Self: ...
    @property
    def n_features(self) -> int: ...
    def transform(self, X: npt.ArrayLike, *, precision: str) -> npt.NDArray[Any]: ...
    def forward(
        self,
        network: Network,
        X: npt.ArrayLike,
        *,
        out: _Floats | None = None,
        n_threads: SupportsIndex | None = None,
        check: ColumnCheck | None = None,
    ) -> npt.NDArray[Any]: ...

@final
class Network:
    def __new__(
        cls,
        layer_sizes: Iterable[SupportsIndex],
        *,
        activation: str | Sequence[str] = "tanh",
        output_activation: str = "identity",
        precision: str = "f32",
        activation_scale: float = 1.0,
        numeric_embedding: str | None = None,
        epsilon_exp: float = 4e-6,
        epsilon_square: float = 4e-6,
        init: str = "glorot_uniform",
        seed: SupportsIndex | None = None,
    ) -> Self: ...
    @classmethod
    def from_parameters(
        cls,
        parameters: _Parameters,
        *,
        activation: str | Sequence[str] = "tanh",
        output_activation: str = "identity",
        precision: str = "f32",
        activation_scale: float = 1.0,
        numeric_embedding: str | None = None,
        epsilon_exp: float = 4e-6,
        epsilon_square: float = 4e-6,
    ) -> Self: ...
    def forward(
        self, X: npt.ArrayLike, *, out: _Floats | None = None, n_threads: SupportsIndex | None = None
    ) -> npt.NDArray[Any]: ...
    def forward_one(self, X: Iterable[float]) -> list[float]: ...
    def quantize(self, kind: str | Sequence[str]) -> Self: ...
    @classmethod
    def ensemble(cls, members: Iterable[Network]) -> Self: ...
    @property
    def members(self) -> list[Network]: ...
    def _stored(self) -> list[dict[str, Any]]: ...
    @classmethod
    def _from_stored(
        cls,
        layers: Iterable[dict[str, Any]],
        *,
        activation: str | Sequence[str] | None = None,
        output_activation: str | None = None,
        precision: str = "f32",
        activation_scale: float | None = None,
        numeric_embedding: str | None = None,
        epsilon_exp: float | None = None,
        epsilon_square: float | None = None,
    ) -> Self: ...
    def explain_plan(self, batch: SupportsIndex, *, n_threads: SupportsIndex | None = None) -> str: ...
    def backward(
        self, X: npt.ArrayLike, d_output: npt.ArrayLike, *, n_threads: SupportsIndex | None = None
    ) -> tuple[npt.NDArray[Any], _Gradients]: ...
    def loss_and_gradients(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        loss: str | None = None,
        sample_weight: npt.ArrayLike | None = None,
        label_smoothing: float = 0.0,
        n_threads: SupportsIndex | None = None,
    ) -> tuple[float, _Gradients]: ...
    def fit(
        self,
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
    ) -> History: ...
    def _fit(
        self, data: tuple[Any, ...], settings: tuple[Any, ...], control: tuple[Any, ...]
    ) -> tuple[list[Record], int, str]: ...
    def apply_gradients(
        self,
        gradients: _Parameters,
        optimizer: Optimizer,
        *,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
    ) -> None: ...
    def parameters(self) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]: ...
    def set_parameters(self, parameters: _Parameters) -> None: ...
    @property
    def layer_sizes(self) -> tuple[int, ...]: ...
    @property
    def precision(self) -> Literal["f32", "f64"]: ...
    @property
    def weights(self) -> str: ...
    @property
    def layer_weights(self) -> tuple[str, ...]: ...
    @property
    def activation(self) -> str | list[str]: ...
    @property
    def numeric_embedding(self) -> str | None: ...
    @property
    def output_activation(self) -> str: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: Any) -> Self: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    def __reduce__(self) -> Any: ...

@final
class Optimizer:
    def __new__(
        cls,
        algorithm: str = "adam",
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> Self: ...
    @property
    def steps(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: Any) -> Self: ...
    def __reduce__(self) -> Any: ...
    def __setstate__(self, state: dict[str, Any]) -> None: ...

@final
class RowPredictor:
    def __new__(
        cls,
        network: Network,
        labels: Sequence[Any],
        *,
        encoder: FeatureEncoder | None = None,
        check: ColumnCheck | None = None,
        names: tuple[str, ...] | None = None,
        multilabel: bool = False,
    ) -> Self: ...
    def predict(self, X: object) -> Any: ...
    def predict_proba(self, X: object) -> dict[Any, float]: ...

@final
class Tensor:
    def __new__(cls, dtype: str, shape: Sequence[int], data: bytes) -> Self: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def tolist(self) -> list[Any]: ...
    def tobytes(self) -> bytes: ...
    def is_finite(self, *, missing: bool = False) -> bool: ...
    def copy(self) -> Self: ...
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]: ...

def set_num_threads(n_threads: SupportsIndex) -> None: ...
def get_num_threads() -> int: ...
def build_info() -> _BuildInfo: ...
def machine_limits(
    n_threads: SupportsIndex | None = None, *, working_set: SupportsIndex | None = None
) -> _MachineLimits: ...
def read_safetensors(data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]: ...
def write_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes: ...
def digest(description: str, tensors: Mapping[str, Tensor]) -> str: ...
def parse_json(text: str) -> Any: ...
def first_infinite(values: npt.ArrayLike) -> int | None: ...
def row_maxima(X: npt.ArrayLike) -> tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]: ...
