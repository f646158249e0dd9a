"""The text of `TinyClassifier.summary`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tinyrs.classifier.held_out import HeldOut
from tinyrs.network_text import embedding_text, sizes_text
from tinyrs.tabular.column_descriptions import column_lines, describe_columns, listed
from tinyrs.tabular.preprocessor import Preprocessor
from tinyrs.tuning import intervals
from tinyrs.tuning.basic_metrics import accuracy, log_loss
from tinyrs.tuning.scores import Metrics, areas

if TYPE_CHECKING:
    from tinyrs.classifier.prediction import FittedClassifier

MAX_VALUES, MAX_NAME = 8, 40


def summary(model: FittedClassifier) -> str:
    """Columns, classes, layers, training and the metrics of held-out rows, a line each."""
    network, epochs = model.network_, model.n_iter_
    layers = f"{sizes_text(network)}, {network.activation}, {network.precision}{embedding_text(network)}"
    classes = listed(model.classes_.tolist(), _printable, MAX_VALUES)
    kept = f"kept epoch {model.best_iteration_ + 1}, temperature {model.temperature_:.4g}"
    return "\n".join(
        [
            type(model).__name__,
            *_column_lines(model),
            f"  {'labels' if model._multilabel else 'classes':10}  {classes}",
            f"  layers      {layers}",
            f"  parameters  {network.n_parameters:,}, {network.nbytes:,} bytes",
            f"  training    {epochs:,} epoch{'' if epochs == 1 else 's'}; {kept}",
            *_metric_lines(model),
        ]
    )


def _column_lines(model: FittedClassifier) -> list[str]:
    """How many columns there are of each kind, and each of them if they have names."""
    names = getattr(model, "feature_names_in_", None)
    preprocessor = model.preprocessor_ if isinstance(model.preprocessor_, Preprocessor) else None
    columns = describe_columns(preprocessor, None if names is None else list(names), model.n_features_in_)
    counts = Counter(column["kind"] for column in columns).most_common()
    kinds = ", ".join(f"{kind}: {count:,}" for kind, count in counts)
    lines = [f"  columns     {len(columns):,} ({kinds})"]
    if names is None:
        return lines
    return lines + column_lines(columns, _printable, MAX_VALUES)


def _metric_lines(model: FittedClassifier) -> list[str]:
    """The metrics of the held-out rows; of a model from a file only those of `evals_result_`."""
    held_out = model._held_out
    if held_out is not None:
        then = ", before the refit on all rows" if held_out.refitted else ""
        head = f"on the {len(held_out.targets):,} rows that chose the epoch{then}:"
        return ["", head, *_score_lines(model, held_out)]
    curves = model.evals_result_.values()
    values = {metric: curve[model.best_iteration_] for metrics in curves for metric, curve in metrics.items()}
    lines = [f"  {metric:17}  {value:>7.4f}" for metric, value in values.items()]
    return ["", "on the rows that chose the epoch:", *lines] if lines else []


def _score_lines(model: FittedClassifier, held_out: HeldOut) -> list[str]:
    targets, p = held_out.targets, held_out.probabilities
    if targets.ndim == 1:
        return Metrics.of(p, targets, model.classes_).score_lines()
    share = accuracy(targets, p)
    auc, auc_interval, average_precision, its_interval = areas(targets, p)
    scores = [
        (
            "accuracy",
            f"{share:.2%}",
            intervals.proportion(share, len(p)).text(),
            "all labels right",
        ),
        ("AUC", f"{auc:.4f}", auc_interval.text(percent=False), "mean over the labels"),
        ("average precision", f"{average_precision:.4f}", its_interval.text(percent=False), "mean"),
        ("log loss", f"{log_loss(targets, p):.4f}", "", "mean over the labels"),
    ]
    return [f"  {name:17}  {value:>7}  {interval:16}  ({note})" for name, value, interval, note in scores]


def _printable(value: object) -> str:
    """The text of a name or label in one line."""
    text = str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 3] + "..."
