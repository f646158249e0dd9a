"""`tinyrs train`, `evaluate` and `predict` on folders of images."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import tinyrs
from conftest import Run
from PIL import Image, ImageDraw
from tinyrs.cli.image_features import ImageEncoder, hog
from tinyrs.predictor import Predictor


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """A disc or a square at a random position, in random colours."""
    width, height = map(int, rng.integers(60, 160, 2))
    image = Image.new("RGB", (width, height), tuple(map(int, rng.integers(0, 100, 3))))
    side = int(min(width, height) * rng.uniform(0.5, 0.8))
    x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
    shape = ImageDraw.Draw(image)
    paint = shape.ellipse if kind == "disc" else shape.rectangle
    paint((x, y, x + side, y + side), fill=tuple(map(int, rng.integers(150, 256, 3))))
    return image


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for kind in ("disc", "square"):
        (root / kind / "deeper").mkdir(parents=True)
        for i in range(60):
            suffix = ("png", "jpg", "webp")[i % 3]
            draw(kind, rng).save(root / kind / ("deeper" if i % 5 == 0 else ".") / f"{i:02}.{suffix}")
    (root / "disc" / "broken.JPG").write_bytes(b"\xff\xd8\xff, the first bytes of a JPEG file")
    (root / "disc" / "notes.txt").write_text("not an image, and without the suffix of one")
    return root


def test_train_evaluate_and_predict_images(tinyrs_cli: Run, photos: Path) -> None:
    done = tinyrs_cli("train", photos, "-o", "m", "--hidden", "32", "--epochs", "40", "--report", "r.html")
    assert done.status == 0, done.err
    assert (
        "120 images\n  2,532 features: a colour thumbnail of 16 x 16 pixels and oriented gradients"
        in done.out
    )
    assert "classes: disc 60, square 60" in done.out
    broken = photos / "disc" / "broken.JPG"
    assert done.err == f"tinyrs: {broken}: not an image: skipped\n"
    # The model file contains the parameters of the image encoder.
    model = tinyrs.load("m")
    assert isinstance(model, Predictor)
    assert model.training["images"] == {"thumbnail": 16, "edges": 64, "cell": 8}
    accuracy = tinyrs_cli("evaluate", "m", photos, "--json").json["accuracy"]
    assert accuracy > 0.9

    done = tinyrs_cli("predict", "m", photos, "-o", "out.csv", "--json")
    assert done.json["rows"] == 120
    assert [name.partition(": ")[0] for name in done.json["skipped"]] == [str(broken)]
    lines = Path("out.csv").read_text().splitlines()
    assert lines[0] == "file,label,probability"
    files = [line.split(",")[0] for line in lines[1:]]
    assert files == sorted(files, key=Path)
    correct = [
        Path(file).relative_to(photos).parts[0] == line.split(",")[1]
        for file, line in zip(files, lines[1:], strict=True)
    ]
    assert np.mean(correct) == pytest.approx(accuracy)
    # The report contains the images.
    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', Path("r.html").read_text())
    assert len(shown) == 12
    assert max(Image.open(io.BytesIO(base64.b64decode(shown[0]))).size) <= 72


def test_train_measures_on_the_folder_given_with_valid(tinyrs_cli: Run, photos: Path) -> None:
    done = tinyrs_cli(
        "train", photos, "--valid", photos, "-o", "m", "--hidden", "8", "--epochs", "3", "--json"
    )
    assert done.status == 0, done.err
    assert (done.json["rows"], done.json["held_out"]["rows"]) == (120, 120)
    assert (
        tinyrs_cli("evaluate", "m", photos, "--json").json["confusion"] == done.json["held_out"]["confusion"]
    )
    (Path("more") / "hexagon").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save("more/hexagon/a.png")
    assert "more: the model has no class 'hexagon'" in tinyrs_cli("evaluate", "m", "more").err


def test_the_encoder_handles_exif_orientation_transparency_and_colour_modes() -> None:
    rng = np.random.default_rng(0)
    image, encoder = draw("square", rng), ImageEncoder()
    upright = encoder.encode(image)
    assert upright.shape == (encoder.n_features,)
    assert 0 <= upright.min() <= upright.max() <= 1
    # A camera held on its side stores the rotated pixels, and in EXIF how to rotate them back.
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=exif)
    assert np.allclose(encoder.encode(Image.open(stream)), upright, atol=0.02)
    assert np.allclose(encoder.encode(image.convert("RGBA")), upright, atol=0.01)
    clear = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    assert (encoder.encode(clear)[: 3 * 16**2] == 1).all()
    for mode in ("L", "P", "1", "CMYK", "I;16"):
        assert np.isfinite(
            encoder.encode(image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode))
        ).all()


def test_hog_of_ramps_has_the_orientation_of_their_gradient() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1)) / 64
    across, down = (hog(grey, 8).reshape(-1, 9) for grey in (ramp, ramp.T))
    assert (across.argmax(axis=1) == 0).all()
    # 90 degrees lie between the orientations at 80 and 100.
    assert set(down.argmax(axis=1)) <= {4, 5}
    assert np.allclose(down[:, 4], down[:, 5], atol=1e-3)
    assert not hog(np.ones((64, 64), dtype=np.float32), 8).any()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected images (.avif, .bmp"),
        ({"a.png": True}, "expected images only in subfolders, one for each class, got 'a.png'"),
        ({"one/a.png": True, "one/b.png": True}, "expected images in at least two subfolders, got one: one"),
        ({"one/a.png": False, "two/b.png": False}, "none of its 2 images could be read"),
    ],
)
def test_invalid_folders_are_rejected(tinyrs_cli: Run, files: dict[str, bool], message: str) -> None:
    Path("photos").mkdir()
    for name, good in files.items():
        path = Path("photos") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no")
        if good:
            Image.new("RGB", (20, 20)).save(path)
    done = tinyrs_cli("train", "photos", "-o", "m")
    assert done.status == 1
    assert message in done.err


def test_options_for_tables_are_rejected_for_images(tinyrs_cli: Run, photos: Path) -> None:
    done = tinyrs_cli("train", photos, "-o", "m", "--target", "kind")
    assert (done.status, "the classes of images are subfolders" in done.err) == (2, True)


@pytest.mark.parametrize(
    "parameters",
    [{"thumbnail": 16, "edges": 64, "cell": 64}, {"thumbnail": 10**6, "edges": 64, "cell": 8}, {}, 3],
)
def test_invalid_encoder_parameters_in_a_model_file_are_rejected(
    tinyrs_cli: Run, photos: Path, parameters: object
) -> None:
    X = np.random.default_rng(0).normal(size=(60, 4))
    predictor = tinyrs.TinyClassifier((4,), max_iter=1, random_state=0).fit(X, X[:, 0] > 0).predictor()
    predictor.training["images"] = parameters
    predictor.save("m")
    done = tinyrs_cli("predict", "m", photos)
    assert done.status == 1
    assert "model.training.images" in done.err
