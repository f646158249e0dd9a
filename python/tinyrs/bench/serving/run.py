"""Runs the scenarios of several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinyrs.bench.isolated import WorkerError
from tinyrs.bench.serving import scenarios, search
from tinyrs.bench.serving.models import Subject
from tinyrs.bench.serving.outcomes import Outcome, Result, Served
from tinyrs.bench.serving.settings import SERVER, Settings

# Called after each scenario with the name of the model and the outcome.
Progress = Callable[[str, Outcome], object]


def run(
    subjects: Sequence[Subject], served: Served, progress: Progress = lambda model, outcome: None
) -> None:
    """Measures each subject and adds its result, or the reason why it has none, to `served`."""
    for subject in subjects:
        try:
            accuracy = scenarios.measure_accuracy(subject) if subject.labelled else None
            outcomes = []
            for scenario in served.settings.scenarios:
                outcomes.append(run_scenario(subject, scenario, served.settings))
                progress(subject.name, outcomes[-1])
        except WorkerError as error:
            served.failures.append(f"{subject.name}: {error}")
            continue
        served.results.append(
            Result(subject.name, subject.size, subject.training_s, tuple(outcomes), accuracy)
        )


def run_scenario(subject: Subject, scenario: str, settings: Settings) -> Outcome:
    """Measures one scenario. Raises WorkerError."""
    if scenario != SERVER:
        return scenarios.run_streams(subject, scenario, settings)
    if settings.qps is None:
        return search.run(subject, settings)
    return scenarios.run_server(subject, settings, settings.qps, settings.seconds)
