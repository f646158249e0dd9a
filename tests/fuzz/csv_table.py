"""CSV files through `tinyrs predict`, `evaluate` and `train`: a result, or an error of one line."""

from __future__ import annotations

from fuzz.harness import FOLDER, command, small_model, small_table

MODEL = small_model()
FILE = FOLDER / "table.csv"


def seeds() -> dict[str, bytes]:
    table, y = small_table(seed=1)
    rows = [",".join(map(str, row)) for row in zip(*table.values(), y, strict=True)][:12]
    text = "\n".join(["length,colour,count,kind", *rows, ""]).encode()
    return {
        "predict": b"p" + text,
        "evaluate": b"e" + text,
        "train": b"t" + text,
        "semicolons": b"p" + text.replace(b",", b";"),
        "quotes": b'plength,colour,count\n1,"a ""b""\n",3\n',
        "utf-16": b"p" + text.decode().encode("utf-16"),
        "nothing": b"p",
    }


def one(data: bytes) -> None:
    run(data[:1], FILE, data[1:])


def run(kind: bytes, file: object, content: bytes) -> None:
    """Writes `content` to `file`, and runs the command that `kind` stands for."""
    FOLDER.joinpath(str(file)).write_bytes(content)
    if kind == b"t":
        options = ["--target", "kind", "-o", FOLDER / "trained", "--hidden", 4, "--epochs", 1]
        command("train", file, *options)
    elif kind == b"e":
        command("evaluate", MODEL, file, "--target", "kind")
    else:
        command("predict", MODEL, file, "-o", FOLDER / "predicted.csv")
