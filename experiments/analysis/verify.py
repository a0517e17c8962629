"""Whether a finished run's records are those that it wrote, and whether its rounds give the same bits again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from hauberk.experiments.runner.chain import CHAIN, MODEL, broken_chain
from hauberk.experiments.runner.finalize import repaired, versions
from hauberk.experiments.runner.records import read_run
from hauberk.experiments.runner.replay import (
    INITIAL,
    AnotherRun,
    PlayedRound,
    Replay,
    difference,
    open_replay,
)
from hauberk.server.round import RoundFailed
from hauberk.server.state import ServerState, model_sha256

EQUAL, DIFFERENT = 0, 1  # exit codes


def verify_run(console: Console, run: Path, number: int | None = None, *, replay: bool = True) -> int:
    """Checks the chain of a run's records, plays one round again or all, and shows where it first differs.

    Args:
        console: where to.
        run: the run's folder, which is left alone.
        number: the round; by default all, from the untrained model on.
        replay: whether anything is played again.

    Returns:
        The exit code: 0 where all is equal, 1 where something differs.

    Raises:
        UserError: nothing can be said: there is no finished run, or no such round, or its data are gone.
    """
    if problem := broken_chain(run):
        return _show(console, f"differs: {problem}", DIFFERENT)
    _, summary = read_run(run)
    identity = ", ".join(f"{name} {value[:12]}" for name, value in summary["identity"].items())
    _show(console, f"{summary['rounds']} records, chained to {summary[CHAIN][:12]}: unbroken ({identity})")
    if not replay:
        return EQUAL
    try:
        return _played_again(console, open_replay(run), summary, number)
    except AnotherRun as error:
        return _show(console, f"differs: {error}", DIFFERENT)


def _played_again(console: Console, run: Replay, summary: dict, number: int | None) -> int:
    for line in _other_software(summary["versions"]):
        _show(console, line)
    last = max(run.lines)
    start, whence = (run.prepared.start, INITIAL) if number is None else run.nearest(number)
    if problem := _other_model(run, start):
        return _show(console, f"differs: {whence}: {problem}", DIFFERENT)
    state = start
    for played in _rounds(run, start, number or last):
        if isinstance(played, str):
            return _show(console, f"differs: {played}", DIFFERENT)
        state = played.state
        _show(console, f"round {state.round}: equal (model {played.line[MODEL][:12]})")
    if number is None and "before_repairs" in summary and (problem := _other_repairs(run, state, summary)):
        return _show(console, f"differs: the repairs at the end: {problem}", DIFFERENT)
    n_played = state.round - start.round
    what = f"round {state.round}" if n_played == 1 else f"rounds {start.round + 1} to {state.round}"
    return _show(console, f"equal: {what}, played again from {whence}, the same bits")


def _rounds(run: Replay, start: ServerState, last: int) -> Iterator[PlayedRound | str]:
    """Yields the rounds that are equal, and at the first that is not, in what."""
    played = run.play(start, last)
    for number in range(start.round + 1, last + 1):
        try:
            one = next(played)
        except RoundFailed as error:
            yield f"round {number}: {error}"
            return
        if problem := difference(run.lines[number], one.line):
            yield f"round {number}: {problem}"
            return
        yield one


def _other_model(run: Replay, state: ServerState) -> str | None:
    """Returns in what a checkpoint is not the model that its round recorded."""
    if state.round == 0:
        return None
    found = model_sha256(state.parameters, run.prepared.server.layout)
    return difference(run.lines[state.round], {MODEL: found})


def _other_repairs(run: Replay, last: ServerState, summary: dict) -> str | None:
    _, again = repaired(run.prepared, last, summary["before_repairs"])
    return difference(summary, {key: again[key] for key in (MODEL, "final")})


def _other_software(recorded: dict[str, str]) -> list[str]:
    """Returns what of the software is another one than the run's, a line each: its bits may depend on it."""
    return [
        f"note: the run had {name} {recorded[name]}, and this is {value}"
        for name, value in versions().items()
        if recorded.get(name, value) != value
    ]


def _show(console: Console, line: str, code: int = EQUAL) -> int:
    console.print(line, highlight=False, soft_wrap=True, markup=False)
    return code
