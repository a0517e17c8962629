import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels import pair_floors


@given(st.integers(2, 12), st.floats(0, 12), st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32))
def test_thresholds_add_up_to_no_more_than_any_floor(n, spread, dtype, seed):
    rng = np.random.default_rng(seed)
    floors = np.exp(spread * rng.normal(size=(n, n))).astype(dtype)
    floors = np.minimum(floors, floors.T)
    np.fill_diagonal(floors, np.inf)
    upper, lower = pair_floors.thresholds(floors)
    assert upper.dtype == lower.dtype == dtype
    assert (upper.astype(np.longdouble)[:, None] + lower.astype(np.longdouble) <= floors).all()


def test_thresholds_find_additive_floors_again():
    own = np.array([1e-3, 1.0, 2.0, 1e6, 3.0], dtype=np.float32)
    floors = own[:, None] + own
    np.fill_diagonal(floors, np.inf)
    upper, lower = pair_floors.thresholds(floors)
    apart = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose((upper[:, None] + lower)[apart], floors[apart], rtol=0.02)


def test_one_row_closer_to_all_does_not_lower_the_others():
    floors = np.full((6, 6), 4.0, dtype=np.float32)
    floors[0], floors[:, 0] = 3.0, 3.0
    np.fill_diagonal(floors, np.inf)
    upper, lower = pair_floors.thresholds(floors)
    np.testing.assert_allclose(upper, [1, 2, 2, 2, 2, 2], rtol=1e-2)
    np.testing.assert_allclose(lower, [1, 2, 2, 2, 2, 2], rtol=1e-2)


def test_floors_are_exceeded_by_somewhat_more_than_the_wanted_share():
    sample = torch.randn(5, 1 << 15, generator=torch.Generator().manual_seed(0)).numpy()
    floors = pair_floors.pair_floors(sample, None, 1e-3)
    shares = [
        (np.abs(sample[p] - sample[q]) > floors[p, q]).mean() for p in range(5) for q in range(5) if p != q
    ]
    assert min(shares) > 1.5e-3
    assert max(shares) < 1.7e-3
    assert np.isinf(floors.diagonal()).all()


def test_nearly_all_that_is_not_zero_exceeds_the_floor_where_most_is_zero():
    sample = np.zeros((2, 1 << 15), dtype=np.float32)
    sample[0, :2] = 1e3, 1e-8
    floor = pair_floors.pair_floors(sample, None, 1e-3)[0, 1]
    assert 0 < floor < 1e-8


def test_sampled_columns_are_spread_over_all():
    places = pair_floors.sampled_columns(1_000_003)
    stretch = 1_000_003 / (1 << 15)
    assert ((places - (torch.arange(1 << 15) + 0.5) * stretch).abs() <= stretch / 2 + 1).all()
    assert places.max() < 1_000_003
