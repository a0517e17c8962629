"""Ledger: judge each client's contribution by what it does to the model's answers, not by what it looks like.

Ours; there is no paper. A backdoor is a contribution that moves the answers to a few inputs far more than its usual
ones; however it is hidden among the parameters, there it must show, or it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.strategies.aggregators._ledger_serving import LedgerServing, calibrated, unpacked
from hauberk.strategies.aggregators.fedavg import client_weights
from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
    check_majority,
    check_range,
)
from hauberk.strategies.kernels.chunks import Updates, finite, weighted_sum, working
from hauberk.strategies.kernels.norms import clip_factors, median_of, row_norms
from hauberk.strategies.mapped import VECTOR, mapped_vector
from hauberk.strategies.serving import Answer

CAP = 3.0  # times the median count, under weighting = "examples"; FedAvg's


@dataclass(frozen=True, kw_only=True)
class Ledger(Rule):
    """Averages the updates and remembers what each client added; who stands out on an input is left out of its answer.

    The model alone is FedAvg's, its update the mean of x_i min(1, clip * median norm / ||x_i||), and has whatever
    backdoor that has: the defence acts when `serving` answers, at m + 1 passes an input for m vectors.

    Args:
        n_malicious: f, how many clients may be left out of one answer; 2f < n_clients.
        threshold: how many times its usual ones, on clean inputs, a client's excess must be.
        quantile: of its excesses on clean inputs, which stands for the usual ones.
        ceiling: how many times the median client's usual excess, for the same share of all weight, its own may be.
        clip: no update counts for more than so many times the round's median norm; None clips nothing.
        weighting: as in FedAvg, whose cap on example counts holds here too.
        max_vectors: how many vectors of the model's size are kept. Clients have places in the order in which they
            first came; those whose places agree modulo ``max_vectors`` share a vector and are judged as one.
        memory_mb: beyond it the vectors are files of the temporary folder, mapped into memory.
    """

    remembers_clients: ClassVar[bool] = True
    least_clean: ClassVar[int] = 32

    n_malicious: int
    threshold: float = 1.5
    quantile: float = 0.98
    ceiling: float = 1.0
    clip: float | None = None
    weighting: str = "uniform"
    max_vectors: int = 100
    memory_mb: float = 1024.0

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)
        check_range(self, "threshold", above=0)
        check_range(self, "quantile", above=0.5, below=1)
        check_range(self, "ceiling", least=1)
        if self.clip is not None:
            check_range(self, "clip", above=0)
        if self.weighting not in ("uniform", "examples"):
            raise ValueError(f"Ledger.weighting must be 'uniform' or 'examples', got {self.weighting!r}.")
        check_integer(self, "max_vectors", least=3)
        check_range(self, "memory_mb", least=0)

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless most clients are honest."""
        super().check(n_clients)
        check_majority(self, self.n_malicious, n_clients)

    def notes(self, n_clients: int) -> list[str]:
        """Returns a line where so many clients have no vector each."""
        if n_clients <= self.max_vectors:
            return []
        return [
            f"aggregator.max_vectors: {n_clients} clients share {self.max_vectors} vectors: those whose places agree "
            f"modulo {self.max_vectors} are judged as one"
        ]

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params].

        ``state`` is {"client_ids": in the order in which they first came, "weights": how much each vector counted in
        all rounds, "vector/0": [n_params], ...}. Vectors are replaced, never changed.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious``.
            ValueError: if the state is of another layout, or example counts are needed and missing.
        """
        self.admit(updates)
        context = context or AggregationContext()
        weight = client_weights(self, context, len(updates), CAP)
        factors = self._factors(updates)
        update = weighted_sum(updates, weight * factors)
        new = self._entered(updates, weight, factors, context, state or {})
        n_known, kept = len(new["client_ids"]), len(new["weights"])
        report = {
            "ledger/vectors": float(kept),
            "ledger/merged": float(max(0, n_known - self.max_vectors)),
            "ledger/clipped": float((factors < 1).sum()),
        }
        counted = weight * factors
        return Aggregation(update, counted / counted.sum(), new, report)

    def serving(self, parameters: Tensor, state: State | None, clean: Answer | None) -> LedgerServing:
        """Returns what answers, calibrated on clean inputs; see `hauberk.strategies.serving.Serves`."""
        if clean is None:
            raise ValueError(
                f"Ledger calibrates on clean inputs, at least {self.least_clean}, and was given none."
            )
        if not state:
            raise ValueError("Ledger serves from what it remembers of the rounds, and remembers nothing yet.")
        _check_layout(state, len(parameters))
        weights = torch.tensor(state["weights"], dtype=torch.float64)
        ids = state["client_ids"]
        clients = tuple(tuple(ids[place :: self.max_vectors]) for place in range(len(weights)))
        return calibrated(
            parameters, _vectors(state), weights / weights.sum(), clients, clean,
            most=self.n_malicious, threshold=self.threshold, quantile=self.quantile, ceiling=self.ceiling,
        )  # fmt: skip

    def passes(self, n_clients: int) -> int:
        """Returns 1 and the number of vectors."""
        return 1 + min(n_clients, self.max_vectors)

    def restored(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> LedgerServing:
        """Returns what answers, of what it was packed into."""
        return unpacked(tensors, about)

    def _factors(self, updates: Updates) -> Tensor:
        """Returns how much of each update is left, float64 [n_clients]."""
        if self.clip is None:
            return torch.ones(len(updates), dtype=torch.float64)
        norms = row_norms(updates)
        return clip_factors(norms, self.clip * median_of(norms)).cpu()

    def _entered(
        self, updates: Updates, weight: Tensor, factors: Tensor, context: AggregationContext, state: State
    ) -> State:
        """Returns the state in which each client's contribution is added to its vector."""
        if state:
            _check_layout(state, updates.shape[1])
        ids, weights = list(state.get("client_ids", ())), list(state.get("weights", ()))
        vectors: dict[int, Tensor] = dict(enumerate(_vectors(state)))
        places = {client_id: place for place, client_id in enumerate(ids)}
        own = context.ids(len(updates))
        for row in context.by_id(len(updates)).tolist():
            client_id, share = own[row], float(weight[row])
            if client_id not in places:
                places[client_id] = len(ids)
                ids.append(client_id)
            place = places[client_id] % self.max_vectors
            if place == len(weights):
                weights.append(0.0)
            weights[place] += share
            on_disk = 4e-6 * updates.shape[1] * min(self.max_vectors, len(ids)) > self.memory_mb
            vectors[place] = _added(vectors.get(place), updates[row], share * float(factors[row]), on_disk)
        named = {f"{VECTOR}{place}": vector for place, vector in vectors.items()}
        return {"client_ids": ids, "weights": weights, **named}


def _added(old: Tensor | None, row: Tensor, factor: float, on_disk: bool) -> Tensor:
    """Returns a new vector: ``old``, or zeros, and ``factor`` times ``row``; one on the disk is no GPU's."""
    row = working(row.cpu() if on_disk else row)
    room = mapped_vector(len(row), row.dtype) if on_disk else torch.empty_like(row)
    torch.mul(row, factor, out=room)
    return finite(room if old is None else room.add_(old.to(room.device)))


def _vectors(state: State) -> tuple[Tensor, ...]:
    return tuple(state[f"{VECTOR}{place}"] for place in range(len(state.get("weights", ()))))


def _check_layout(state: State, n_params: int) -> None:
    """Raises ValueError unless the state's vectors are as long as the model."""
    length = len(state[f"{VECTOR}0"])
    if length != n_params:
        raise ValueError(
            f"Ledger remembers contributions to {length} parameters, and the model has {n_params}: it is of another"
            " layout."
        )
