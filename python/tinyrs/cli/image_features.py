"""Converts images to feature vectors: a small colour thumbnail and histograms of oriented gradients (HOG).

The thumbnail contains the colours and their positions. HOG describes shapes (Dalal and Triggs 2005: cells of
8 x 8 pixels of a 64 x 64 grey image, 9 orientations, blocks of 2 x 2 cells scaled to unit length). Dozens of
images are enough to train on these features, but an object is not recognised at another place in the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from tinyrs.cli.errors import CliError
from tinyrs.cli.output import progress_bar, warn
from tinyrs.files.model_file import Fields
from tinyrs.predictor import Predictor

Features = npt.NDArray[np.float32]

SUFFIXES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# Files a thread decodes at a time.
BATCH = 64
ORIENTATIONS = 9
# Upper limit of the sides in a model file, which may come from an untrusted source.
MAX_SIDE = 512


@dataclass(frozen=True)
class EncodedImages:
    """Features (images, n_features), the file of each row, and a message for each unreadable file."""

    features: Features
    files: list[Path]
    unreadable: list[str]


@dataclass(frozen=True)
class ImageEncoder:
    """Converts images to features. Its parameters are stored in the training record of a model."""

    thumbnail: int = 16  # side of the colour thumbnail, 0 for none
    edges: int = 64  # side of the grey image that HOG is computed from
    cell: int = 8  # side of a HOG cell

    @classmethod
    def of(cls, predictor: Predictor) -> ImageEncoder:
        """The encoder of a model of images. ValueError if its parameters are invalid."""
        fields = Fields("model.training.images", predictor.training["images"])
        encoder = cls(
            fields.whole("thumbnail", below=MAX_SIDE),
            fields.whole("edges", least=16, below=MAX_SIDE),
            fields.whole("cell", least=4, below=MAX_SIDE),
        )
        if encoder.edges < 2 * encoder.cell or encoder.n_features != predictor.n_features_in_:
            raise ValueError(
                "model file: model.training.images: expected parameters that give "
                f"{predictor.n_features_in_} features, got {encoder.as_json()}"
            )
        return encoder

    def as_json(self) -> dict[str, int]:
        return asdict(self)

    @property
    def n_features(self) -> int:
        cells = self.edges // self.cell
        return 3 * self.thumbnail**2 + 4 * ORIENTATIONS * (cells - 1) ** 2

    def __str__(self) -> str:
        return (
            f"{self.n_features:,} features: a colour thumbnail of {self.thumbnail} x {self.thumbnail} pixels "
            f"and oriented gradients of {self.edges} x {self.edges} pixels (cells of {self.cell})"
        )

    def encode(self, image: Image.Image) -> Features:
        """The features of an image (n_features,), each between 0 and 1."""
        # Cameras store the orientation as metadata. Transparent pixels become white.
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        image = image.convert("RGB")
        side = (self.thumbnail, self.thumbnail)
        colours = np.asarray(image.resize(side, Image.Resampling.BOX), dtype=np.float32).ravel() / 255
        grey = image.convert("L").resize((self.edges, self.edges), Image.Resampling.BILINEAR)
        return np.concatenate([colours, hog(np.asarray(grey, dtype=np.float32) / 255, self.cell)])

    def encode_files(self, files: Sequence[Path]) -> EncodedImages:
        rows, read, unreadable = [], [], []
        for file in files:
            try:
                with Image.open(file) as image:
                    # Lets the JPEG decoder reduce the image, which saves most of the decoding time.
                    image.draft("RGB", (2 * self.edges, 2 * self.edges))
                    rows.append(self.encode(image))
                read.append(file)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                unreadable.append(f"{file}: {_reason(error)}")
        features = np.stack(rows) if rows else np.empty((0, self.n_features), dtype=np.float32)
        return EncodedImages(features, read, unreadable)

    def encode_all(self, files: Sequence[Path], threads: int) -> EncodedImages:
        """As `encode_files`, on several threads (Pillow decodes without the GIL), with a progress bar."""
        parts = []
        with ThreadPoolExecutor(threads) as pool, progress_bar("images") as advance:
            for part in pool.map(self.encode_files, batches(files)):
                parts.append(part)
                advance(len(part.files) + len(part.unreadable))
        return EncodedImages(
            np.concatenate([part.features for part in parts]),
            list(chain.from_iterable(part.files for part in parts)),
            list(chain.from_iterable(part.unreadable for part in parts)),
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return f"cannot be read as an image: {error}"


def hog(grey: npt.NDArray[np.floating[Any]], cell: int) -> Features:
    """Histograms of oriented gradients: grey (side, side) -> (blocks * 4 * ORIENTATIONS,)."""
    dy, dx = np.gradient(grey)
    magnitude, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
    # The magnitude of a pixel is divided between the two nearest orientations.
    position = angle * (ORIENTATIONS / np.pi)
    low = position.astype(int)
    share = position - low
    cells = len(grey) // cell
    used = cells * cell
    cell_of = np.arange(used) // cell
    index = (cell_of[:, None] * cells + cell_of[None, :]) * ORIENTATIONS
    inside = np.s_[:used, :used]
    low, share, magnitude = low[inside], share[inside], magnitude[inside]
    size = cells * cells * ORIENTATIONS
    histogram = np.bincount((index + low % ORIENTATIONS).ravel(), (magnitude * (1 - share)).ravel(), size)
    histogram += np.bincount((index + (low + 1) % ORIENTATIONS).ravel(), (magnitude * share).ravel(), size)
    grid = histogram.reshape(cells, cells, ORIENTATIONS)
    blocks = np.concatenate([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], axis=2)
    # The constant keeps noise in uniform areas from being scaled up to unit length.
    norms = np.sqrt((blocks**2).sum(axis=2, keepdims=True) + 0.1)
    return np.asarray(blocks / norms, dtype=np.float32).ravel()


def list_images(folder: str) -> list[Path]:
    """The image files in a folder and its subfolders, by suffix, sorted. CliError if there are none."""
    path = Path(folder)
    if not path.is_dir():
        raise CliError(f"{folder}: the model was trained on images: expected a folder of images")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise CliError(f"{folder}: expected images ({', '.join(sorted(SUFFIXES))}), got none")
    return files


def list_labelled_images(folder: str) -> dict[Path, str]:
    """Image file -> class, for a folder with one subfolder for each class."""
    root, files = Path(folder), list_images(folder)
    loose = [file for file in files if file.parent == root]
    if loose:
        raise CliError(
            f"{folder}: expected images only in subfolders, one for each class, got {loose[0].name!r}"
        )
    return {file: file.relative_to(root).parts[0] for file in files}


def batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(files), BATCH):
        yield list(files[start : start + BATCH])


def report_unreadable(unreadable: Sequence[str], n_files: int, folder: str) -> None:
    """Prints a warning for each unreadable file. CliError if all `n_files` are unreadable."""
    for message in unreadable:
        warn(f"{message}: skipped")
    if len(unreadable) == n_files:
        raise CliError(f"{folder}: none of its {n_files:,} images could be read")
