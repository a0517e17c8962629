"""Why a run believed whom it believed: each round's judgements, and for one client in one round what decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hauberk.experiments.analysis.belief import Detection, JudgedRound, Judgement, detection, judged_rounds
from hauberk.experiments.analysis.deciding import (
    RoundUpdates,
    TensorShare,
    TokenMove,
    round_updates,
    tensor_shares,
    token_moves,
)
from hauberk.experiments.analysis.flags import show_flags
from hauberk.experiments.analysis.why_figure import draw_beliefs, draw_deciding
from hauberk.experiments.report.plots import can_draw
from hauberk.experiments.runner.chain import MODEL
from hauberk.experiments.runner.records import read_run
from hauberk.experiments.runner.replay import Replay, difference, open_replay
from hauberk.tasks.errors import UserError

LIAR = "!"  # after a liar's id
MOST = 24  # ids that are listed; of more the liars alone
MOST_TENSORS = 8


def why_run(console: Console, run: Path, client: int | None = None, number: int | None = None) -> None:
    """Shows and draws whom a finished run believed, and why.

    Args:
        console: where to.
        run: the run's folder; the picture is put into it.
        client: look at this one; by default at all.
        number: look at this round; by default at all. With a client: at what decided about it there, from the kept
            updates, or else from the round played again.

    Raises:
        UserError: there is no finished run, no such round, or it did not ask this client.
    """
    rounds = judged_rounds(run)
    chosen = _chosen(rounds, client, number)
    _, summary = read_run(run)
    title = f"{summary['aggregator']} against {summary['attack'] or 'nobody'}"
    _print(console, f"{run}: {title}; {LIAR} marks liars")
    if client is not None and number is not None:
        _show_deciding(console, run, chosen[0].clients[client], number)
        return
    if client is not None:
        _print_table(console, _client_table(chosen, client))
    elif number is not None:
        _print_table(console, _round_table(chosen[0]))
    else:
        _print_table(console, _all_rounds_table(rounds))
        _show_totals(console, detection(rounds))
        show_flags(
            console, run, {one.client for each in rounds for one in each.clients.values() if one.lied}, LIAR
        )
    for line in _refusals(chosen, client):
        _print(console, line)
    if can_draw():
        draw_beliefs(run / "why.png", rounds, title)
        _print(console, f"plot: {run / 'why.png'}")


def _chosen(rounds: Sequence[JudgedRound], client: int | None, number: int | None) -> list[JudgedRound]:
    """Returns the rounds in question; raises UserError where there are none, or it is not about this client."""
    chosen = [each for each in rounds if number in (None, each.number)]
    if not chosen:
        raise UserError(f"--round: must be one of the rounds 1 to {len(rounds)}, got {number}")
    if client is None:
        return chosen
    asked = [each for each in chosen if client in each.clients]
    if not asked:
        ids = sorted({one for each in chosen for one in each.clients})
        where = "the run" if number is None else f"round {number}"
        raise UserError(f"--client: must be a client that {where} asked ({_listed(ids)}), got {client}")
    return asked


def _all_rounds_table(rounds: Sequence[JudgedRound]) -> Table:
    table = _table(
        "round", "believed", "kept out", "liars' weight", "TPR", "FPR", left=("believed", "kept out")
    )
    for each in rounds:
        found = detection([each])
        judged = each.clients.values()
        table.add_row(
            str(each.number),
            _marked(one for one in judged if one.kept_out is False) or _unweighed(judged),
            _marked(one for one in judged if one.kept_out) or "-",
            _figure(each.liars_weight),
            _figure(found.tpr),
            _figure(found.fpr),
        )
    return table


def _round_table(each: JudgedRound) -> Table:
    names = list(dict.fromkeys(name for one in each.clients.values() for name in one.scores))
    table = _table("client", "weight", *names, "rank", "verdict", left=("verdict",))
    for one in sorted(each.clients.values(), key=lambda one: (one.rank or len(each.clients) + 1, one.client)):
        table.add_row(_id(one), *_cells(one, names))
    return table


def _client_table(rounds: Sequence[JudgedRound], client: int) -> Table:
    names = list(dict.fromkeys(name for each in rounds for name in each.clients[client].scores))
    table = _table("round", "client", "weight", *names, "rank", "verdict", left=("verdict",))
    for each in rounds:
        one = each.clients[client]
        rank = f"{one.rank} of {len(each.clients)}" if one.rank else "-"
        weight, *scores, _, verdict = _cells(one, names)
        table.add_row(str(each.number), _id(one), weight, *scores, rank, verdict)
    return table


def _cells(one: Judgement, names: Sequence[str]) -> list[str]:
    verdict = {None: "no weights", True: "kept out", False: "believed"}[one.kept_out]
    return [
        _figure(one.weight, 3),
        *(f"{one.scores[name]:.5g}" if name in one.scores else "-" for name in names),
        str(one.rank or "-"),
        "refused" if one.refused else verdict,
    ]


def _show_totals(console: Console, found: Detection) -> None:
    if not found.liars + found.honest:
        _print(console, "this rule gives its clients no weights: nobody is believed or kept out as a whole")
        return
    parts = []
    if found.liars:
        parts.append(f"liars kept out {found.caught} of {found.liars} times (TPR {_figure(found.tpr)})")
    parts.append(
        f"honest clients kept out {found.wronged} of {found.honest} times (FPR {_figure(found.fpr)})"
    )
    _print(console, ", ".join(parts))


def _show_deciding(console: Console, run: Path, one: Judgement, number: int) -> None:
    replay = open_replay(run)
    with console.status("") as status:
        found = round_updates(replay, number, lambda whence: status.update(f"round {number}, {whence}"))
    verdict = one.refused or f"{_cells(one, ())[-1]}, weight {_figure(one.weight, 3)}, rank {one.rank or '-'}"
    _print(
        console, f"round {number}, client {_id(one)}: {verdict}; the round's updates {_whence(found, replay)}"
    )
    if one.client not in (found.kept.context.client_ids or ()):
        return
    layout = replay.prepared.server.layout
    row = found.kept.updates[list(found.kept.context.client_ids or ()).index(one.client)]
    shares = tensor_shares(layout, row, found.update)[:MOST_TENSORS]
    moves = token_moves(replay.prepared, found, one.client)
    _print_table(console, _tensor_table(shares))
    if moves:
        _print_table(console, _token_table(moves))
    if can_draw():
        path = run / f"why-client-{one.client}-round-{number}.png"
        who = f"client {one.client}, which lies," if one.lied else f"client {one.client}"
        draw_deciding(path, shares, moves, f"{who} in round {number}: {verdict}")
        _print(console, f"plot: {path}")


def _whence(found: RoundUpdates, replay: Replay) -> str:
    recorded = replay.lines[found.line["round"]]
    problem = difference(recorded, {MODEL: found.line[MODEL]}) if MODEL in found.line else None
    return f"{found.whence}, which differs from the record: {problem}" if problem else found.whence


def _tensor_table(shares: Sequence[TensorShare]) -> Table:
    table = _table(
        "tensor", "shape", "distance", "of the squared distance", "of the top 0.1 %", left=("tensor",)
    )
    for one in shares:
        shape = " x ".join(map(str, one.shape)) or "1"
        table.add_row(one.name, shape, f"{one.distance:.4g}", f"{one.share:.1%}", f"{one.strongest:.1%}")
    return table


def _token_table(moves: Sequence[TokenMove]) -> Table:
    table = _table(
        "place", "token", "distance", "it moved", "others' median", "others that moved it", left=("token",)
    )
    for one in moves:
        mark = " (trigger)" if one.in_trigger else ""
        table.add_row(
            str(one.place),
            escape(one.token) + mark,
            f"{one.distance:.4g}",
            f"{one.own:.4g}",
            f"{one.median:.4g}",
            str(one.others),
        )
    return table


def _refusals(rounds: Iterable[JudgedRound], client: int | None) -> list[str]:
    return [
        f"round {each.number}: client {_id(one)} refused: {one.refused}"
        for each in rounds
        for one in each.clients.values()
        if one.refused and client in (None, one.client)
    ]


def _table(*headings: str, left: Sequence[str] = ()) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", overflow="fold")
    return table


def _print_table(console: Console, table: Table) -> None:
    console.print(table, highlight=False)


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _marked(ones: Iterable[Judgement]) -> str:
    listed = list(ones)
    if len(listed) <= MOST:
        return " ".join(map(_id, listed))
    liars = " ".join(_id(one) for one in listed if one.lied)
    return f"{len(listed)} clients, liars: {liars or 'none'}"


def _unweighed(judged: Iterable[Judgement]) -> str:
    return "nobody" if all(one.kept_out for one in judged) else "no weights"


def _listed(ids: Sequence[int]) -> str:
    if ids and ids == list(range(ids[0], ids[-1] + 1)):
        return f"{ids[0]} to {ids[-1]}"
    return ", ".join(map(str, ids[:MOST])) + (", ..." if len(ids) > MOST else "")


def _id(one: Judgement) -> str:
    return f"{one.client}{LIAR if one.lied else ''}"


def _figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
