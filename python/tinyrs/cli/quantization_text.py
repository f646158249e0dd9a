"""The text of `Predictor.quantization` that commands print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def quantization_lines(record: Mapping[str, Any]) -> list[str]:
    """`Predictor.quantization` for a person."""
    layers = record["layers"]
    names = sorted(set(layers), key=layers.index)
    parts = [
        f"{name} in layer{'s' if layers.count(name) > 1 else ''} "
        + ", ".join(str(i + 1) for i, layer in enumerate(layers) if layer == name)
        for name in names
    ]
    lines = [f"weights: {names[0] if len(names) == 1 else '; '.join(parts)}"]
    if "rows" not in record:
        return [*lines, "  not measured: there were no rows to measure on"]
    lines += [
        f"  on {record['rows']:,} rows, compared with the model before:",
        f"  largest difference of probabilities  {record['largest_difference']:.2g}",
        f"  labels changed                       {record['labels_changed']:.3%}",
    ]
    for name, form in (("accuracy", ".2%"), ("log_loss", ".4f")):
        if name in record:
            after, before = (format(record[key], form) for key in (name, f"{name}_before"))
            lines.append(f"  {name.replace('_', ' '):35}  {after}, before {before}")
    return lines
