from collections.abc import Iterable
from typing import Any, Literal, SupportsIndex, TypedDict, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

__all__ = ["Network", "build_info", "get_num_threads", "machine_limits", "set_num_threads"]

_Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_Parameters = Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]

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

@final
class Network:
    def __new__(
        cls,
        layer_sizes: Iterable[SupportsIndex],
        *,
        activation: str = "tanh",
        output_activation: str = "identity",
        precision: str = "f32",
        activation_scale: float = 1.0,
        epsilon_exp: float = 4e-6,
        epsilon_square: float = 4e-6,
        seed: SupportsIndex | None = None,
    ) -> Self: ...
    @classmethod
    def from_parameters(
        cls,
        parameters: _Parameters,
        *,
        activation: str = "tanh",
        output_activation: str = "identity",
        precision: str = "f32",
        activation_scale: float = 1.0,
        epsilon_exp: float = 4e-6,
        epsilon_square: float = 4e-6,
    ) -> Self: ...
    def forward(
        self, X: npt.ArrayLike, *, out: _Floats | None = None, n_threads: SupportsIndex | None = None
    ) -> npt.NDArray[Any]: ...
    def parameters(self) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]: ...
    def set_parameters(self, parameters: _Parameters) -> None: ...
    @property
    def layer_sizes(self) -> tuple[int, ...]: ...
    @property
    def precision(self) -> Literal["f32", "f64"]: ...
    @property
    def activation(self) -> str: ...
    @property
    def output_activation(self) -> str: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: Any) -> Self: ...
    def __reduce__(self) -> Any: ...

def set_num_threads(n_threads: SupportsIndex) -> None: ...
def get_num_threads() -> int: ...
def build_info() -> _BuildInfo: ...
def machine_limits(
    n_threads: SupportsIndex | None = None, *, working_set: SupportsIndex | None = None
) -> _MachineLimits: ...
