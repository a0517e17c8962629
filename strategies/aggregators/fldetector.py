"""FLDetector: foresee each client's update from its last one, and leave out for good who is foreseen worst.

Source: Zhang, Cao, Jia and Gong, "FLDetector: Defending Federated Learning Against Model Poisoning Attacks via
Detecting Malicious Clients", KDD 2022 (arXiv 2207.09209), and its official code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.aggregators._client_scores import score_report
from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
    skipped_round,
)
from hauberk.strategies.kernels.chunks import Updates, finite, sum_of_slices, weighted_sum
from hauberk.strategies.kernels.gap_statistic import higher_of_two, more_than_one_group
from hauberk.strategies.kernels.quasi_newton import hessian_product
from hauberk.strategies.mapped import VECTOR
from hauberk.strategies.requirements import required_vector


@dataclass(frozen=True, kw_only=True)
class FLDetector(Rule):
    """Averages the updates of those that were not found to be malicious yet.

    An honest client's update x_t is foreseen as x_(t-1) + B (w_t - w_(t-1)), w the model and B the L-BFGS estimate of
    the Hessian from how the global update changed in the last rounds. A client's suspicion is the mean of its last
    distances from that, each divided by the sum of the round's. Where the gap statistic says that these are of more
    than one group, the higher of the two best groups is malicious and counts no more. The paper then trains anew
    without them; here the model goes on. Who was not asked in the last round is not foreseen.

    Args:
        window: N, how many pairs B is made of and how many distances a suspicion; nobody is judged before there are so
            many, in round N + 2 of those whom a client takes part in. The paper's 10 suits hundreds of rounds.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"parameters"})
    remembers_clients: ClassVar[bool] = True

    window: int = 10

    def __post_init__(self) -> None:
        check_integer(self, "window", least=1)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params].

        ``state`` is {"judged": each client's last distances by its id as text, "malicious": ids, "round": of this rule,
        "vector/model" and "vector/update": the last ones, "vector/of/7": the last update of client 7,
        "vector/step/3" and "vector/change/3": pairs by round}.

        Raises:
            ValueError: if ``context`` lacks parameters as long as the rows, or the state is of another layout.
        """
        self.admit(updates)
        context, state = context or AggregationContext(), state or {}
        model = required_vector(self, context, "parameters", updates)
        _check_layout(state, len(model))
        ids, step = context.ids(len(updates)), _step(model, state)
        judged, malicious = dict(state.get("judged", {})), set(state.get("malicious", ()))
        for row, share in self._distances(updates, ids, malicious, step, state).items():
            judged[str(ids[row])] = [*judged.get(str(ids[row]), ()), share][-self.window :]
        malicious |= self._found(judged, malicious, context)
        counted = torch.tensor([float(one not in malicious) for one in ids], device=updates.device).double()
        report = score_report("fldetector", _suspicions(judged, ids), context)
        report["fldetector/malicious"] = float(len(malicious))
        if counted.any():
            weight = counted / counted.sum()
            result = Aggregation(weighted_sum(updates, weight), weight, None, report)
        else:
            result = skipped_round(updates, None, report)
        new = self._remembered(updates, ids, model, step, result.update, state)
        new |= {"judged": judged, "malicious": sorted(malicious)}
        return Aggregation(result.update, result.weight, new, report)

    def _distances(
        self, updates: Updates, ids: tuple[int, ...], known: set[int], step: Tensor | None, state: State
    ) -> dict[int, float]:
        """Returns the distance of each row from what was foreseen, over the sum of all.

        Of those who were there last time and are not ``known`` to be malicious.
        """
        names = {row: f"{VECTOR}of/{one}" for row, one in enumerate(ids) if one not in known}
        last = {row: state[name] for row, name in names.items() if name in state}
        steps, changes = _series(state, "step"), _series(state, "change")
        if step is None or not steps or not last:
            return {}
        product, rows = hessian_product(steps, changes, step), torch.tensor(list(last))

        def squares(part: slice, columns: Updates) -> Tensor:
            sent = columns[:, slice(None)][rows].double()
            before = torch.stack([vector[part] for vector in last.values()]).double()
            return (sent - before - product(part)).square().sum(dim=1)

        distance = sum_of_slices(updates, squares).sqrt()
        share = distance / distance.sum().clamp(min=torch.finfo(torch.float64).tiny)
        return dict(zip(last, share.tolist(), strict=True))

    def _found(
        self, judged: Mapping[str, list[float]], known: set[int], context: AggregationContext
    ) -> set[int]:
        """Returns who is found to be malicious now, of those with ``window`` distances who are not known to be."""
        able = sorted(int(one) for one, shares in judged.items() if len(shares) == self.window)
        able = [one for one in able if one not in known]
        suspicion = _suspicions(judged, able)
        if not more_than_one_group(suspicion, context.rng):
            return set()
        return {one for one, high in zip(able, higher_of_two(suspicion).tolist(), strict=True) if high}

    def _remembered(
        self,
        updates: Updates,
        ids: tuple[int, ...],
        model: Tensor,
        step: Tensor | None,
        update: Tensor,
        state: State,
    ) -> State:
        """Returns the new state's round and vectors."""
        number = state.get("round", 0) + 1
        new = {"round": number, f"{VECTOR}model": model.clone(), f"{VECTOR}update": update.clone()}
        new |= {f"{VECTOR}of/{one}": updates[row].clone() for row, one in enumerate(ids)}
        if step is None:
            return new
        for name, vector in (("step", step), ("change", finite(update - state[f"{VECTOR}update"]))):
            earlier = (f"{VECTOR}{name}/{one}" for one in range(number - self.window + 1, number))
            new |= {key: state[key] for key in earlier if key in state}
            new[f"{VECTOR}{name}/{number}"] = vector
        return new


def _step(model: Tensor, state: State) -> Tensor | None:
    """Returns how far the model went since the last round; None in the first one."""
    return finite(model - state[f"{VECTOR}model"]) if f"{VECTOR}model" in state else None


def _series(state: State, name: str) -> list[Tensor]:
    """Returns the vectors of one name that are kept by round, the latest last."""
    begin = f"{VECTOR}{name}/"
    numbers = sorted(int(key.removeprefix(begin)) for key in state if key.startswith(begin))
    return [state[f"{begin}{number}"] for number in numbers]


def _suspicions(judged: Mapping[str, Sequence[float]], ids: Sequence[int]) -> Tensor:
    """Returns the mean of each client's last distances, 0 for whoever has none, float64 [n]."""
    known = [judged.get(str(one), ()) for one in ids]
    return torch.tensor([sum(shares) / max(1, len(shares)) for shares in known], dtype=torch.float64)


def _check_layout(state: State, n_params: int) -> None:
    """Raises ValueError unless the state's vectors are as long as the model."""
    length = len(state[f"{VECTOR}model"]) if state else n_params
    if length != n_params:
        raise ValueError(
            f"FLDetector remembers updates of {length} parameters, and the model has {n_params}: it is of another"
            " layout."
        )
