"""What a run shows while it goes on: one line a round, and a bar for the clients of the round that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hauberk.clients.worker import ClientReply
from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.spec.build import Parts
from hauberk.experiments.spec.loader import Spec
from hauberk.experiments.spec.names import attack_name, rule_name
from hauberk.server.evaluation import NATURAL
from hauberk.tasks.base import Metric


class Screen(Protocol):
    """Who shows a run."""

    def begin(self, spec: Spec, parts: Parts, played: int, engine: str) -> None:
        """A run of ``parts`` begins on ``engine``, or goes on after ``played`` rounds."""

    def ready(self, prepared: Prepared) -> None:
        """Data and model are there."""

    def warned(self, line: str) -> None:
        """Something of which the user should know, and which does not stop the run."""

    def round_started(self, number: int, n_clients: int) -> None:
        """Round ``number`` asks ``n_clients`` clients."""

    def reply_received(self, reply: ClientReply) -> None:
        """One client answered."""

    def round_finished(self, line: Mapping[str, Any]) -> None:
        """A round is recorded."""

    def finalizing(self, work: str) -> None:
        """The last round is recorded, and ``work`` with the final model begins."""


class Quiet:
    """Shows nothing."""

    def begin(self, spec: Spec, parts: Parts, played: int, engine: str) -> None: ...  # noqa: D102
    def ready(self, prepared: Prepared) -> None: ...  # noqa: D102
    def warned(self, line: str) -> None: ...  # noqa: D102
    def round_started(self, number: int, n_clients: int) -> None: ...  # noqa: D102
    def reply_received(self, reply: ClientReply) -> None: ...  # noqa: D102
    def round_finished(self, line: Mapping[str, Any]) -> None: ...  # noqa: D102
    def finalizing(self, work: str) -> None: ...  # noqa: D102


class TwinScreen(Quiet):
    """Shows of an attack-free twin only that it is being played, on the screen of the run that it is for."""

    def __init__(self, screen: Screen, rounds: int) -> None:
        self._screen, self._rounds = screen, rounds

    def round_started(self, number: int, n_clients: int) -> None:  # noqa: D102
        self._screen.finalizing(f"the attack-free twin, round {number} of {self._rounds}")


class Terminal:
    """Shows a run on a terminal; the bar disappears where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._bar = self._progress.add_task("preparing", total=None)
        self._rounds = 0
        self._primary = Metric("", "")

    def __enter__(self) -> Terminal:
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, spec: Spec, parts: Parts, played: int, engine: str) -> None:  # noqa: D102
        self._rounds = spec.federation.rounds
        n, attack = spec.federation.n_malicious, attack_name(parts.attack)
        liars = f", {n} malicious ({escape(attack)})" if attack and n else ", none malicious"
        again = f", going on after round {played}" if played else ""
        self.console.print(
            f"[bold]{escape(spec.name)}[/]: {_learned(spec)}, "
            f"{spec.federation.n_clients} clients{liars}, [bold]{escape(rule_name(parts.aggregator))}[/], "
            f"{spec.federation.rounds} rounds on {engine}{again}",
            highlight=False,
        )

    def ready(self, prepared: Prepared) -> None:  # noqa: D102
        for warning in prepared.warnings:
            self.warned(warning)
        self._primary = prepared.task.metrics[0]
        evaluated = len(prepared.server.evaluate.clean)
        trained = f"{sum(len(rows) for rows in prepared.worker.partitions):,} training and "
        if prepared.data.federated:  # which the server does not see
            trained = ""
        names = "classes" if prepared.task.modality == "text" else prepared.task.modality
        classes = f"{len(prepared.labels)} {names}, " if prepared.labels else ""
        self.console.print(
            f"{trained}{evaluated:,} test {prepared.task.unit}, {classes}"
            f"{len(prepared.start.parameters):,} parameters",
            highlight=False,
        )

    def warned(self, line: str) -> None:  # noqa: D102
        self.console.print(f"[yellow]warning:[/] {escape(line)}", highlight=False)

    def round_started(self, number: int, n_clients: int) -> None:  # noqa: D102
        self._progress.update(
            self._bar, description=f"round {number}/{self._rounds}", total=n_clients, completed=0
        )

    def reply_received(self, reply: ClientReply) -> None:  # noqa: D102
        self._progress.advance(self._bar)

    def round_finished(self, line: Mapping[str, Any]) -> None:  # noqa: D102
        self.console.print(round_text(line, self._rounds, self._primary), highlight=False)
        for client, reason in line["refused"].items():
            self.console.print(f"  [yellow]client {client} refused:[/] {escape(reason)}", highlight=False)
        for client, what in line.get("late", {}).items():
            self.console.print(f"  [yellow]client {client}:[/] {escape(what)}", highlight=False)
        for loss in line.get("lost", ()):
            self.console.print(f"  [yellow]{loss_text(loss)}[/]", highlight=False)

    def finalizing(self, work: str) -> None:  # noqa: D102
        self._progress.reset(self._bar, description=work, total=None)


def round_text(line: Mapping[str, Any], rounds: int, primary: Metric) -> str:
    """Returns the one line that a round is shown as: ``primary``, the attack, and what attackers weigh."""
    text = f"round {line['round']:>{len(str(rounds))}}/{rounds}  {primary.label} {primary.text(line[primary.name])}"
    if line.get("attack_success_rate") is not None:
        rate, natural = line["attack_success_rate"], line.get(NATURAL)
        word, known = ("floor", line["attack_success_floor"]) if natural is None else ("natural", natural)
        colour = "red" if rate - (known or 0.0) > 0.3 else "green"
        beside = "" if known is None else f" ({word} {known:.3f})"
        text += f"  attack [{colour}]{rate:.3f}[/]{beside}"
    liars = [client for client in line["malicious"] if str(client) in map(str, line["weights"] or {})]
    if liars and line["weights"]:
        weight = sum(value for client, value in line["weights"].items() if int(client) in liars)
        text += f"  liars weigh {weight:.2f}"
    return f"{text}  {line['wall']:.1f} s"


def loss_text(loss: Mapping[str, Any]) -> str:
    """Returns the one line that a lost worker is shown as."""
    if loss["client"] is not None:
        done = f"client {loss['client']} was asked again elsewhere"
    else:
        done = "while idle" if loss.get("idle") else "its share of the evaluation was done again elsewhere"
    return f"worker {loss['pid']} on {loss['node']} lost: {loss['reason']}; {done}"


def _learned(spec: Spec) -> str:
    """Returns what is learned: the data set and the model, or what else the task has a choice of."""
    return ", ".join(spec.task.chosen.values()) or spec.task.name
