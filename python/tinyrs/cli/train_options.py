"""The options of `tinyrs train`."""

from __future__ import annotations

from tinyrs.classifier import TinyClassifier
from tinyrs.cli.arguments import (
    FORMATS,
    Parser,
    class_weights,
    integer_at_least,
    positive_seconds,
    share,
    size,
    threshold,
)
from tinyrs.cli.budget import limit
from tinyrs.cli.fitting import EMBEDDINGS
from tinyrs.cli.text_format import add_text_options

# The values of `eval_metric` of TinyClassifier that are offered.
METRICS = ("log_loss", "accuracy", "auc", "average_precision", "balanced_accuracy", "f1")


def parser() -> Parser:
    parser = Parser(
        "train",
        "Train a classifier on a table (CSV, Parquet, a folder of Parquet files, NPZ with arrays X and y)\n"
        "or a folder of images with a subfolder for each class, and measure it on rows that were not\n"
        "used for training.",
        "tinyrs train data.csv --target quality -o model.safetensors",
        "tinyrs train data.csv --target quality -o model.safetensors --time-limit 60 --report report.html",
        "tinyrs train data.csv --target quality -o model.safetensors --budget 2us --budget 50KB",
        "tinyrs train photos/ -o model.safetensors",
    )
    parser.add_argument(
        "data",
        help="a table, `-` for CSV on standard input, a folder of Parquet files, or a folder of images",
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="column to predict; not needed for NPZ, whose target is y"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="model file to write")
    parser.add_argument("--report", metavar="FILE", help="also write an HTML report, a single file")
    _add_column_options(parser)
    _add_network_options(parser)
    _add_training_options(parser)
    _add_measuring_options(parser)
    parser.add_threads()
    parser.add_json()
    add_text_options(parser)
    return parser


def _add_column_options(parser: Parser) -> None:
    for option, text in {
        "--drop": "columns to ignore",
        "--categorical": "columns to treat as categories even if they look like numbers",
    }.items():
        parser.add_argument(option, nargs="+", action="extend", default=[], metavar="COLUMN", help=text)


def _add_network_options(parser: Parser) -> None:
    defaults = TinyClassifier()
    widths = " ".join(map(str, defaults.hidden_layer_sizes))
    parser.add_argument(
        "--hidden",
        nargs="+",
        type=integer_at_least(1),
        metavar="WIDTH",
        help=f"widths of the hidden layers; smaller is faster (default: {widths})",
    )
    parser.add_argument(
        "--ensemble",
        metavar="N",
        type=integer_at_least(1),
        help="number of networks whose probabilities are averaged; more are slower and larger "
        f"(default: {defaults.n_ensemble})",
    )
    parser.add_argument(
        "--numeric-embedding",
        choices=EMBEDDINGS,
        help="trained cosines of each number, for effects that are not smooth: in every second network "
        "(auto), in all (pbld) or in none (default: auto)",
    )


def _add_training_options(parser: Parser) -> None:
    parser.add_argument(
        "--time-limit",
        "--max-time",
        type=positive_seconds,
        metavar="SECONDS",
        help="reduce the number of epochs so that training takes about this time at most",
    )
    parser.add_argument(
        "--epochs",
        metavar="N",
        type=integer_at_least(1),
        help="number of epochs (default: 256 for up to 2,000 rows; halved each time the rows quadruple)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=integer_at_least(0), default=0, help="random seed (default: 0)"
    )
    parser.add_argument(
        "--class-weight",
        metavar="WEIGHTS",
        type=class_weights,
        help="`balanced` gives all classes the same total weight; or numbers, such as yes=5,no=1",
    )
    parser.add_argument(
        "--metric",
        choices=METRICS,
        default="log_loss",
        help="the metric that chooses the best epoch (default: log_loss)",
    )
    parser.add_argument(
        "--budget",
        action="append",
        type=limit,
        metavar="LIMIT",
        help="search for the best model within a latency of one prediction on this machine, such as 2us, or "
        "a file size, such as 50KB; or both, with two options",
    )
    parser.add_argument(
        "--max-drop",
        type=share,
        metavar="SHARE",
        help="with --budget: the largest loss of accuracy against a model without limits, such as 0.01",
    )
    parser.add_argument(
        "--quantize",
        choices=FORMATS,
        help="write the weights in a format of 8 or 16 bits; see also `tinyrs quantize`; with --budget, try "
        "only this format",
    )
    parser.add_argument(
        "--max-memory",
        metavar="SIZE",
        type=size,
        default=size("2GB"),
        help="Parquet that takes more than this in memory is read again in each epoch (default: 2GB)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="after Ctrl-C, write the best model so far; without it, a question is asked on a terminal",
    )


def _add_measuring_options(parser: Parser) -> None:
    parser.add_argument(
        "--valid",
        metavar="FILE",
        help="data to measure the model on (default: a tenth of the rows is held out)",
    )
    parser.add_argument(
        "--cv",
        metavar="FOLDS",
        type=integer_at_least(2),
        help="measure by cross-validation: every row is predicted by a model that was not trained on it",
    )
    parser.add_argument(
        "--no-refit",
        dest="refit",
        action="store_false",
        help="write the model that was measured (default: after that, train again on all rows)",
    )
    parser.add_argument(
        "--threshold",
        metavar="NUMBER",
        type=threshold,
        help="for two classes: predict the second one (in sorted order) from this probability; "
        "f1 or balanced_accuracy: where this score is best on the rows that are measured",
    )
