import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import HDBSCAN

from hauberk.strategies import AggregationContext, layout_of, needs_of
from hauberk.strategies.aggregators.deepsight import (
    DeepSight,
    client_groups,
    in_accepted_groups,
    log_probabilities,
    n_exceeding_neurons,
    output_updates,
)

P, H, BODY = 5, 3, 4
LAYOUT = layout_of({"body": torch.zeros(BODY), "head.weight": torch.zeros(P, H), "head.bias": torch.zeros(P)})
D = LAYOUT.n_params
INPUTS = torch.randn(30, H, generator=torch.Generator().manual_seed(9))


def logits(vector):
    tensors = LAYOUT.unflatten(vector)
    return INPUTS.to(vector) @ tensors["head.weight"].T + tensors["head.bias"]


def context(parameters=None, **given):
    parameters = torch.zeros(D) if parameters is None else parameters
    return AggregationContext(parameters=parameters, layout=LAYOUT, logits=logits, **given)


def brute_energies(wide):
    energies = []
    for row in wide:
        weight, bias = row[BODY : BODY + P * H].reshape(P, H), row[BODY + P * H :]
        energy = np.abs(bias) + np.abs(weight).sum(axis=1)
        energies.append(energy**2 / (energy**2).sum())
    return np.array(energies)


def brute_differences(parameters, updates, n_seeds, n_inputs):
    def probabilities(vector):
        outputs = np.exp(logits(vector).double().numpy())
        return outputs / outputs.sum(axis=1, keepdims=True)

    before = probabilities(parameters)[: n_seeds * n_inputs]
    parts = np.array_split(np.arange(len(before)), n_seeds)
    ratios = [probabilities(parameters + row)[: len(before)] / before for row in updates]
    return np.array([[ratio[part].mean(axis=0) for ratio in ratios] for part in parts])


def brute(updates, parameters, n_seeds=3, n_inputs=20_000, share=1 / 3):
    wide, n = updates.double().numpy(), len(updates)
    energies = brute_energies(wide)
    exceeding = np.array([(row > max(0.01, 1 / P) * row.max()).sum() for row in energies])
    flagged = exceeding <= np.median(exceeding) / 2
    biases = wide[:, -P:]
    units = biases / np.linalg.norm(biases, axis=1, keepdims=True)
    angles = 1 - units @ units.T
    np.fill_diagonal(angles, 0)

    def fit(points, **options):
        if n == 1:
            return np.zeros(1)
        sizes = {"min_cluster_size": max(2, min(5, n)), "min_samples": min(3, n)}
        return HDBSCAN(**sizes, **options, copy=True).fit_predict(np.float64(np.float32(points)))

    def apart(labels):
        return np.float64(labels[:, None] != labels)

    seeds = brute_differences(parameters, updates, n_seeds, n_inputs)
    mean = np.mean([apart(fit(one)) for one in seeds], axis=0)
    mean = (mean + apart(fit(energies)) + apart(fit(np.clip(angles, 0, 2), metric="precomputed"))) / 3
    labels = fit(mean, metric="precomputed", allow_single_cluster=True)
    kept = np.zeros(n, dtype=bool)
    for label in set(labels) - {-1}:
        if flagged[labels == label].mean() < share:
            kept |= labels == label
    norms = np.linalg.norm(wide, axis=1)
    clipped = wide * np.minimum(1, np.median(norms) / norms)[:, None]
    return clipped[kept].mean(axis=0) if kept.any() else np.zeros(D), kept


def test_hand_calculations():
    # |db| + sum |dW| of the five neurons: 2, 1, 0, 0, 1 -> squares 4 1 0 0 1 over 6.
    row = torch.zeros(1, D)
    row[0, BODY : BODY + 3] = torch.tensor([0.5, -0.5, 0.0])
    row[0, BODY + P * H :] = torch.tensor([1.0, -1.0, 0.0, 0.0, 1.0])
    energies, biases = output_updates(row, LAYOUT)
    assert energies[0].tolist() == pytest.approx([4 / 6, 1 / 6, 0, 0, 1 / 6])
    assert biases[0].tolist() == [1, -1, 0, 0, 1]
    # Of 5 neurons more than a fifth of the largest counts: 1/6 is a fourth of 4/6.
    assert n_exceeding_neurons(energies).tolist() == [3]
    assert n_exceeding_neurons(torch.tensor([[0.9, 0.17, 0.1, 0.0, 0.0]])).tolist() == [1]
    labels, flagged = torch.tensor([0, 0, 0, 0, 1, 1, 1, -1]), torch.tensor([1, 0, 0, 0, 1, 0, 0, 0]) > 0
    assert in_accepted_groups(labels, flagged, 1 / 3).tolist() == [True] * 4 + [False] * 4
    assert in_accepted_groups(labels, flagged, 0.34).tolist() == [True] * 7 + [False]
    assert log_probabilities(torch.tensor([[0.0, 0.0]])).exp().tolist() == [[0.5, 0.5]]


