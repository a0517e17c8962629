"""What comes after the last round: repairs, a look at the final model, and the summary."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from hauberk.experiments.analysis.detect import scored
from hauberk.experiments.report.plots import Panel, can_draw, draw_panels
from hauberk.experiments.runner.beside_twin import beside_twin, natural_undefended
from hauberk.experiments.runner.costs import costs
from hauberk.experiments.runner.durability import durability
from hauberk.experiments.runner.finished import Finished
from hauberk.experiments.runner.progress import Screen
from hauberk.experiments.runner.round_tables import write_tables
from hauberk.experiments.runner.run_dir import RunDir
from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.runner.text_stealth import stealth_of
from hauberk.experiments.spec.names import attack_name, rule_name
from hauberk.server import checkpoint
from hauberk.server.evaluation import ATTACK_METRICS, NATURAL
from hauberk.server.server import attackers
from hauberk.server.serving import predictor, serving_report
from hauberk.server.state import ServerState, model_sha256


@dataclass(frozen=True)
class Result:
    """A finished run: where it is and its summary."""

    folder: Path
    summary: dict[str, Any]


def finalize(prepared: Prepared, last: ServerState, folder: RunDir, screen: Screen, engine: str) -> Result:
    """Repairs the last model, looks at its inputs and writes the summary: from here on the run is finished.

    ``engine`` is the name of the one that ran.
    """
    summary = summarise(prepared, last, folder, engine)
    final = last
    if prepared.server.repairs.at_end:
        screen.finalizing(f"repairs: {', '.join(prepared.server.repairs.steps)}")
        final, changes = repaired(prepared, last, summary)
        summary |= changes
        checkpoint.save(folder.path / checkpoint.REPAIRED, replace(final, clients={}), folder.identity)
    screen.finalizing("the final model")
    run = Finished(prepared, final.parameters, final.round, remembered=final.aggregator)
    summary["stealth"] = stealth_of(run)
    if served := serving_report(prepared.server, final):
        served["undefended"] |= {NATURAL: natural_undefended(prepared, folder)}
        summary["serving"] = served
    summary["beside_twin"] = beside_twin(prepared, final, folder)
    if prepared.spec.detectors:
        summary["detectors"] = scored(run, prepared.spec.parts.detectors)
    if can_draw():
        title = f"{prepared.spec.name}: {summary['aggregator']}"
        draw_panels(folder.path / "curves.png", [Panel(title, folder.rounds(), prepared.task.metrics[0])])
    write_tables(folder.path, folder.rounds())
    return Result(folder.path, folder.finish(summary))


def summarise(prepared: Prepared, last: ServerState, folder: RunDir, engine: str) -> dict[str, Any]:
    """Returns what ``summary.json`` holds."""
    spec, rounds = prepared.spec, folder.rounds()
    metrics = (*prepared.task.metrics, *ATTACK_METRICS)
    return {
        "name": spec.name,
        "spec_hash": folder.identity["spec"],
        "task": spec.task.name,
        "engine": engine,
        "aggregator": rule_name(prepared.server.aggregate),
        "attack": attack_name(prepared.server.attack),
        "rounds": last.round,
        "model_sha256": model_sha256(last.parameters, prepared.server.layout),
        "primary": metrics[0].name,
        "final": {metric.name: rounds[-1][metric.name] for metric in metrics},
        "knowledge": prepared.server.attack.knowledge if prepared.server.attack else None,
        "labels": list(prepared.labels),
        "refused": sum(len(line["refused"]) for line in rounds),
        "warnings": prepared.warnings,
        "seconds": round(sum(line["wall"] for line in rounds), 2),
        "costs": costs(rounds),
        "durability": durability(rounds, last_attack(prepared, last.round)),
        "versions": versions(),
    }


def last_attack(prepared: Prepared, rounds: int) -> int:
    """Returns the last of ``rounds`` rounds in which the schedule lets anybody lie; 0 where it does in none."""
    lying = [number for number in range(1, rounds + 1) if attackers(prepared.server, number)]
    return max(lying, default=0)


def repaired(
    prepared: Prepared, last: ServerState, summary: Mapping[str, Any]
) -> tuple[ServerState, dict[str, Any]]:
    """Returns the state after the repairs that run at the end, and what they change in the summary."""
    server = prepared.server
    parameters, reports = server.repairs.after_training(last.parameters, last.round)
    final = replace(last, parameters=parameters)
    changes = {
        "model_sha256": model_sha256(parameters, server.layout),
        "final": server.evaluate.of(predictor(server, final)) | {NATURAL: summary["final"][NATURAL]},
        "repairs": reports,
        "before_repairs": {key: summary[key] for key in ("model_sha256", "final")},
    }
    return final, changes


@cache
def code_digest() -> str:
    """Returns a digest of the source files of this package, whatever version it says it is."""
    digest = hashlib.sha256()
    for folder in ("tasks", "strategies", "attacks", "clients", "server", "experiments"):
        root = Path(str(files(f"hauberk.{folder}")))
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{folder}/{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Returns the versions that a result depends on; ``code`` is a digest of this package's own source files."""
    packages = ("hauberk", "torch", "flwr", "ray", "transformers", "numpy")
    found = {name: _version(name) for name in packages}
    return {
        "python": platform.python_version(),
        **{name: number for name, number in found.items() if number is not None},
        "code": code_digest(),
    }


def _version(name: str) -> str | None:
    """Returns a package's version; None where it is not installed, as a deployment needs no Ray."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
