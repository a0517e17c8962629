"""DeepSight: group the clients by what their output layer learned and how their model answers to noise.

Source: Rieger, Nguyen, Miettinen and Sadeghi, "DeepSight: Mitigating Backdoor Attacks in Federated Learning
Through Deep Model Inspection", NDSS 2022 (arXiv 2201.00763), after the code of FLPoison. A client whose update
concentrates on few output neurons is flagged; a group with too many flagged members is dropped whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
    check_range,
    skipped_round,
)
from hauberk.strategies.kernels.angles import cosine_distances
from hauberk.strategies.kernels.chunks import Updates, narrow, working
from hauberk.strategies.kernels.clusters import hdbscan
from hauberk.strategies.kernels.norms import clip_factors, median_of, row_norms, scaled_sum
from hauberk.strategies.layout import Layout
from hauberk.strategies.requirements import output_layer, required_layout, required_logits, required_vector

_MOST = 100.0  # of the logarithm of a ratio of probabilities: what is beyond is absurd, and must not overflow


@dataclass(frozen=True, kw_only=True)
class DeepSight(Rule):
    """Averages the clipped updates of the groups in which few clients are flagged.

    It counts output neurons, and tells little with two of them. Clients in no group are dropped with the
    others; where no group is accepted the result is 0, and no client counts.

    Args:
        n_inputs: N, how many random inputs each seed has; the paper's.
        n_seeds: how many sets of them. ``context.logits`` answers to all n_seeds * n_inputs at once; where it
            has fewer rows they are dealt evenly to the seeds.
        flagged_share: a group is accepted if less than this share of it is flagged; the paper's third.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "layout", "parameters"})

    n_inputs: int = 20_000
    n_seeds: int = 3
    flagged_share: float = 1 / 3

    def __post_init__(self) -> None:
        check_integer(self, "n_inputs", least=1)
        check_integer(self, "n_seeds", least=1)
        check_range(self, "flagged_share", above=0, most=1)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            ValueError: if ``context`` lacks the parameters, a layout whose output layer has two neurons or
                more and a bias, or logits [at least n_seeds inputs, one for each neuron].
        """
        self.admit(updates)
        context = context or AggregationContext()
        parameters = required_vector(self, context, "parameters", updates)
        layout = required_layout(self, context, updates)
        ids = context.ids(len(updates))
        energies, biases = output_updates(updates, layout)
        differences = self._division_differences(required_logits(self, context), parameters, updates)
        labels = client_groups(energies, differences, cosine_distances(biases), ids)
        flagged = n_exceeding_neurons(energies)
        flagged = flagged <= median_of(flagged) / 2
        believed = in_accepted_groups(labels, flagged, self.flagged_share)
        report = {"deepsight/flagged": float(flagged.sum()), "deepsight/believed": float(believed.sum())}
        if not believed.any():
            return skipped_round(updates, state, report)
        norms = row_norms(updates)
        weight = believed / believed.sum(dtype=torch.float64)
        scale = weight * clip_factors(norms, median_of(norms))
        return Aggregation(scaled_sum(updates, scale), weight, state, report)

    def _division_differences(
        self, logits: Callable[[Tensor], Tensor], parameters: Tensor, updates: Updates
    ) -> Tensor:
        """Returns the division differences of each seed and client, [n_seeds, n_clients, n_outputs]."""
        before = log_probabilities(logits(parameters))[: self.n_seeds * self.n_inputs]
        if len(before) < self.n_seeds:
            raise ValueError(
                f"DeepSight needs logits for n_seeds={self.n_seeds} inputs or more, got {len(before)}."
            )
        rows = []
        for client in range(len(updates)):
            model = parameters + working(updates[client]).to(parameters.dtype)
            after = log_probabilities(logits(model))[: len(before)]
            ratios = (after - before).clamp_(-_MOST, _MOST).exp_()
            rows.append(torch.stack([part.mean(dim=0) for part in ratios.tensor_split(self.n_seeds)]))
        return torch.stack(rows, dim=1)


def output_updates(updates: Updates, layout: Layout) -> tuple[Tensor, Tensor]:
    """Returns NEUP of each client, [n_clients, n_outputs], and the bias updates, both in float64.

    With e_i = |db_i| + sum_h |dW_ih| over the output layer: NEUP_i = e_i^2 / sum_j e_j^2. The weight may
    have its outputs in rows, as in torch, or in columns: the bias tells.

    Raises:
        ValueError: if the output layer has no bias, or one neuron.
    """
    weight, bias = output_layer(layout)
    if bias is None or bias.shape[0] < 2 or bias.shape[0] not in (weight.shape[0], weight.shape[-1]):
        n_outputs = 0 if bias is None else bias.shape[0]
        raise ValueError(
            f"DeepSight needs an output layer with a bias and 2 neurons or more: {weight.name!r} has shape"
            f" {weight.shape} and is followed by a bias of {n_outputs}."
        )
    biases = updates[:, bias.slice].double()
    in_rows = bias.shape[0] == weight.shape[0]
    rows = narrow(updates, weight.slice)
    changes = torch.stack([_sums_over_inputs(rows[client].double().abs().view(weight.shape), in_rows)
                           for client in range(len(updates))])  # fmt: skip
    energies = changes + biases.abs()
    energies /= energies.amax(dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float64).tiny)
    squares = energies.square_()
    return squares / squares.sum(dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float64).tiny), biases


def n_exceeding_neurons(energies: Tensor) -> Tensor:
    """Returns how many neurons of each client exceed max(0.01, 1 / P) of its largest, shape [n_clients].

    Args:
        energies: NEUP, shape [n_clients, P].
    """
    factor = max(0.01, 1 / energies.shape[1])
    return (energies > factor * energies.amax(dim=1, keepdim=True)).sum(dim=1, dtype=torch.float64)


def log_probabilities(outputs: Tensor) -> Tensor:
    """Returns the logarithms of the softmax of ``outputs`` [n_inputs, n_outputs], in float64, all finite."""
    finite = outputs.detach().cpu().double().nan_to_num(0.0, 1e30, -1e30)
    return finite.log_softmax(dim=1)


def client_groups(energies: Tensor, differences: Tensor, distances: Tensor, ids: tuple[int, ...]) -> Tensor:
    """Returns the group of each client, -1 for none, shape [n_clients].

    HDBSCAN with min_samples = 3 on each kind of measure says who is together; the share of the three kinds
    that keep two clients apart, the seeds counting as one kind, is their distance in a last HDBSCAN.

    Args:
        energies: NEUP, shape [n_clients, n_outputs].
        differences: division differences, shape [n_seeds, n_clients, n_outputs].
        distances: cosine distances of the bias updates, shape [n_clients, n_clients].
        ids: the client ids.
    """
    by_seed = torch.stack([_in_other_groups(hdbscan(own, ids, precomputed=False)) for own in differences])
    by_energy = _in_other_groups(hdbscan(energies, ids, precomputed=False))
    by_angle = _in_other_groups(hdbscan(distances, ids, precomputed=True))
    mean = (by_seed.mean(dim=0) + by_energy + by_angle) / 3
    return hdbscan(mean, ids, precomputed=True, allow_single_cluster=True)


def in_accepted_groups(labels: Tensor, flagged: Tensor, flagged_share: float) -> Tensor:
    """Returns who is in a group of which less than ``flagged_share`` is flagged, [n_clients], bool."""
    believed = torch.zeros_like(flagged)
    for label in range(int(labels.max()) + 1):
        members = labels == label
        if flagged[members].sum() < flagged_share * members.sum():
            believed |= members
    return believed


def _sums_over_inputs(changes: Tensor, in_rows: bool) -> Tensor:
    """Returns the sum over the inputs of each output, shape [n_outputs]."""
    return changes.flatten(1).sum(dim=1) if in_rows else changes.flatten(0, -2).sum(dim=0)


def _in_other_groups(labels: Tensor) -> Tensor:
    """Returns 0 for two clients with the same label, none being a label too, and 1 for others."""
    return (labels[:, None] != labels).double()
