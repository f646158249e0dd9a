"""Assembles the report: what the model is worth first, how it was made last."""

from __future__ import annotations

import numpy as np

import tinyrs
from tinyrs.cli.output import open_output
from tinyrs.cli.report import charts
from tinyrs.cli.report.budget import budget_search
from tinyrs.cli.report.classes import classes
from tinyrs.cli.report.columns import columns, warnings
from tinyrs.cli.report.document import document, facts, file, header
from tinyrs.cli.report.elements import card, legend
from tinyrs.cli.report.markup import Markup, tag
from tinyrs.cli.report.names import percent
from tinyrs.cli.report.provenance import Provenance
from tinyrs.cli.report.rows import least_confident
from tinyrs.cli.training_results import METRIC_NAMES, TrainingResults
from tinyrs.tuning.scores import CALIBRATION_ERROR

CHOOSES = "The validation rows chose the best epoch."


def write(path: str, results: TrainingResults, provenance: Provenance) -> None:
    """Writes the report to a file."""
    with open_output(path) as output:
        output.write(page(results, provenance).encode())


def page(results: TrainingResults, provenance: Provenance) -> Markup:
    """The report about `results` as one HTML document."""
    source = provenance.data.name
    subject = f"{results.target} from {source}" if results.target else source
    sections = [
        _header(subject, results, provenance),
        _metrics(results),
        warnings(results),
        _loss(results),
        _validation_metric(results),
        _calibration(results),
        *budget_search(results),
        classes(results),
        *_table_sections(results),
        _provenance(results, provenance),
    ]
    return document(subject, sections)


def _header(subject: str, results: TrainingResults, provenance: Provenance) -> Markup:
    measured = (
        f" \u00b7 measured on {results.metrics.rows:,} rows that were not used for training "
        f"({results.rows_origin})"
    )
    if provenance.model_rows != results.n_rows:
        measured += f", then trained again on all {provenance.model_rows:,} rows"
    return header(subject, provenance.time, measured)


def _metrics(results: TrainingResults) -> Markup:
    """The top row: each metric with its interval, and a value to compare it with."""
    metrics, n_classes = results.metrics, len(results.metrics.classes)
    constant = 1 / np.count_nonzero(metrics.confusion.sum(axis=1))
    of_class = f"of {metrics.classes[1]}" if n_classes == 2 else "mean over the classes"
    numbers = [
        (
            "Accuracy",
            percent(metrics.accuracy),
            metrics.accuracy_interval.text(),
            f"always the most frequent class: {metrics.baseline:.1%}",
        ),
        (
            "Macro recall",
            percent(metrics.balanced_accuracy),
            metrics.balanced_accuracy_interval.text(),
            f"balanced accuracy; any constant class: {constant:.1%}",
        ),
        ("ROC AUC", _number(metrics.auc), metrics.auc_interval.text(percent=False), "random order: 0.5"),
        (
            "Average precision",
            _number(metrics.average_precision),
            metrics.average_precision_interval.text(percent=False),
            of_class,
        ),
        ("Log loss", _number(metrics.log_loss), "", f"uniform probabilities: {np.log(n_classes):.3f}"),
        ("Calibration error", _number(metrics.calibration_error), "", CALIBRATION_ERROR),
    ]
    cells = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", tag("b", value), _interval(interval), tag("span", note)),
        )
        for name, value, interval, note in numbers
    ]
    return tag("section", tag("dl", *cells, class_="metrics"), class_="wide", aria_label="Metrics")


def _interval(text: str) -> Markup | str:
    return tag("span", f"95%: {text}", class_="interval-text") if text else ""


def _number(value: float) -> str:
    return "\u2013" if np.isnan(value) else f"{value:.3f}"


