"""The class labels in a model file."""

from __future__ import annotations

from tinyrs.files.model_file import Fields, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt
else:
    from tinyrs._lazy import np

# The Python type of the labels for each NumPy `dtype.str` that a file may name. "<U0" stands for strings of
# any length.
TYPES: dict[str, type] = {
    "|b1": bool,
    **dict.fromkeys(("|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"), int),
    **dict.fromkeys(("<f2", "<f4", "<f8"), float),
    "<U0": str,
}
# The longest strings in an array of strings, in which each takes as much memory as the longest. With this
# bound, an array of labels takes a small multiple of the file that they come from.
MAX_WIDTH = 255


def label_array(values: Sequence[Any], dtype: str | None = None) -> npt.NDArray[Any]:
    """Labels as an array (n_classes,), of `dtype` if it is given; of objects if one is a long string."""
    if any(isinstance(value, str) and len(value) > MAX_WIDTH for value in values):
        dtype = "object"
    return np.array(values, dtype=dtype)


class ClassLabels:
    """Class labels as Python values, with the dtype of their NumPy array, which is made when it is needed.

    Attributes
    ----------
    dtype : str
        A key of TYPES, or "object".
    values : list of str, int, float or bool
    """

    def __init__(self, dtype: str, values: list[Any]) -> None:
        self.dtype, self.values = dtype, values

    @classmethod
    def of(cls, classes: npt.NDArray[Any]) -> ClassLabels:
        """The labels in an array (n_classes,).

        Raises
        ------
        ValueError
            If a model file cannot hold labels of their dtype.
        """
        values = classes.tolist()
        name = "<U0" if classes.dtype.kind == "U" else classes.dtype.newbyteorder("=").str
        if classes.dtype == object and all(type(value) in TYPES.values() for value in values):
            name = "object"
        elif name not in TYPES:
            raise ValueError(
                f"classes: expected strings, numbers or booleans to save, got dtype {classes.dtype}"
            )
        return cls(name, values)

    def array(self) -> npt.NDArray[Any]:
        """The labels as an array (n_classes,); of objects if a string is long."""
        return label_array(self.values, self.dtype)

    @classmethod
    def restore(cls, fields: Fields) -> ClassLabels:
        """The labels that `describe` described.

        Raises
        ------
        ValueError
            If a label does not have the dtype, or occurs twice.
        """
        name, values = fields.get("dtype", str), fields.get("values", list, "a list")
        expected = f"values of dtype {name!r}"
        allowed = set(TYPES.values()) if name == "object" else {TYPES.get(name)}
        if not values or not all(type(value) in allowed for value in values):
            refuse(f"{fields.path}.values", expected, values)
        try:
            values = [_rounded(name, value) for value in values]
        except OverflowError as error:
            refuse(fields.path, expected, error)
        if len(set(values)) != len(values):
            refuse(f"{fields.path}.values", "different classes", values)
        return cls(name, values)

    def describe(self) -> dict[str, Any]:
        """The labels as a JSON object."""
        return {"dtype": self.dtype, "values": self.values}


def _rounded(dtype: str, value: Any) -> Any:
    """`value` as an array of this dtype would return it; OverflowError if the dtype cannot hold it."""
    if dtype == "object":
        return value
    kind, size = dtype[1], dtype[2:]
    if kind == "f":
        import struct  # here, because most labels are not floats and its import takes 0.2 ms

        code = {"2": "<e", "4": "<f", "8": "<d"}[size]
        (value,) = struct.unpack(code, struct.pack(code, value))
    elif kind in "iu":
        value.to_bytes(int(size), "little", signed=kind == "i")
    elif kind == "U":
        value = value.rstrip("\0")
    return value
