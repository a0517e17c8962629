import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.align_ins import AlignIns, mz_scores, sign_agreement


def test_a_hand_calculation():
    # Cosines with the model: .6, .6, .6, .8, -.8, of which the median is .6 and the deviation sqrt(.3424).
    updates = torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.3, 0.4], [8.0, 6.0], [-4.0, 3.0]])
    context = AggregationContext(parameters=torch.tensor([7.0, 0.0]))
    result = AlignIns(sparsity=0.5)(updates, context=context)
    # One coordinate each: the others' agree with most signs (+, +), the last one's does not.
    assert sign_agreement(updates, 0.5).tolist() == [1, 1, 1, 1, 0]
    assert result.weight.tolist() == [0.25, 0.25, 0.25, 0.25, 0]
    assert np.cos(reported(result, "angle", 5)).tolist() == pytest.approx([0.6, 0.6, 0.6, 0.8, -0.8])
    assert reported(result, "agreement", 5) == [1, 1, 1, 1, 0]
    assert mz_scores(torch.tensor([0.6, 0.6, 0.6, 0.8, -0.8]).double()).tolist() == pytest.approx(
        [0, 0, 0, 0.2 / 0.3424**0.5, 1.4 / 0.3424**0.5], abs=1e-6
    )
    # Norms 5, 5, .5, 10: clipped to the lower of the two middle ones, 5.
    assert result.update.tolist() == pytest.approx([(3 + 3 + 0.3 + 4) / 4, (4 + 4 + 0.4 + 3) / 4])


def test_where_nobody_is_believed_the_model_stays():
    updates = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    result = AlignIns(lambda_c=0.5)(updates, context=AggregationContext(parameters=torch.tensor([1.0, 0])))
    assert result.weight is None
    assert not result.update.any()


def test_zeros_agree_with_coordinates_that_nobody_moves():
    updates = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 2.0]])
    assert sign_agreement(updates, 1.0).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3])


def reported(result, name, n):
    return [result.report[f"align_ins/{name}/score/{client}"] for client in range(n)]


def reference(updates, origin, sparsity, lambda_s, lambda_c):
    """The official steps, in float64: each client's cosine and agreement, and its larger score over its bound."""
    x, theta = updates.double().numpy(), origin.double().numpy()
    major = np.sign(np.sign(x).sum(axis=0))
    k = max(1, int(sparsity * x.shape[1]))
    agreement, cosine = [], []
    for row in x:
        largest = np.argsort(-np.abs(row), kind="stable")[:k]
        agreement.append(np.mean(np.sign(row[largest]) == major[largest]))
        scale = np.linalg.norm(row) * np.linalg.norm(theta)
        cosine.append(row @ theta / scale if scale else 0.0)
    scores = []
    for values, bound in ((np.array(agreement), lambda_s), (np.array(cosine), lambda_c)):
        spread = values.std()
        scores.append(np.abs(values - np.median(values)) / spread / bound if spread > 1e-9 else 0 * values)
    return cosine, agreement, np.maximum(*scores)


@given(st.integers(1, 9), st.integers(1, 60), st.floats(0.1, 1), st.integers(0, 2**32))
def test_agrees_with_the_steps_of_the_code_in_float64(n, d, sparsity, seed):
    rng = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, d, generator=rng) * (torch.rand(n, d, generator=rng) > 0.2)
    updates *= torch.randn(n, 1, generator=rng).exp()
    origin = torch.randn(d, generator=rng)
    rule = AlignIns(sparsity=sparsity, lambda_s=1.2, lambda_c=1.5)
    result = rule(updates, context=AggregationContext(parameters=origin))
    cosine, agreement, score = reference(updates, origin, sparsity, 1.2, 1.5)
    assert np.cos(reported(result, "angle", n)).tolist() == pytest.approx(cosine, rel=1e-9, abs=1e-12)
    assert reported(result, "agreement", n) == pytest.approx(agreement)
    assume(not np.isclose(score, 1, rtol=1e-9).any())  # where rounding decides
    believed = score < 1
    if not believed.any():
        assert not result.update.any()
        return
    rows = updates.double().numpy()[believed]
    norms = np.linalg.norm(rows, axis=1)
    bound = np.sort(norms)[(len(norms) - 1) // 2]
    factors = np.where(norms > bound, bound / np.where(norms > 0, norms, 1), 1.0)
    np.testing.assert_allclose(
        result.update.double().numpy(), (factors[:, None] * rows).mean(axis=0), rtol=2e-5, atol=1e-6
    )


def test_values_that_are_alike_have_no_outlier():
    assert mz_scores(torch.full((4,), 0.3).double()).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"sparsity": 0}, "sparsity"), ({"lambda_s": 0}, "lambda_s"), ({"lambda_c": -1}, "lambda_c")],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AlignIns(**settings)