def _loss(results: TrainingResults) -> Markup | None:
    """The curves of the losses; None with --budget, which trains many models."""
    if not results.history:
        return None
    series = [charts.Series("training loss", "one", results.curve("loss"))]
    if "validation_loss" in results.history[0]:
        series.append(charts.Series("validation loss", "two", results.curve("validation_loss")))
    text = "Mean log loss of each epoch, without label smoothing. Lower is better."
    if results.metric == "log_loss" and results.metric_curve:
        text += f" {CHOOSES}"
    if results.fold_accuracies:
        text += " Of the last fold."
    best = ("best", f"best epoch: {results.best_epoch + 1}")
    marks = legend(*((f"line {s.style}", s.name) for s in series), best)
    return card("Loss", text, marks, charts.epoch_lines(series, "loss", results.best_epoch), class_="third")


def _validation_metric(results: TrainingResults) -> Markup | None:
    """The curve of --metric; of the accuracy if that is the log loss, which is beside the training loss."""
    if not results.metric_curve:
        return None
    text = "On rows that were set aside during training."
    if results.metric == "log_loss":
        name, values = "accuracy", results.curve("validation_score")
    else:
        name, values = results.metric, np.array(results.metric_curve)
        text += f" {CHOOSES}"
    series = [charts.Series(f"validation {METRIC_NAMES[name]}", "two", values)]
    marks = legend(("best", f"best epoch: {results.best_epoch + 1}"))
    chart = charts.epoch_lines(series, METRIC_NAMES[name], results.best_epoch, percent="accuracy" in name)
    return card(f"Validation {METRIC_NAMES[name]}", text, marks, chart, class_="third")


def _calibration(results: TrainingResults) -> Markup:
    reliability = results.metrics.reliability
    text = "Of the rows predicted with a probability of 80%, 80% should be correct."
    entries = [
        ("dot", "accuracy, 95% Wilson interval"),
        ("diagonal", "perfect"),
        ("bar", "held-out rows"),
    ]
    if ((reliability.rows > 0) & (reliability.rows < charts.FEW_ROWS)).any():
        entries.append(("dot faint", f"under {charts.FEW_ROWS} rows"))
    chart = charts.reliability_diagram(reliability)
    return card("Calibration", text, legend(*entries), chart, class_="third")


def _table_sections(results: TrainingResults) -> list[Markup]:
    """Columns and least confident rows; without columns if the model was trained on images."""
    if not results.columns:
        return [least_confident(results, [])]
    importance = results.permutation_importance()
    order = np.argsort(-importance, kind="stable").tolist()
    return [columns(results, importance), least_confident(results, order)]


def _provenance(results: TrainingResults, provenance: Provenance) -> Markup:
    network, training = results.predictor.network, results.predictor.training
    sizes = " \u2013 ".join(f"{size:,}" for size in network.layer_sizes)
    entries: list[tuple[str, Markup | str]] = [
        ("Command", tag("code", provenance.command)),
        ("Data", file(provenance.data)),
        ("Model", file(provenance.model)),
        ("Measured", _measured(results)),
        ("Written", _written(results, provenance)),
        ("Seed", f"{training['seed']}"),
        ("Training", results.training_text),
        ("Network", f"layers of {sizes}; {network.n_parameters:,} parameters"),
        ("Version", f"tinyrs {tinyrs.__version__}"),
    ]
    text = "What is needed to find the files again, and to repeat the training."
    return card("How it was made", text, facts(entries))


def _measured(results: TrainingResults) -> str:
    text = (
        f"a model trained on {results.n_rows:,} rows, on {results.metrics.rows:,} other rows "
        f"({results.rows_origin})"
    )
    if results.fold_accuracies:
        text = (
            f"each of {results.metrics.rows:,} rows, by a model trained on other rows ({results.rows_origin})"
        )
        text += "; accuracy of the folds: " + ", ".join(map(percent, results.fold_accuracies))
    return text


def _written(results: TrainingResults, provenance: Provenance) -> str:
    if provenance.model_rows == results.n_rows:
        return "the model that was measured"
    return f"a model trained in the same way on all {provenance.model_rows:,} rows"
