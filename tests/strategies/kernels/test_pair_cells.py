import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels.pair_cells import batches, cells, n_pairs, pairs_of


def symmetric(n, seed):
    floors = np.exp(3 * np.random.default_rng(seed).normal(size=(n, n)))
    floors = np.minimum(floors, floors.T).astype(np.float32)
    np.fill_diagonal(floors, np.inf)
    return floors


@given(st.integers(2, 40), st.integers(1, 300), st.integers(0, 2**32))
def test_cells_hold_each_pair_once_and_no_cell_too_many(n, most, seed):
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(50, n, replace=False))
    found = list(cells(rows, symmetric(50, seed), most, lambda cell: rng.random() * n_pairs(cell)))
    pairs = [tuple(sorted(pair)) for cell in found for pair in np.stack(pairs_of(cell), axis=1).tolist()]
    assert sorted(pairs) == [(p, q) for p in rows.tolist() for q in rows.tolist() if p < q]
    assert max(map(n_pairs, found)) <= most
    lots = list(batches(found, most))
    assert [cell for lot in lots for cell in lot] == found
    assert max(sum(map(n_pairs, lot)) for lot in lots) <= most


def test_rows_that_nearly_agree_become_a_cell_of_their_own():
    floors = np.full((10, 10), 4.0, dtype=np.float32)
    floors[3:6, 3:6] = 1e-3
    np.fill_diagonal(floors, np.inf)

    def effort(cell):
        kinds = {tuple(sorted({int(3 <= row < 6) for row in rows})) for rows in cell}
        return n_pairs(cell) * (0.1 if (0, 1) not in kinds else 1.0)

    found = list(cells(np.arange(10), floors, 1000, effort))
    assert [sorted(map(sorted, cell)) for cell in found] == [
        [[3, 4, 5], [3, 4, 5]],
        [[0, 1, 2, 6, 7, 8, 9]] * 2,
        [[0, 1, 2, 6, 7, 8, 9], [3, 4, 5]],
    ]


def test_no_cell_is_cut_that_gains_nothing_by_it():
    found = list(cells(np.arange(10), np.ones((10, 10), dtype=np.float32), 1000, n_pairs))
    assert len(found) == 1
