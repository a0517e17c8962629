"""The contract every aggregator obeys: a matrix, a context and a state in, one update and a state out."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.layout import Layout

# What a rule wants back next round: tensors, numbers, strings, and lists and dicts of those, keyed by str,
# so that it travels through safetensors and JSON.
State = dict[str, Any]


class TooFewClientsError(ValueError):
    """A rule cannot work with this many clients; the message names the rule and the numbers."""


@dataclass(frozen=True, eq=False)
class Aggregation:
    """What one aggregation produced.

    Attributes:
        update: the aggregated update, shape [n_params].
        weight: how much each client counted, shape [n_clients], sums to 1; None where that has no meaning.
        state: what the rule wants back next round; None when it remembers nothing.
        report: scalars worth logging, by name.
        geometry: what the rule measured of the rows that it was given, for whoever would measure it again in the
            same round; None where it measured nothing of that kind. Neither state nor report.
    """

    update: Tensor
    weight: Tensor | None = None
    state: State | None = None
    report: dict[str, float] = field(default_factory=dict)
    geometry: Geometry | None = None


def last_rule(rule: Any) -> Any:
    """Returns the rule that a chain ends in; ``rule`` itself where it is none."""
    return getattr(rule, "rule", rule)


def skipped_round(updates: Updates, state: State | None, report: dict[str, float]) -> Aggregation:
    """Returns the result where no client is believed: an update of zeros, so that the model stays as it is."""
    zeros = torch.zeros(updates.shape[1], dtype=updates.dtype, device=updates.device)
    return Aggregation(zeros, None, state, report)


@dataclass(frozen=True, kw_only=True, eq=False)
class AggregationContext:
    """What a rule may know beside the rows; every field may be left out.

    Attributes:
        client_ids: who sent each row, stable across rounds; without them row k is client k.
        n_examples: how many examples each client claims; a claim, never trusted by default.
        parameters: the global vector, shape [n_params]; the updates start from it, unless the rule says from what
            (`hauberk.strategies.starting`).
        layout: name, shape and place of each tensor in a row.
        root_update: the server's own update on its trusted data, shape [n_params].
        logits: maps a parameter vector [n_params] to the outputs of a model with these parameters, before the
            softmax, [n_inputs, n_outputs], for rules that look at behaviour. The inputs are random, whoever
            fills the context draws them (for texts, token ids), and they are the same at every call of a
            round. A rule with ``n_inputs`` and ``n_seeds``, as DeepSight, wants n_seeds * n_inputs of them,
            those of a seed together; the function is called once more than there are clients.
        round: the round's number.
        rng: where noise comes from; by default a generator seeded by ``round``.
    """

    client_ids: tuple[int, ...] | None = None
    n_examples: tuple[float, ...] | None = None
    parameters: Tensor | None = None
    layout: Layout | None = None
    root_update: Tensor | None = None
    logits: Callable[[Tensor], Tensor] | None = None
    round: int = 0
    rng: torch.Generator = None  # type: ignore[assignment]  # filled below: it depends on `round`

    def __post_init__(self) -> None:
        if self.rng is None:
            object.__setattr__(self, "rng", torch.Generator().manual_seed(self.round))

    def ids(self, n_clients: int) -> tuple[int, ...]:
        """Returns one distinct id for each of ``n_clients`` rows.

        Raises:
            ValueError: if the context's ids are not as many as the rows, or one comes twice.
        """
        ids = range(n_clients) if self.client_ids is None else self.client_ids
        if len(ids) != n_clients or len(set(ids)) != n_clients:
            raise ValueError(
                f"The context needs one distinct client id for each row, got {len(set(ids))} distinct ids"
                f" in {len(ids)} for {n_clients} rows."
            )
        return tuple(ids)

    def by_id(self, n_clients: int) -> Tensor:
        """Returns the numbers of the rows in the order of their client ids, shape [n_clients].

        Where scores tie, the lowest id is first: a row's place may change from call to call.
        """
        ids = self.ids(n_clients)  # Flower's are unsigned 64-bit numbers: more than a tensor holds
        return torch.tensor(sorted(range(n_clients), key=ids.__getitem__))


@runtime_checkable
class Aggregator(Protocol):
    """Maps client updates [n_clients, n_params] to one update [n_params]."""

    def __call__(
        self, updates: Tensor, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates``; ``state`` is what the last call returned."""
        ...


