"""Work that is spread over threads gives the same bits as in one, and leaves torch as it was."""

from __future__ import annotations

import pytest
import torch

from hauberk.strategies import Bulyan, Median, MultiKrum, NormClip, TrimmedMean
from hauberk.strategies.kernels.chunks import SLICE
from hauberk.strategies.kernels.threads import in_threads, n_threads, one_blas_thread, over_slices


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "rule",
    [Median(), TrimmedMean(n_malicious=1), MultiKrum(n_malicious=1), Bulyan(n_malicious=1), NormClip()],
)
def test_a_rule_gives_the_same_bits_with_two_threads(rule, request):
    rows = torch.randn(7, 2 * SLICE + 5, generator=torch.Generator().manual_seed(0))
    alone = rule(rows).update
    request.getfixturevalue("two_threads")
    assert torch.equal(rule(rows).update, alone)


def test_every_column_is_in_one_slice(two_threads):
    seen = torch.zeros(1000, dtype=torch.int64)

    def make_work():
        return lambda part: seen[part].add_(1)

    over_slices(1000, 64, make_work)
    assert seen.unique().tolist() == [1]


def test_jobs_have_one_thread_each_and_torch_has_its_own_again(two_threads):
    assert in_threads(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
    assert n_threads() == 2


def test_an_error_in_a_job_reaches_the_caller_and_torch_has_its_threads_again(two_threads):
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 // number, [1, 0])
    assert n_threads() == 2
    assert in_threads(lambda _: torch.get_num_threads(), [0]) == [1]


def test_numpys_products_keep_to_one_thread_for_a_while():
    from threadpoolctl import threadpool_info

    def blas():
        return {pool["num_threads"] for pool in threadpool_info() if "numpy.libs" in pool["filepath"]}

    before = blas()
    with one_blas_thread():
        assert blas() == {1}
    assert blas() == before