@given(st.integers(1, 14), st.integers(1, 2), st.integers(4, 12), st.floats(0.1, 2), st.integers(0, 2**32))
def test_agrees_with_brute_force(n, n_seeds, n_inputs, scale, seed):
    rng = torch.Generator().manual_seed(seed)
    parameters = torch.randn(D, generator=rng)
    updates = scale * torch.randn(n, D, generator=rng)
    updates[: n // 3] = updates[:1] + 0.1 * torch.randn(n // 3, D, generator=rng)
    expected, kept = brute(updates, parameters, n_seeds, n_inputs)
    result = DeepSight(n_seeds=n_seeds, n_inputs=n_inputs)(updates, context=context(parameters))
    assert (result.weight is not None) == kept.any()
    if kept.any():
        assert (result.weight > 0).tolist() == kept.tolist()
    np.testing.assert_allclose(result.update, expected, rtol=2e-5, atol=2e-6)


def attacked(n, n_liars, seed=0):
    """Honest clients learn all neurons; the liars push one, all alike."""
    rng = torch.Generator().manual_seed(seed)
    updates = 0.1 * torch.randn(n, D, generator=rng)
    updates[:, BODY:] += 0.5
    updates[:n_liars] = 0.01 * torch.randn(n_liars, D, generator=rng)
    updates[:n_liars, BODY : BODY + H] += 2.0
    updates[:n_liars, BODY + P * H] += 2.0
    return updates


@pytest.mark.parametrize("scale", [1, 1e10, 1e30])
def test_those_who_push_one_neuron_are_dropped_together(scale):
    updates = attacked(14, 5)
    updates[3] *= scale
    result = DeepSight()(updates, context=context())
    assert result.weight[:5].max() == 0
    assert result.weight[5:].min() > 0
    norms = updates.double().norm(dim=1)
    factors = (norms.quantile(0.5) / norms).clamp(max=1)
    expected = (updates.double() * factors[:, None])[5:].mean(dim=0)
    torch.testing.assert_close(result.update.double(), expected, rtol=1e-6, atol=1e-8)


def test_a_flagged_client_is_carried_by_an_honest_group():
    energies = torch.rand(8, P, generator=torch.Generator().manual_seed(0))
    labels = client_groups(
        energies.double(), torch.zeros(3, 8, P).double(), torch.zeros(8, 8).double(), tuple(range(8))
    )
    assert (labels == labels[0]).all()


def test_outputs_may_stand_in_columns():
    layout = layout_of({"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(3)})
    energies, _ = output_updates(torch.tensor([[1.0, 0, 0, -1.0, 1.0, 0, 0, 0, 0]]), layout)
    assert energies[0].tolist() == pytest.approx([0.8, 0.2, 0])


def test_models_that_answer_nonsense_do_not_break_the_round():
    updates = attacked(14, 5)

    def broken(vector):
        outputs = logits(vector)
        return outputs / 0 if vector[BODY] > 1 else outputs

    known = AggregationContext(parameters=torch.zeros(D), layout=LAYOUT, logits=broken)
    result = DeepSight()(updates, context=known)
    assert result.update.isfinite().all()
    assert result.weight[:5].max() == 0


def test_the_logits_are_asked_once_for_each_model():
    asked = []

    def count(vector):
        asked.append(vector.clone())
        return logits(vector)

    parameters = torch.randn(D, generator=torch.Generator().manual_seed(0))
    updates = attacked(6, 2)
    DeepSight()(updates, context=AggregationContext(parameters=parameters, layout=LAYOUT, logits=count))
    torch.testing.assert_close(torch.stack(asked), torch.cat([parameters[None], parameters + updates]))


def test_what_is_missing_or_impossible_is_refused():
    assert needs_of(DeepSight()) == {"logits", "layout", "parameters"}
    updates = torch.ones(4, D)
    for name in ("parameters", "layout", "logits"):
        known = {"parameters": torch.zeros(D), "layout": LAYOUT, "logits": logits} | {name: None}
        with pytest.raises(ValueError, match=f"DeepSight needs {name}"):
            DeepSight()(updates, context=AggregationContext(**known))
    alone = layout_of({"w": torch.zeros(4, 4)})
    with pytest.raises(
        ValueError, match="needs an output layer with a bias and 2 neurons or more: 'w' has shape"
    ):
        DeepSight()(
            torch.ones(4, 16),
            context=AggregationContext(parameters=torch.zeros(16), layout=alone, logits=logits),
        )
    with pytest.raises(ValueError, match="needs logits for n_seeds=50 inputs or more, got 30"):
        DeepSight(n_seeds=50)(updates, context=context())
    with pytest.raises(ValueError, match="flagged_share must be a number > 0 and <= 1, got 0"):
        DeepSight(flagged_share=0)
