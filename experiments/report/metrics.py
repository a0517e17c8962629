"""The metrics that a run's records hold, with their names for readers: those of its task, then those of an attack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hauberk.server.evaluation import ATTACK_METRICS
from hauberk.tasks import DEFAULT_TASK, TASKS
from hauberk.tasks.base import Metric

ABOVE_NATURAL = Metric(
    "attack_success_above_natural", "attack success above natural", higher_is_better=False, is_share=True
)


def benchmark_metrics(task: str = DEFAULT_TASK) -> tuple[Metric, ...]:
    """Returns what a benchmark compares rules by: the attack's success above natural, and the primary metric."""
    return (ABOVE_NATURAL, TASKS[task].metrics[0])


def known_metrics() -> dict[str, Metric]:
    """Returns the metrics of all tasks and of attacks by name."""
    of_tasks = [metric for task in TASKS.values() for metric in task.metrics]
    return {metric.name: metric for metric in (*of_tasks, *ATTACK_METRICS, ABOVE_NATURAL)}


def metrics_of(summary: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Returns the metrics of a finished run, the primary one first.

    A summary from before it named its task is one of text classification; what a task that is not installed here
    measured is called as in the records.
    """
    task = TASKS.get(summary.get("task", DEFAULT_TASK))
    if task is not None:
        return (*task.metrics, *ATTACK_METRICS)
    of_attack = {metric.name for metric in ATTACK_METRICS}
    unknown = (Metric(name, name) for name in summary["final"] if name not in of_attack)
    return (*unknown, *ATTACK_METRICS)


def columns_of(summaries: Iterable[Mapping[str, Any]]) -> list[Metric]:
    """Returns the metrics of which some of these runs have a value, each once, those of attacks last."""
    found = {
        metric.name: metric
        for summary in summaries
        for metric in metrics_of(summary)
        if summary["final"].get(metric.name) is not None
    }
    return sorted(found.values(), key=lambda metric: metric in ATTACK_METRICS)


def rows_of(summary: Mapping[str, Any]) -> Iterable[tuple[Metric, float]]:
    """Yields each metric of which a finished run has a value, and that value."""
    for metric in metrics_of(summary):
        value = summary["final"].get(metric.name)
        if value is not None:
            yield metric, value