class Rule:
    """What the package's own aggregators share: they say what they need and whom they can withstand.

    A rule from elsewhere need not inherit from it: a callable of the ``Aggregator`` shape will do, and
    ``check`` and ``needs_of`` fill in what it does not say.

    Attributes:
        needs: the fields of ``AggregationContext`` the rule cannot do without.
        streams: whether it reads its rows only through ``columns``, so that mixed rows need no matrix.
        remembers_clients: whether its state is about clients, by id.
        row_wise: whether what it makes of a coordinate depends on this coordinate's values alone and on no state, so
            that a row of a table may be aggregated over those clients that have it.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    streams: ClassVar[bool] = True
    remembers_clients: ClassVar[bool] = False
    row_wise: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Lets a rule be called by the keyword that ``context`` had in version 0.1, for this one version."""
        super().__init_subclass__(**kwargs)
        if "__call__" in vars(cls):
            cls.__call__ = accept_cohort(cls.__call__)  # type: ignore[method-assign]

    def admit(self, updates: Updates) -> None:
        """Raises ValueError unless ``updates`` is a float matrix whose rows are enough for ``check``."""
        if len(updates.shape) != 2 or not updates.dtype.is_floating_point:
            raise ValueError(
                f"{type(self).__name__} needs a float matrix [n_clients, n_params], got shape"
                f" {tuple(updates.shape)} and dtype {updates.dtype}."
            )
        self.check(len(updates))

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError if the rule cannot work with ``n_clients``."""
        if n_clients < 1:
            raise TooFewClientsError(
                f"{type(self).__name__} needs n_clients >= 1, got n_clients={n_clients}."
            )


def accept_cohort(aggregate: Callable[..., Aggregation]) -> Callable[..., Aggregation]:
    """Returns ``aggregate`` that knows its ``context`` also as ``cohort``, whichever of them it declares."""
    declared = "cohort" if "cohort" in inspect.signature(aggregate).parameters else "context"
    other = {"cohort": "context", "context": "cohort"}[declared]

    @functools.wraps(aggregate)
    def aggregated(*args: Any, **kwargs: Any) -> Aggregation:
        if "cohort" in (declared, *kwargs):
            warnings.warn("cohort= is called context= now", DeprecationWarning, stacklevel=2)
        if other in kwargs:
            kwargs[declared] = kwargs.pop(other)
        return aggregate(*args, **kwargs)

    return aggregated


def check(aggregate: Aggregator, n_clients: int) -> None:
    """Raises TooFewClientsError if ``aggregate`` says that it cannot work with ``n_clients``."""
    getattr(aggregate, "check", Rule().check)(n_clients)


def needs_of(aggregate: Aggregator) -> frozenset[str]:
    """Returns the fields of ``AggregationContext`` that ``aggregate`` cannot do without."""
    return frozenset(getattr(aggregate, "needs", ()))


def check_majority(rule: object, n_malicious: int, n_clients: int) -> None:
    """Raises TooFewClientsError unless most clients are honest: 2f < n_clients."""
    if not 2 * n_malicious < n_clients:
        raise TooFewClientsError(
            f"{type(rule).__name__} needs 2f < n_clients, got f={n_malicious} and n_clients={n_clients}."
        )


def check_integer(rule: object, name: str, *, least: int) -> None:
    """Raises ValueError unless the parameter ``name`` is a whole number >= ``least``."""
    value = getattr(rule, name)
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{type(rule).__name__}.{name} must be a whole number >= {least}, got {value!r}.")


def check_range(
    rule: object,
    name: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Raises ValueError unless the parameter ``name`` is a finite number within the limits that are given."""
    value = getattr(rule, name)
    limits = {">=": least, ">": above, "<=": most, "<": below}
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not all(limit is None or _COMPARE[sign](value, limit) for sign, limit in limits.items()):
        needs = " and ".join(f"{sign} {limit:g}" for sign, limit in limits.items() if limit is not None)
        raise ValueError(f"{type(rule).__name__}.{name} must be a number {needs}, got {value!r}.")


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
