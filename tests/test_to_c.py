"""C export: the compiled header computes the predictions of tinyrs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from test_onnx import QUICK, categories_predictor, mixed, times
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.export.c import name_from
from tinyrs.oracle import ACTIVATIONS

# Tables with a constant column.
pytestmark = pytest.mark.filterwarnings("ignore:.*consider dropping:UserWarning")

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
FLAGS += os.environ.get("TINYRS_C_FLAGS", "").split()  # for `make c-sanitizers`
FORMAT = {"U": "%s", "O": "%s", "i": "%lld", "u": "%llu", "b": "%lld", "f": "%.17g"}


def compiler() -> str:
    """The C compiler. Without one these tests fail, they are not skipped."""
    found = shutil.which(os.environ.get("CC", "cc"))
    assert found is not None, "no C compiler: install one (Debian: apt install gcc), or name it in CC"
    return found


def run(folder: Path, models: dict[str, tuple[Predictor, list[list[str]]]]) -> dict[str, Any]:
    """Compiles the models, given by name with rows of C expressions, and runs them.

    Returns the labels as text and the probabilities of each model.
    """
    main = ["#include <stdio.h>"]
    for name, (predictor, _) in models.items():
        predictor.to_c(folder / f"{name}.h")
        main.append(f'#include "{name}.h"')
    calls = []
    for name, (predictor, rows) in models.items():
        real = "float" if predictor.network.precision == "f32" else "double"
        label = f'printf("{FORMAT[predictor.classes_.dtype.kind]}\\n", {name}_classes[{name}_predict(row)]);'
        if predictor.multilabel:
            label = (
                f"int l[{name.upper()}_N_CLASSES]; {name}_predict(row, l);"
                f'for (i = 0; i < {name.upper()}_N_CLASSES; i++) printf("%d", l[i]); printf("\\n");'
            )
        main += [
            f"static void show_{name}(const double *row)\n{{",
            f"    {real} p[{name.upper()}_N_CLASSES]; int i; {label} {name}_predict_proba(row, p);",
            f'    for (i = 0; i < {name.upper()}_N_CLASSES; i++) printf("%.17g ", (double)p[i]);',
            '    printf("\\n");\n}',
        ]
        width = f"{name.upper()}_N_COLUMNS"
        calls += [f"    {{ double row[{width}] = {{{', '.join(row)}}}; show_{name}(row); }}" for row in rows]
    (folder / "main.c").write_text("\n".join([*main, "int main(void)\n{", *calls, "    return 0;\n}\n"]))
    subprocess.run([compiler(), *FLAGS, "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    lines = subprocess.run([folder / "main"], capture_output=True, check=True).stdout.decode().splitlines()
    answers = {}
    for name, (_, rows) in models.items():
        mine, lines = lines[: 2 * len(rows)], lines[2 * len(rows) :]
        answers[name] = mine[::2], np.array([line.split() for line in mine[1::2]], dtype=float)
    return answers


def numbers(X: npt.NDArray[Any]) -> list[list[str]]:
    return [["NAN" if np.isnan(value) else repr(float(value)) for value in row] for row in X]


def largest_difference(answer: Any, predictor: Predictor, X: Any) -> float:
    """The largest difference of the probabilities of C and tinyrs, in eps; asserts equal labels."""
    labels, got = answer
    want, predicted = predictor.predict_proba(X), predictor.predict(X)
    if predictor.multilabel:
        assert labels == ["".join(map(str, row)) for row in predicted]
    elif predicted.dtype.kind in "OU":
        assert labels == predicted.tolist()
    else:
        assert [float(label) for label in labels] == predicted.tolist()
    assert got.shape == want.shape
    return float((np.abs(got - want) / np.maximum(1, np.abs(want))).max() / np.finfo(want.dtype).eps)


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_digits(tmp_path: Path, digits: Any, precision: str) -> None:
    X, y = digits
    clf = TinyClassifier(precision=precision, **QUICK).fit(X, y)
    X = X[:200].copy()
    X[::3, ::5] = np.nan
    answers = run(tmp_path, {"digits": (clf.predictor(), numbers(X))})
    assert largest_difference(answers["digits"], clf.predictor(), X) < 64


def test_activations(tmp_path: Path) -> None:
    """All activations, in hidden layers and at the output, and multilabel; all in one program."""
    X = np.random.default_rng(0).normal(0, 3, (12, 5)).astype("f")
    X[0] = 1e15
    models = {}
    for precision in ("f32", "f64"):
        for activation in ACTIVATIONS:
            for output in ("softmax", "sigmoid", "identity", "same"):
                network = Network(
                    [5, 16, 8, 3],
                    activation=activation,
                    output_activation=output,
                    precision=precision,
                    activation_scale=0.5 if output == "same" else 1.0,
                    seed=1,
                )
                predictor = Predictor(network, None, np.arange(3), multilabel=output == "sigmoid")
                models[f"{activation}_{output}_{precision}"] = (predictor, numbers(X))
    answers = run(tmp_path, models)
    differences = {name: largest_difference(answers[name], models[name][0], X) for name in models}
    assert len(differences) == 64
    assert max(differences.values()) < 64, differences


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_mixed_table(tmp_path: Path, precision: str) -> None:
    X, y = mixed()
    clf = TinyClassifier(categorical_features=["grade"], precision=precision, **QUICK).fit(X, y)
    unseen = X[:50].copy()
    unseen.loc[unseen.index[::2], ["colour", "label", "mix"]] = "never seen"
    unseen["grade"] = np.arange(50)
    unseen.loc[unseen.index[::3], ["label", "", "grade"]] = None
    predictor = clf.predictor()
    for table in (X[:100], unseen):
        texts = [name in ("colour", "label", "mix") for name in table]
        coded = [name in ("colour", "label", "mix", "grade", "code") for name in table]
        rows = []
        for row in table.itertuples(index=False):
            cells = []
            for i, value in enumerate(row):
                missing = value is None or value != value
                if texts[i]:
                    cell = (
                        "0" if missing else '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
                    )
                else:
                    cell = "NAN" if missing else repr(float(value))
                cells.append(f"table_encode_{i}({cell})" if coded[i] else cell)
            rows.append(cells)
        answers = run(tmp_path, {"table": (predictor, rows)})
        assert largest_difference(answers["table"], predictor, table) < 64


def test_dates_and_times_are_numbers(tmp_path: Path) -> None:
    X, y, inputs = times()
    predictor = TinyClassifier(**QUICK).fit(X, y).predictor()
    rows = numbers(np.column_stack(list(inputs.values())))[:50]
    answers = run(tmp_path, {"calendar": (predictor, rows)})
    assert largest_difference(answers["calendar"], predictor, X[:50]) < 64
    text = (tmp_path / "calendar.h").read_text()
    assert "   row[0]: seconds since 1970-01-01 00:00 UTC\n" in text
    assert "   row[4]: year, of column 0\n" in text
    assert '"day.year"' in text


def test_rare_categories_share_buckets(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = np.array([[f"é{i}"] for i in rng.integers(0, 600, 2000)], dtype=object)
    X[::50] = None
    clf = TinyClassifier(**QUICK).fit(X, rng.integers(0, 2, 2000))
    predictor = clf.predictor()
    assert predictor.preprocessor is not None
    assert predictor.preprocessor.categories[0].buckets == 16
    X = np.concatenate([X[:60], [["new"], [""]]])
    rows = [["city_encode_0(0)" if v is None else f'city_encode_0("{v}")'] for v in X[:, 0]]
    answers = run(tmp_path, {"city": (predictor, rows)})
    assert largest_difference(answers["city"], predictor, X) < 64


@pytest.mark.parametrize(
    "classes",
    [
        ["??/", 'a"\\\n\t1', "ö7%s*/"],
        [-(2**63), 0, 2**62],
        np.array([0, 1, 2**64 - 1], np.uint64),
        [0.1, 1e300, np.inf],
        [False, True],
    ],
)
def test_labels(tmp_path: Path, classes: Any) -> None:
    network = Network([2, len(classes)], output_activation="softmax", precision="f64", seed=0)
    predictor = Predictor(network, None, np.asarray(classes), feature_names=["*/ \n ??/", '"'])
    predictor.to_c(tmp_path / "model.h")
    form = FORMAT[predictor.classes_.dtype.kind].replace("%.17g", "%a")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void)\n{\n    int i;\n'
        f'    for (i = 0; i < MODEL_N_CLASSES; i++) printf("{form}", model_classes[i]), putchar(0);\n'
        '    for (i = 0; i < MODEL_N_COLUMNS; i++) printf("%s", model_columns[i]), putchar(0);\n'
        "    return 0;\n}\n"
    )
    subprocess.run([compiler(), *FLAGS, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode()
    *got, first, second, _ = out.split("\0")
    assert [first, second] == ["*/ \n ??/", '"']
    kind = predictor.classes_.dtype.kind
    readers: dict[str, Callable[[str], Any]] = {"U": str, "f": float.fromhex}
    read = readers.get(kind, int)
    assert [read(label) for label in got] == predictor.classes_.tolist()


def test_the_name(tmp_path: Path) -> None:
    names = {"model": "model", "9 b": "model_9_b", "ö": "model", "a-b.c": "a_b_c", "_x": "x", "": "model"}
    assert {file: name_from(file) for file in names} == names
    predictor = categories_predictor("a")
    predictor.to_c(tmp_path / "x.h", name="cities")
    assert "cities_encode_0" in (tmp_path / "x.h").read_text()
    for name in ("", "1a", "a b", "ö"):
        with pytest.raises(ValueError, match="name: expected ASCII letters, digits and underscores"):
            predictor.to_c(tmp_path / "y.h", name=name)


def test_what_c_cannot_express_raises(tmp_path: Path) -> None:
    def raises(predictor: Predictor, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            predictor.to_c(tmp_path / "model.h")
        assert list(tmp_path.iterdir()) == []

    raises(categories_predictor("a\0b"), "expected strings without NUL in a C export")
    network = Network([2, 2], seed=0)
    raises(
        Predictor(network, None, np.array(["a", 1], object)), "classes: expected only strings or only numb"
    )
    bounded = Network([2, 2], epsilon_square=1.8e19, seed=0)
    raises(Predictor(bounded, None, np.arange(2)), "epsilon_square: expected at most .* in an export")
