"""Where a report comes from: what it says so that its reader can find the files and repeat the work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tinyrs.cli.output import STREAM


@dataclass(frozen=True)
class FileDigest:
    """A file and its SHA-256; None for a folder, a pipe or a device."""

    name: str
    size: int | None
    sha256: str | None

    @classmethod
    def of(cls, name: str) -> FileDigest:
        path = Path(name)
        if name == STREAM:
            return cls("standard input or output", None, None)
        if not path.is_file():
            return cls(name, None, None)
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return cls(name, file.tell(), digest.hexdigest())


@dataclass(frozen=True)
class ServingProvenance:
    """The command of a benchmark, its time, and the files that it read."""

    command: str
    time: datetime
    models: tuple[FileDigest, ...]
    data: FileDigest | None

    @classmethod
    def of(cls, command: str, models: Sequence[Path], data: Path | None) -> ServingProvenance:
        digests = tuple(FileDigest.of(str(model)) for model in models)
        now = datetime.now().astimezone()
        return cls(command, now, digests, None if data is None else FileDigest.of(str(data)))


@dataclass(frozen=True)
class Provenance:
    """The command, its time, the files that it read and wrote, and the rows behind the model in the file."""

    command: str
    time: datetime
    data: FileDigest
    model: FileDigest
    model_rows: int

    @classmethod
    def of(cls, command: str, data: str, model: str, model_rows: int) -> Provenance:
        now = datetime.now().astimezone()
        return cls(command, now, FileDigest.of(data), FileDigest.of(model), model_rows)
