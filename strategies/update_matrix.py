"""Turns replies into rows, once, for everyone: the guard, then one matrix ordered by client id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from hauberk.strategies.client_state import copied
from hauberk.strategies.guard import Guard
from hauberk.strategies.layout import Layout, Slot, layout_of
from hauberk.strategies.row_memory import RowMemory, arrange

__all__ = ["CollectedUpdates", "Layout", "Reply", "UpdateMatrix", "layout_of"]


@dataclass(frozen=True, eq=False)
class Reply:
    """What came back from one client.

    Attributes:
        client_id: who.
        arrays: its weights, by name; ``None`` where it failed.
        n_examples: on how many examples it says it trained.
        state: what it wants back in its next round.
        report: scalars worth logging.
        error: why it failed, in one line.
        rows: of these tensors ``arrays`` holds these rows alone, int64 [k] ascending; in all others nothing has
            changed since they were sent.
    """

    client_id: int
    arrays: Mapping[str, np.ndarray] | None
    n_examples: float = 1
    state: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CollectedUpdates:
    """The rows of a round.

    Attributes:
        updates: accepted updates, shape [n_clients, n_params]; a view of the one matrix.
        client_ids: who sent each row, ascending.
        n_examples: how many examples each claims.
        refused: why, by client id; a client with two replies is also here, though its first one may count.
        states: what each wants back in its next round, with memory of its own; clients without any are left out.
        reports: what each reports.
    """

    updates: Tensor
    client_ids: tuple[int, ...]
    n_examples: tuple[float, ...]
    refused: dict[int, str]
    states: dict[int, dict[str, Any]] = field(default_factory=dict)
    reports: dict[int, dict[str, float]] = field(default_factory=dict)


class UpdateMatrix:
    """One preallocated matrix [n_asked, n_params] that replies are written into as they come.

    Args:
        asked: the clients a reply is due from.
        layout: the tensors of a reply.
        parameters: the vector that was sent, shape [n_params], or that of each asked client by id where they differ; a
            row is a reply minus it.
        guard: what refuses odd replies.
        memory: where the rows are kept, for whoever has many rounds; by default new memory.

    Raises:
        ValueError: if a client is asked twice, or ``parameters`` does not fit ``layout``.
    """

    def __init__(
        self,
        asked: Sequence[int],
        layout: Layout,
        parameters: Tensor | Mapping[int, Tensor],
        guard: Guard | None = None,
        memory: RowMemory | None = None,
    ) -> None:
        if len(set(asked)) != len(asked):
            raise ValueError(f"Each client is asked once, got {len(asked)} ids, {len(set(asked))} distinct.")
        sent = dict.fromkeys(asked, parameters) if isinstance(parameters, Tensor) else parameters
        for vector in sent.values():
            if vector.shape != (layout.n_params,):
                raise ValueError(
                    f"The parameters have shape {tuple(vector.shape)}, the layout needs ({layout.n_params},)."
                )
        self._index = {client_id: row for row, client_id in enumerate(sorted(asked))}
        self._layout = layout
        self._sent = {client_id: sent[client_id].detach().cpu().numpy() for client_id in asked}
        self._guard = guard or Guard()
        self._matrix = (memory or RowMemory()).matrix(len(asked), layout.n_params)
        self._n_examples: dict[int, float] = {}
        self._refused: dict[int, str] = {}
        self._states: dict[int, dict[str, Any]] = {}
        self._reports: dict[int, dict[str, float]] = {}
        self._odd_values: dict[int, str | None] = {}  # of the rows that were looked at, by client

    @property
    def accepted(self) -> tuple[int, ...]:
        """Returns the clients whose replies have the right form so far, ascending."""
        return tuple(sorted(self._n_examples))

    @property
    def claimed(self) -> dict[int, float]:
        """Returns how many examples each accepted client claims, ascending by client."""
        return {client_id: self._n_examples[client_id] for client_id in self.accepted}

    def add(self, reply: Reply) -> None:
        """Writes ``reply`` minus the parameters into its row, or remembers why it is refused."""
        reason = self._reason(reply)
        if reason is not None:
            self._refused[reply.client_id] = reason
            return
        assert reply.arrays is not None  # the guard has seen to it
        self._n_examples[reply.client_id] = float(reply.n_examples)
        self._states[reply.client_id] = copied(reply.state)
        self._reports[reply.client_id] = {key: float(value) for key, value in reply.report.items()}
        row = self.row(reply.client_id).numpy()
        with np.errstate(over="ignore", invalid="ignore"):  # close() refuses what is not finite, by name
            for slot in self._layout:
                sent, values = self._sent[reply.client_id][slot.slice], reply.arrays[slot.name]
                _subtract(values, sent, row[slot.slice], slot, reply.rows.get(slot.name))

    def row(self, client_id: int) -> Tensor:
        """Returns the row of an asked client, shape [n_params], as a view; raises KeyError for others."""
        return self._matrix[self._index[client_id]]

    def split(self, first: Sequence[int], second: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns the rows of two groups of asked clients, each [len(group), n_params] and a view, not to be written.

        Where they do not lie side by side already, rows move in place: views that were taken before show others.
        """
        wanted = [self._index[client_id] for client_id in (*first, *second)]
        if not (_side_by_side(wanted[: len(first)]) and _side_by_side(wanted[len(first) :])):
            self._arrange(wanted)
        groups = ([self._index[client_id] for client_id in group] for group in (first, second))
        one, other = (
            self._matrix[places[0] : places[-1] + 1] if places else self._matrix[:0] for places in groups
        )
        return one, other

    def rewrite(self, client_id: int, row: Tensor) -> None:
        """Puts ``row`` [n_params] in the place of what an asked client sent."""
        self.row(client_id).copy_(row)
        self._odd_values.pop(client_id, None)

    def odd_values(self, client_id: int) -> str | None:
        """Returns why an accepted client's row will be refused by its values, or None; each row is looked at once."""
        if client_id not in self._odd_values:
            self._odd_values[client_id] = self._guard.row(self.row(client_id), self._layout)
        return self._odd_values[client_id]

    def close(self) -> CollectedUpdates:
        """Refuses the silent and the rows that are not finite; moves the others together in place."""
        kept: list[int] = []
        for client_id in sorted(self._index):
            if client_id not in self._n_examples:
                self._refused.setdefault(client_id, "no reply")
            elif reason := self.odd_values(client_id):
                self._refused[client_id] = reason
            else:
                kept.append(client_id)
        self._arrange([self._index[client_id] for client_id in kept])
        return CollectedUpdates(
            updates=self._matrix[: len(kept)],
            client_ids=tuple(kept),
            n_examples=tuple(self._n_examples[client_id] for client_id in kept),
            refused=dict(sorted(self._refused.items())),
            states={client_id: self._states[client_id] for client_id in kept if self._states[client_id]},
            reports={client_id: self._reports[client_id] for client_id in kept},
        )

    def _arrange(self, first: list[int]) -> None:
        """Moves the rows at ``first`` to the beginning, in this order, and those that are in their way behind them."""
        chosen = set(first)
        order = [*first, *(row for row in range(len(self._index)) if row not in chosen)]
        arrange(self._matrix, order)
        place_of = {source: place for place, source in enumerate(order)}
        self._index = {client_id: place_of[row] for client_id, row in self._index.items()}

    def _reason(self, reply: Reply) -> str | None:
        if reply.client_id not in self._index:
            return "a reply from a client that was not asked"
        if reply.client_id in self._n_examples:
            return "a second reply; the first one counts"
        if reply.client_id in self._refused:
            return f"{self._refused[reply.client_id]}; then a second reply"
        return (
            self._guard.structure(reply.arrays, reply.n_examples, reply.error, self._layout, reply.rows)
            or self._guard.state(reply.state, self._layout)
            or self._guard.report(reply.report)
        )


def _side_by_side(places: list[int]) -> bool:
    return places == list(range(places[0], places[0] + len(places))) if places else True


def _subtract(
    values: np.ndarray, sent: np.ndarray, out: np.ndarray, slot: Slot, rows: np.ndarray | None
) -> None:
    """Writes ``values``, of the whole tensor or of these ``rows`` of it, minus what was ``sent`` into ``out``."""
    if rows is None:
        np.subtract(values.reshape(-1), sent, out=out, casting="same_kind")
    else:
        out.fill(0)
        out.reshape(slot.shape)[rows] = values - sent.reshape(slot.shape)[rows]
