"""Images as rows of numbers: a small picture in colour, and where its edges run.

The picture says where what colour is; the histograms of oriented gradients (Dalal and Triggs 2005: cells of
8 x 8 pixels of a 64 x 64 grey picture, 9 directions, each block of 2 x 2 cells scaled to one length) say what
shapes there are. A network on these learns from dozens of images; it knows nothing of objects that move about
in the picture.
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

from tinyrs.cli.shell import CliError, counter, warn
from tinyrs.files.model_file import Fields
from tinyrs.predictor import Predictor

Rows = npt.NDArray[np.float32]

SUFFIXES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
BATCH = 64
DIRECTIONS = 9
# Of the square sides in a recipe: a model file may come from a stranger.
LARGEST = 512


@dataclass(frozen=True)
class Recipe:
    """What is made of an image; a model keeps it in its training record."""

    thumbnail: int = 16  # side of the picture in colour, 0 for none
    edges: int = 64  # side of the grey picture whose edges are taken
    cell: int = 8  # side of a cell

    @classmethod
    def of(cls, predictor: Predictor) -> Recipe:
        """That of a model of images. ValueError if it cannot be one."""
        fields = Fields("model.training.images", predictor.training["images"])
        recipe = cls(
            fields.whole("thumbnail", below=LARGEST),
            fields.whole("edges", least=16, below=LARGEST),
            fields.whole("cell", least=4, below=LARGEST),
        )
        if recipe.edges < 2 * recipe.cell or recipe.n_features != predictor.n_features_in_:
            raise ValueError(
                f"model file: model.training.images: does not give {predictor.n_features_in_} columns"
            )
        return recipe

    def as_json(self) -> dict[str, int]:
        return asdict(self)

    @property
    def n_features(self) -> int:
        cells = self.edges // self.cell
        return 3 * self.thumbnail**2 + 4 * DIRECTIONS * (cells - 1) ** 2

    def __str__(self) -> str:
        return (
            f"{self.thumbnail} x {self.thumbnail} pixels in colour and the edges of "
            f"{self.edges} x {self.edges} in cells of {self.cell}: {self.n_features:,} numbers an image"
        )

    def features(self, image: Image.Image) -> Rows:
        """(n_features,), each between 0 and 1."""
        # A phone's pictures lie on their side and say so; transparent is white.
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        image = image.convert("RGB")
        side = (self.thumbnail, self.thumbnail)
        colours = np.asarray(image.resize(side, Image.Resampling.BOX), dtype=np.float32).ravel() / 255
        grey = image.convert("L").resize((self.edges, self.edges), Image.Resampling.BILINEAR)
        return np.concatenate(
            [colours, oriented_gradients(np.asarray(grey, dtype=np.float32) / 255, self.cell)]
        )

    def read(self, files: Sequence[Path]) -> tuple[Rows, list[Path], list[str]]:
        """Features (images, n_features), the files they are of, and those that are no images."""
        rows, read, unreadable = [], [], []
        for file in files:
            try:
                with Image.open(file) as image:
                    # Decodes a JPEG at a fraction of its size, which is most of the time that it takes.
                    image.draft("RGB", (2 * self.edges, 2 * self.edges))
                    rows.append(self.features(image))
                read.append(file)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                unreadable.append(f"{file}: {_reason(error)}")
        table = np.stack(rows) if rows else np.empty((0, self.n_features), dtype=np.float32)
        return table, read, unreadable

    def read_all(self, files: Sequence[Path], threads: int) -> tuple[Rows, list[Path], list[str]]:
        """As `read`, on threads, with a progress bar; Pillow decodes without the GIL."""
        parts = []
        with ThreadPoolExecutor(threads) as pool, counter("images") as count:
            for part in pool.map(self.read, batches(files)):
                parts.append(part)
                count(len(part[1]) + len(part[2]))
        features, read, unreadable = zip(*parts, strict=True)
        return np.concatenate(features), [*chain(*read)], [*chain(*unreadable)]


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "expected an image, got another kind of file"
    return f"cannot be read as an image: {error}"


def oriented_gradients(grey: npt.NDArray[np.floating[Any]], cell: int) -> Rows:
    """grey (side, side) -> (blocks * 4 * DIRECTIONS,)."""
    dy, dx = np.gradient(grey)
    strength, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
    # Each pixel's strength goes to the two directions that it lies between.
    place = angle * (DIRECTIONS / np.pi)
    low = place.astype(int)
    share = place - low
    cells = len(grey) // cell
    upto = cells * cell
    of_cell = np.arange(upto) // cell
    index = (of_cell[:, None] * cells + of_cell[None, :]) * DIRECTIONS
    inside = np.s_[:upto, :upto]
    low, share, strength = low[inside], share[inside], strength[inside]
    size = cells * cells * DIRECTIONS
    histogram = np.bincount((index + low % DIRECTIONS).ravel(), (strength * (1 - share)).ravel(), size)
    histogram += np.bincount((index + (low + 1) % DIRECTIONS).ravel(), (strength * share).ravel(), size)
    grid = histogram.reshape(cells, cells, DIRECTIONS)
    blocks = np.concatenate([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], axis=2)
    # The floor: noise in an even sky is no shape.
    lengths = np.sqrt((blocks**2).sum(axis=2, keepdims=True) + 0.1)
    return np.asarray(blocks / lengths, dtype=np.float32).ravel()


def list_images(folder: str) -> list[Path]:
    """The image files below a folder, by their endings, in the order of their names."""
    path = Path(folder)
    if not path.is_dir():
        raise CliError(f"{folder}: expected a folder of images, for a model of images")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise CliError(f"{folder}: expected images ({', '.join(sorted(SUFFIXES))}), got none")
    return files


def list_labelled(folder: str) -> tuple[list[Path], list[str]]:
    """The images of a folder with one subfolder a category, and the category of each."""
    root, files = Path(folder), list_images(folder)
    loose = [file for file in files if file.parent == root]
    if loose:
        raise CliError(f"{folder}: expected one subfolder a category, got {loose[0].name!r} beside them")
    return files, [file.relative_to(root).parts[0] for file in files]


def batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(files), BATCH):
        yield list(files[start : start + BATCH])


def report_unreadable(unreadable: Sequence[str], n_files: int, folder: str) -> None:
    """Names the files that were left out; CliError if that is all of them."""
    for message in unreadable:
        warn(f"{message}: left out")
    if len(unreadable) == n_files:
        raise CliError(f"{folder}: none of its {n_files:,} images could be read")
