"""`Predictor.explain` and `tinyrs.permutation_importance`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import tinyrs
from scipy import sparse
from tinyrs import Network, Predictor, TinyClassifier
from tinyrs.explanation import TOLERANCE, integrated_gradients

RNG = np.random.default_rng(0)


def logistic(weights: list[float], bias: float) -> Predictor:
    """A model of one label whose probability is that of logistic regression."""
    layers = [(np.array([weights]), np.array([bias]))]
    network = Network.from_parameters(layers, output_activation="sigmoid", precision="f64")
    return Predictor(network, None, np.array(["yes"]), multilabel=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    n = 300
    return pd.DataFrame(
        {
            "size": RNG.normal(size=n),
            "constant": np.ones(n),
            "gap": np.where(RNG.random(n) < 0.2, np.nan, RNG.normal(size=n)),
            "kind": RNG.choice(["a", "b", "c"], n),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 900, n), unit="D"),
        }
    )


@pytest.fixture(scope="module", params=["relu", "selu"])
def model(table: pd.DataFrame, request: pytest.FixtureRequest) -> Predictor:
    y = np.where(table["size"] + (table["kind"] == "a") > 0.3, "large", "small")
    y[table["gap"].isna()] = "none"
    classifier = TinyClassifier(
        n_layers=2, width=16, activation=request.param, max_iter=100, random_state=0, early_stopping=False
    )
    with pytest.warns(UserWarning, match="constant"):
        return classifier.fit(table, y).predictor()


def test_of_a_linear_model_the_contributions_are_known() -> None:
    model = logistic([2.0, -1.0, 0.0], 0.5)
    row, base = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 7.0])
    explanation = model.explain(row, target="yes", baseline=base)
    # The probability depends on the logit alone, so each term has its share of the change of the logit.
    change = explanation.probability - explanation.base
    assert float(explanation.probability) == pytest.approx(1 / (1 + np.exp(-0.5)), abs=1e-12)
    np.testing.assert_allclose(explanation.contributions, change * np.array([-0.5, 1.5, 0]), atol=1e-9)
    assert explanation.columns == ("column 0", "column 1", "column 2")


def test_the_contributions_add_up(model: Predictor, table: pd.DataFrame) -> None:
    explanation = model.explain(table)
    assert explanation.contributions.shape == table.shape
    total = explanation.base + explanation.contributions.sum(axis=1)
    np.testing.assert_allclose(total, explanation.probability, atol=TOLERANCE)
    p = model.predict_proba(table)
    np.testing.assert_allclose(explanation.probability, p.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(explanation.target, model.predict(table))


def test_a_column_that_changes_nothing_contributes_nothing(model: Predictor, table: pd.DataFrame) -> None:
    contributions = model.explain(table).contributions
    assert not contributions[:, 1].any()
    # Missing values decide about "none".
    rows = np.flatnonzero(table["gap"].isna() & (model.predict(table) == "none"))
    assert len(rows) > 20
    assert (contributions[rows].argmax(axis=1) == 2).mean() > 0.9


def test_one_row_is_explained_as_among_others(model: Predictor, table: pd.DataFrame) -> None:
    record = {str(name): value for name, value in table.iloc[3].items()}
    one, all_rows = model.explain(record, target="small"), model.explain(table, target="small")
    assert one.contributions.shape == (5,)
    assert one.target.item() == "small"
    assert one.probability.shape == ()
    np.testing.assert_allclose(one.contributions, all_rows.contributions[3], atol=1e-6)
    itself = model.explain(record, baseline=record)
    assert not itself.contributions.any()


def test_the_text_is_ordered_and_escaped() -> None:
    model = logistic([1.0, -4.0], 0.0)
    names = Predictor(model.network, None, np.array(["yes"]), multilabel=True, feature_names=["a", "\x1b[1m"])
    lines = str(names.explain([1.0, 1.0], target="yes")).splitlines()
    assert [line.split()[0] for line in lines] == ["baseline", r"\x1b[1m", "a", "probability"]


def test_labels_may_be_objects() -> None:
    model = logistic([1.0, -4.0], 0.0)
    one = Predictor(model.network, None, np.array(["yes"], dtype=object), multilabel=True)
    assert "of 'yes'" in str(one.explain([1.0, 1.0], target="yes"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "huge"}, ValueError, r"target: expected a class of the model \('large', .*got 'huge'"),
        ({"baseline": [[0.0] * 5] * 2}, ValueError, "baseline: expected one row, got 2 rows"),
        ({"X": sparse.csr_matrix(np.ones((2, 5)))}, TypeError, "sparse"),
        ({"X": [1.0, 2.0]}, ValueError, "columns"),
    ],
)
def test_what_cannot_be_explained(
    model: Predictor, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    row = [0.0, 1.0, 0.0, "a", pd.Timestamp("2024-05-01")]
    if "baseline" in arguments:
        arguments = {"baseline": [row, row]}
    with pytest.raises(error, match=message):
        model.explain(**{"X": row} | arguments)


def test_quantized_and_multilabel_models(model: Predictor, table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="not quantized, got weights in int8"):
        model.quantize("int8").explain(table)
    with pytest.raises(ValueError, match="expected a target"):
        logistic([1.0], 0.0).explain([1.0])


def test_a_jump_on_the_way_is_reported() -> None:
    def flat(points: npt.NDArray[Any], targets: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        return np.zeros_like(points)

    with pytest.warns(RuntimeWarning, match=r"1 of 2 rows add up .* within 0\.7"):
        integrated_gradients(flat, np.ones((2, 1)), np.zeros(1), np.zeros(2, int), np.array([0.0, 0.7]))


@pytest.mark.parametrize(
    "metric", ["log_loss", "accuracy", lambda y, p: float((p.argmax(1) == (y == "x")).mean())]
)
def test_permutation_importance_finds_the_columns_that_matter(metric: Any) -> None:
    X = RNG.normal(size=(500, 3))
    y = np.where(X[:, 1] > 0, "x", "a")
    network = Network.from_parameters(
        [(np.array([[0.0, -9.0, 0.0], [0.0, 9.0, 0.0]]), np.zeros(2))], output_activation="softmax"
    )
    predictor = Predictor(network, None, np.array(["a", "x"]), feature_names=["p", "q", "r"])
    found = tinyrs.permutation_importance(predictor, X, y, metric=metric, n_repeats=4, max_rows=400)
    assert (found.columns, found.importances.shape) == (("p", "q", "r"), (3, 4))
    np.testing.assert_array_equal(found.importances[[0, 2]], 0)
    assert found.importances_mean[1] > 0.4
    assert found.importances_std[1] > 0


def test_permutation_importance_of_a_table(
    model: Predictor, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    y = model.predict(table)
    found = tinyrs.permutation_importance(model, table, y, metric="accuracy", progress=True)
    assert "permutation importance: 100%" in capsys.readouterr().err
    importance = dict(zip(found.columns, found.importances_mean, strict=True))
    assert importance["constant"] == 0
    assert min(importance["size"], importance["gap"]) > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_repeats": 0}, "n_repeats: expected at least 1, got 0"),
        ({"max_rows": 0}, "max_rows: expected at least 1, got 0"),
        ({"metric": "auc"}, "metric: expected 'log_loss', 'accuracy' or a function, got 'auc'"),
        ({"y": ["huge"] * 300}, "got 'huge'"),
        ({"y": ["large"]}, r"expected shape \(300,\), got \(1,\)"),
    ],
)
def test_what_permutation_importance_refuses(
    model: Predictor, table: pd.DataFrame, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tinyrs.permutation_importance(model, **{"X": table, "y": model.predict(table)} | arguments)
