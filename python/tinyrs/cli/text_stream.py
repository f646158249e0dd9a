"""Opens text files of any encoding and compression as a stream of UTF-8."""

from __future__ import annotations

import codecs
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa

from tinyrs.cli.errors import CliError
from tinyrs.cli.output import STREAM, warn

# How much of a file decides about its encoding, its delimiter and its columns.
HEAD = 1 << 20
# The first bytes of compressed files, and pyarrow's name of the format; None if Python reads it.
COMPRESSED = {
    rb"\x1f\x8b": "gzip",
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": "bz2",
    rb"\x28\xb5\x2f\xfd": "zstd",
    rb"\x04\x22\x4d\x18": "lz4",
    rb"\xfd7zXZ\x00": "xz",
    rb"PK\x03\x04": "zip",
}
# The first bytes of files that are often mistaken for text.
NOT_TEXT = {
    b"PAR1": "a Parquet file: rename it to .parquet",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save it as CSV",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"\x93NUMPY": "a NumPy array: save it in an .npz file as X",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF document",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class Utf8Stream(io.RawIOBase):
    """The text of a file as UTF-8, whatever its encoding and compression.

    Attributes
    ----------
    name : str
        The file, for error messages.
    head : str
        The beginning of the text: all of it if the file is not longer than about HEAD bytes.

    Raises
    ------
    CliError
        When it is opened, if the file is empty or not text; while it is read, if it is damaged.
    """

    def __init__(self, path: str, encoding: str | None) -> None:
        self.name = "standard input" if path == STREAM else path
        self._file = None if path == STREAM else open(path, "rb")  # noqa: SIM115  # closed by `close`
        self._bytes = _decompressed(self._file or sys.stdin.buffer, self.name)
        with _errors(self.name):
            start = self._bytes.read(HEAD)
        if not start.strip():
            raise CliError(f"{self.name}: expected a header and rows, got an empty file")
        encoding = encoding or _detect_encoding(start, self.name)
        self._encoding = encoding
        # pyarrow checks UTF-8 itself.
        self._decoder = (
            None if codecs.lookup(encoding).name == "utf-8" else codecs.getincrementaldecoder(encoding)()
        )
        self._next = self._decode(start)
        self.head = codecs.getincrementaldecoder("utf-8")("replace").decode(self._next).removeprefix("\ufeff")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of UTF-8; none at the end."""
        if not self._next:
            with _errors(self.name):
                block = self._bytes.read(HEAD)
            self._next = self._decode(block)
        size = len(self._next) if size < 0 else size
        found, self._next = self._next[:size], self._next[size:]
        return found

    def _decode(self, block: bytes) -> bytes:
        if self._decoder is None:
            return block
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise CliError(
                f"{self.name}: expected text in the encoding {self._encoding}, got the byte "
                f"{error.object[error.start]:#04x}: use --encoding"
            ) from None
        # A lone surrogate has no UTF-8.
        return text.encode("utf-8", "replace")


def _decompressed(file: IO[bytes], name: str) -> IO[bytes]:
    """The contents of a file, decompressed if its first bytes are those of a compressed file."""
    start = file.read(16)
    if start.startswith(b"PK\x05\x06"):
        raise CliError(f"{name}: expected one file in the zip archive, got none")
    for magic, description in NOT_TEXT.items():
        if start.startswith(magic):
            raise CliError(f"{name}: expected a table as text (CSV), got {description}")
    compression = next((kind for magic, kind in COMPRESSED.items() if re.match(magic, start)), None)
    stream: Any = io.BufferedReader(_PrefixedStream(start, file))
    if compression is None:
        return stream  # type: ignore[no-any-return]
    if compression == "xz":
        return lzma.open(stream)
    if compression == "zip":
        return _open_zip(file, name)
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), compression)  # type: ignore[no-any-return]


def _open_zip(file: IO[bytes], name: str) -> IO[bytes]:
    if not file.seekable():
        raise CliError(f"{name}: a zip archive cannot be read from a pipe: name the file")
    with _errors(name):
        archive = zipfile.ZipFile(file)
        members = [entry for entry in archive.namelist() if not entry.endswith("/")]
        if "[Content_Types].xml" in members:
            raise CliError(f"{name}: expected a table as text (CSV), got an Excel workbook: save it as CSV")
        members = [entry for entry in members if not entry.startswith("__MACOSX/")]
        if len(members) != 1:
            raise CliError(f"{name}: expected one file in the zip archive, got {len(members)}")
        return archive.open(members[0])


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turns the errors of all decompressors into a CliError."""
    try:
        yield
    except (
        pa.ArrowException,
        lzma.LZMAError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,  # an unusual compression in a zip archive
        RuntimeError,  # a zip archive with a password
    ) as error:
        raise CliError(f"{name}: the compressed file cannot be read: {error}") from None
    except OSError as error:
        # pyarrow's errors about damaged data have no number.
        if error.errno is not None:
            raise
        raise CliError(f"{name}: the compressed file cannot be read: {error}") from None


def _detect_encoding(start: bytes, name: str) -> str:
    """The encoding of a file, from its first bytes; a message says so if it is not UTF-8."""
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    if encoding is None and b"\0" in start:
        encoding = _utf_16_without_mark(start)
        if encoding is None:
            raise CliError(f"{name}: expected a table as text (CSV), got binary data")
    if encoding is None:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(start)
        except UnicodeDecodeError:
            encoding = "cp1252"
        else:
            return "utf-8"
        if CONTROL.search(start) or not _decodes(start, encoding):
            raise CliError(
                f"{name}: expected a table as text (CSV), got binary data or an unknown encoding: "
                "if it is text, use --encoding"
            )
    if encoding != "utf-8":
        warn(f"{name}: read as {encoding}, because it is not UTF-8; for another encoding, use --encoding")
    return encoding


def _utf_16_without_mark(start: bytes) -> str | None:
    """The byte order of UTF-16 in which most characters are ASCII; None if it is not such text."""
    even, odd = (start[i::2].count(0) / max(len(start[i::2]), 1) for i in (0, 1))
    if max(even, odd) < 0.5 or min(even, odd) > 0.05:
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    return encoding if _decodes(start, encoding) else None


def _decodes(start: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        return False
    return True


class _PrefixedStream(io.RawIOBase):
    """Bytes that were already read, followed by the rest of a stream that cannot seek back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = io.BytesIO(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._head.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)
