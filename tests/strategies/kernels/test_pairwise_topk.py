import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels import pairwise_topk
from hauberk.strategies.kernels.pairwise_topk import strongest_squares
from tests.helpers.examples import examples


def brute(updates, k):
    wide = updates.double()
    return torch.stack([(wide - row).square().topk(k, dim=1).values.sum(dim=1) for row in wide])


def rows(kind, n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(n, d, generator=rng)
    if kind == "heavy":
        return normal * torch.randn(d, generator=rng).mul(3).exp()
    if kind == "sparse":  # most differences are 0, as in an embedding whose rows few clients touch
        return normal * (torch.rand(n, d, generator=rng) > 0.9995)
    if kind == "signs":  # every difference is 0 or 2: nothing but ties
        return normal.sign()
    if kind == "huge":
        normal[0] *= 1e30 / normal[0].abs().max()
    if kind == "offset":
        return 1e3 + normal
    return normal


KINDS = ("normal", "heavy", "sparse", "signs", "huge", "offset")


@pytest.fixture
def check_integer(monkeypatch):
    """The pairs whose whole difference was needed."""
    pairs = []
    difference = pairwise_topk._difference

    def note(updates, p, q, inverse):
        pairs.append((p, q))
        return difference(updates, p, q, inverse)

    monkeypatch.setattr(pairwise_topk, "_difference", note)
    return pairs


def test_a_hand_calculation():
    updates = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, -5.0, 1.0]])
    # Squared differences: 1 4 9, 0 25 1 and 1 49 4; the two largest of each.
    assert strongest_squares(updates, 2).tolist() == [[0, 13, 26], [13, 0, 53], [26, 53, 0]]


@given(st.sampled_from(KINDS), st.integers(1, 6), st.integers(1, 60), st.floats(0, 1), st.integers(0, 2**32))
def test_few_parameters_agree_with_brute_force(kind, n, d, ratio, seed):
    updates, k = rows(kind, n, d, seed), max(1, int(ratio * d))
    torch.testing.assert_close(strongest_squares(updates, k), brute(updates, k), rtol=1e-6, atol=0)


@examples(100)
@given(
    st.sampled_from(KINDS),
    st.integers(2, 5),
    st.integers(1024, 3000),
    st.integers(1, 15),
    st.integers(0, 2**32),
)
def test_the_sampled_floor_agrees_with_brute_force(kind, n, d, k, seed):
    # A smaller sample, so that small matrices take the way of large ones.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairwise_topk, "_SAMPLE", 256)
        patch.setattr(pairwise_topk, "SLICE", 1008)
        patch.setattr(pairwise_topk, "_KEPT", 0.003)  # so that some take one pass, some one for each row
        updates = rows(kind, n, d, seed)
        torch.testing.assert_close(strongest_squares(updates, k), brute(updates, k), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["normal", "heavy", "sparse", "huge", "offset"])
@pytest.mark.parametrize("ratio", [1e-4, 1e-3, 4e-3])
def test_a_large_matrix_needs_no_whole_difference(kind, ratio, whole):
    updates = rows(kind, 4, 300_001, 1)
    k = int(ratio * 300_001)
    torch.testing.assert_close(strongest_squares(updates, k), brute(updates, k), rtol=1e-6, atol=0)
    assert not whole


@pytest.mark.parametrize("k", [1, 300, 30_000, 299_999])
def test_every_k_is_exact_on_a_large_matrix(k):
    updates = rows("heavy", 3, 300_000, 2)
    torch.testing.assert_close(strongest_squares(updates, k), brute(updates, k), rtol=1e-6, atol=0)


def test_ties_at_the_floor_take_the_whole_difference(whole):
    updates = rows("signs", 3, 300_000, 3)
    torch.testing.assert_close(strongest_squares(updates, 300), brute(updates, 300), rtol=1e-6, atol=0)
    assert whole == [(0, 1), (0, 2), (1, 2)]


def test_columns_made_to_mislead_the_sample_cost_time_and_not_the_result(whole):
    # A liar who agrees with everyone on the sampled columns, and differs everywhere else.
    d = 300_000
    updates = rows("normal", 4, d, 4)
    sampled = torch.randint(d, (pairwise_topk._SAMPLE,), generator=torch.Generator().manual_seed(0))
    updates[:, sampled] = updates[:1, sampled]
    torch.testing.assert_close(strongest_squares(updates, 300), brute(updates, 300), rtol=1e-6, atol=0)
    assert len(whole) == 6
