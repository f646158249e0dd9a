"""The forward pass of each library in low precision, from f32 arrays to f32 arrays.

ENGINES maps a name to a `LowPrecision`, whose `make` is what ENGINES in `peers.engines` has. Libraries run in
f32 too: for some formats of tinyrs, no library has a low precision with an error as small.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from tinyrs.oracle import Layer
from tinyrs.oracle_quantized import FORMATS

from peers.engines import Engine, Make, onnxruntime_engine, openvino_engine, tinyrs_engine, torch_engine
from peers.workloads import Workload

# The default of MatMulNBits: this many inputs of an output share a scale.
_BLOCK = 128
# NNCF observes the layers of a network on this many batches.
_CALIBRATION_BATCHES = 32


@dataclass(frozen=True)
class LowPrecision:
    """An engine, and the format whose error bounds its own: "f32", or one of `oracle_quantized.FORMATS`."""

    format: str
    make: Make


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantizers from printing their progress, and from logging and warning."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def onnxruntime_dynamic(model: bytes) -> bytes:
    """int8 weights with a scale for each output; each call quantizes inputs with one scale for all rows."""
    import onnx

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        from onnxruntime.quantization import quantize_dynamic

        path = Path(folder) / "int8.onnx"
        quantize_dynamic(onnx.load_from_string(model), path, per_channel=True)
        return path.read_bytes()


def onnxruntime_blocks(accuracy_level: int, model: bytes) -> bytes:
    """MatMulNBits with 8 bits: inputs stay f32 at accuracy level 1 and are quantized too at level 4."""
    import onnx

    with _quiet():
        # Needs the package onnx-ir.
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        from onnxruntime.quantization.onnx_model import ONNXModel

        products = ONNXModel(onnx.load_from_string(model))
        products.replace_gemm_with_matmul()
        quantizer = MatMulNBitsQuantizer(
            products.model, bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=accuracy_level
        )
        quantizer.process()
        return bytes(quantizer.model.model.SerializeToString())


def nncf_engine(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    """int8 weights and inputs of products, with scales that NNCF chooses on the inputs of the workload."""
    import nncf

    def convert(model: Any) -> Any:
        batches = workload.inputs()[:_CALIBRATION_BATCHES]
        with _quiet():
            return nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches))

    return openvino_engine(workload, layers, convert=convert)


def nncf_weights_engine(workload: Workload, layers: Sequence[Layer]) -> Callable[[int], Engine]:
    """int8 weights; OpenVINO may quantize the inputs of a product in each call."""
    import nncf

    def convert(model: Any) -> Any:
        with _quiet():
            return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)

    return openvino_engine(workload, layers, convert=convert)


def torch_dynamic(model: Any) -> Any:
    """int8 weights with a scale for each layer; each call quantizes inputs with one scale for all rows."""
    import torch

    with _quiet():
        from torch.ao.quantization import quantize_dynamic

        return quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def torch_bfloat16(model: Any) -> Any:
    """Everything in bfloat16 between the input and the output."""
    import torch

    class InBfloat16(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model.bfloat16()

        def forward(self, x: Any) -> Any:
            return self.model(x.bfloat16()).float()

    return InBfloat16()


OURS = "tinyrs"
ENGINES: dict[str, LowPrecision] = {
    f"{OURS} f32": LowPrecision("f32", tinyrs_engine),
    **{f"{OURS} {name}": LowPrecision(name, partial(tinyrs_engine, weights=name)) for name in FORMATS},
    "onnxruntime f32": LowPrecision("f32", onnxruntime_engine),
    "onnxruntime int8": LowPrecision("int8", partial(onnxruntime_engine, convert=onnxruntime_dynamic)),
    "onnxruntime 8 bits, level 1": LowPrecision(
        "int8_weights", partial(onnxruntime_engine, convert=partial(onnxruntime_blocks, 1))
    ),
    "onnxruntime 8 bits, level 4": LowPrecision(
        "int8", partial(onnxruntime_engine, convert=partial(onnxruntime_blocks, 4))
    ),
    "openvino f32": LowPrecision("f32", openvino_engine),
    "openvino bf16": LowPrecision("bf16", partial(openvino_engine, precision="bf16")),
    # bf16 where the processor does not compute in f16.
    "openvino f16": LowPrecision("bf16", partial(openvino_engine, precision="f16")),
    "openvino int8 (NNCF)": LowPrecision("int8", nncf_engine),
    "openvino int8 weights (NNCF)": LowPrecision("int8", nncf_weights_engine),
    "PyTorch bf16": LowPrecision("bf16", partial(torch_engine, convert=torch_bfloat16)),
    "PyTorch int8": LowPrecision("int8", partial(torch_engine, convert=torch_dynamic)),
}
