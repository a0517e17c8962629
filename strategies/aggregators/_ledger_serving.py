"""How Ledger answers: whose contribution stands out on an input is left out of the model that answers it.

Ours. With p the parameters, U_i what client i added to them in all rounds, S the sum of all U_i and t_i its share of
all weight, the model without i is q_i = p - S + (S - U_i) / (1 - t_i). On clean inputs mu, P, the thresholds and
the biases b_i are calibrated; an input whose excess e_i (see `kernels.contributions`) for the class that p answers lies
above i's threshold is answered by q_i with b_i added to its logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hauberk.strategies.kernels.binomial import log_tail_probability
from hauberk.strategies.kernels.contribution_limits import limits_of
from hauberk.strategies.kernels.contributions import above, excesses, margins, middle
from hauberk.strategies.mapped import VECTOR
from hauberk.strategies.serving import Answer, Served

TENSORS = ("parameters", "shares", "usual", "precision", "thresholds", "biases")


@dataclass(frozen=True, kw_only=True, eq=False)
class LedgerServing:
    """A model that answers without whoever's contribution stands out.

    Attributes:
        clients: whose contributions each of the m vectors holds.
        parameters: p, [n_params].
        vectors: U, m of [n_params].
        shares: t, float64 [m].
        usual: mu, float64 [m, n_classes].
        precision: P, float64 [n_classes, m, m].
        thresholds: of the excess, float64 [m, n_classes].
        biases: b, float32 [m, n_classes].
        most: f, how many are left out of one answer at most.
        flags: how many of the clean inputs that calibrated it would be answered without each, had they not, int64 [m].
        n_clean: how many these inputs were.
    """

    clients: tuple[tuple[int, ...], ...]
    parameters: Tensor
    vectors: tuple[Tensor, ...]
    shares: Tensor
    usual: Tensor
    precision: Tensor
    thresholds: Tensor
    biases: Tensor
    most: int
    flags: Tensor
    n_clean: int

    def __call__(self, answer: Answer) -> Served:
        """Returns the answers to the inputs that ``answer`` stands for, in 1 + m passes and those without somebody."""
        logits = answer(self.parameters, None).clone()
        found = contributions(self.parameters, self.vectors, logits, answer)
        answers = logits.argmax(dim=1)
        excess = excesses(found, self.usual, self.precision, answers)
        left_out = above(excess, self.thresholds, answers, self.most)
        passes = (1 + len(self.vectors)) * len(logits) + int(left_out.any(dim=1).sum())
        if left_out.any():
            total = total_of(self.vectors)
            for who in left_out.unique(dim=0):
                if who.any():
                    rows = (left_out == who).all(dim=1).nonzero().squeeze(1)
                    rest = self.without(who.nonzero().squeeze(1).tolist(), total)
                    logits[rows] = answer(rest, rows) + self.biases[who].sum(dim=0)
        return Served(logits, left_out, passes)

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns its tensors by name, and the rest; see `unpacked`."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        tensors |= {f"{VECTOR}{place}": vector for place, vector in enumerate(self.vectors)}
        about = {"clients": [list(ids) for ids in self.clients], "most": self.most, "n_clean": self.n_clean}
        return tensors, about | {"flags": self.flags.tolist()}

    def unusual(self, left_out: Tensor) -> Tensor:
        """Returns the logarithm of the chance of so many flags on clean inputs, float64 [m]; see `EvictingServing`."""
        return log_tail_probability(left_out.sum(dim=0), len(left_out), self.flags, self.n_clean)

    def evicted(self, vectors: Sequence[int]) -> Tensor:
        """Returns the parameters without these vectors, [n_params]."""
        return self.without(list(vectors))

    def balance(self, vectors: Sequence[int]) -> Tensor:
        """Returns the sum of their b, float32 [n_classes]; see `EvictingServing`."""
        return self.biases[list(vectors)].sum(dim=0)

    def without(self, who: list[int], total: Tensor | None = None) -> Tensor:
        """Returns the parameters without those of some vectors, [n_params]; ``total`` is S where it is known."""
        total = total_of(self.vectors) if total is None else total
        return without(self.parameters, self.vectors, self.shares, who, total)


def unpacked(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> LedgerServing:
    """Returns what was `LedgerServing.packed`; raises KeyError where a part is missing, ValueError where two differ."""
    clients = tuple(tuple(ids) for ids in about["clients"])
    vectors = tuple(tensors[f"{VECTOR}{place}"] for place in range(len(clients)))
    flags, n_clean = torch.tensor(about["flags"], dtype=torch.int64), about["n_clean"]
    if flags.shape != (len(clients),) or not all(0 <= one <= n_clean for one in flags.tolist()):
        raise ValueError(
            f"{len(clients)} vectors need as many counts of at most {n_clean}, got {flags.tolist()}."
        )
    _check_shapes(tensors, len(clients))
    return LedgerServing(
        clients=clients, vectors=vectors, most=about["most"], flags=flags, n_clean=n_clean,
        **{name: tensors[name] for name in TENSORS},
    )  # fmt: skip


def _check_shapes(tensors: Mapping[str, Tensor], m: int) -> None:
    n_classes = tensors["usual"].shape[-1]
    shapes = dict.fromkeys(("usual", "thresholds", "biases"), (m, n_classes))
    for name, shape in {**shapes, "precision": (n_classes, m, m), "shares": (m,)}.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f"{m} vectors need {name} of shape {shape}, got {tuple(tensors[name].shape)}.")


def calibrated(
    parameters: Tensor,
    vectors: tuple[Tensor, ...],
    shares: Tensor,
    clients: tuple[tuple[int, ...], ...],
    clean: Answer,
    *,
    most: int,
    threshold: float,
    quantile: float,
    ceiling: float,
) -> LedgerServing:
    """Returns the serving that clean inputs calibrate."""
    logits = clean(parameters, None).clone()
    found = contributions(parameters, vectors, logits, clean)
    answers = logits.argmax(dim=1)
    limits = limits_of(found, answers, shares, threshold=threshold, quantile=quantile, ceiling=ceiling)
    total = total_of(vectors)
    biases = torch.stack([
        middle(_centred(logits) - _centred(clean(without(parameters, vectors, shares, [one], total), None)), dim=0)
        for one in range(len(vectors))
    ])  # fmt: skip
    flags = above(limits.excess, limits.thresholds, answers, most).sum(dim=0)
    return LedgerServing(
        clients=clients, parameters=parameters, vectors=vectors, shares=shares, usual=limits.usual,
        precision=limits.precision, thresholds=limits.thresholds, biases=biases, most=most, flags=flags,
        n_clean=len(logits),
    )  # fmt: skip


def contributions(parameters: Tensor, vectors: tuple[Tensor, ...], logits: Tensor, answer: Answer) -> Tensor:
    """Returns c_i of each vector, float64 [m, n_inputs, n_classes]; ``logits`` are those of ``parameters``."""
    whole = margins(logits)
    return torch.stack([whole - margins(answer(parameters - vector, None)) for vector in vectors])


def without(
    parameters: Tensor, vectors: tuple[Tensor, ...], shares: Tensor, who: list[int], total: Tensor
) -> Tensor:
    """Returns the parameters without those of ``who``, the others counting for them, [n_params]."""
    scale = 1 / max(1 - float(shares[who].sum()), 1e-6)
    rest = total * (scale - 1)
    for one in who:
        rest.sub_(vectors[one], alpha=scale)
    return rest.add_(parameters)


def total_of(vectors: tuple[Tensor, ...]) -> Tensor:
    """Returns the sum of the vectors, [n_params]."""
    total = vectors[0].clone()
    for vector in vectors[1:]:
        total.add_(vector)
    return total


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=1, keepdim=True)
