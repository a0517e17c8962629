import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels.quasi_newton import hessian_product


def product_of(steps, changes, step):
    return hessian_product(steps, changes, step)(slice(0, len(step)))


def by_updates(steps, changes, step):
    """B v, with B from sigma I by one BFGS update after another, in dense matrices."""
    s, y = steps[-1], changes[-1]
    b = (y @ s) / (s @ s) * np.eye(len(step))
    for s, y in zip(steps, changes, strict=True):
        b = b - np.outer(b @ s, b @ s) / (s @ b @ s) + np.outer(y, y) / (y @ s)
    return b @ step


@given(st.integers(1, 4), st.integers(6, 20), st.integers(0, 2**32))
def test_it_is_the_bfgs_updates_one_after_another(m, d, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    hessian = root @ root.T + np.eye(d)
    steps = list(rng.normal(size=(m, d)))
    changes = [hessian @ step for step in steps]
    step = rng.normal(size=d)
    found = product_of(
        *([torch.from_numpy(v) for v in vectors] for vectors in (steps, changes)), torch.from_numpy(step)
    )
    np.testing.assert_allclose(found.numpy(), by_updates(steps, changes, step), rtol=1e-5, atol=1e-6)


def test_along_the_last_step_it_is_the_last_change():
    steps = [torch.tensor([1.0, 0, 0]), torch.tensor([1.0, 2, 0])]
    changes = [torch.tensor([2.0, 1, 0]), torch.tensor([4.0, 6, 0])]
    torch.testing.assert_close(product_of(steps, changes, steps[1]), changes[1].double())


def test_a_model_that_stood_still_changes_nothing():
    still = torch.zeros(3)
    assert product_of([still], [still], torch.ones(3)).tolist() == [0, 0, 0]


def test_columns_are_those_of_the_whole():
    steps, changes = torch.randn(2, 3, 70, generator=torch.Generator().manual_seed(0))
    product = hessian_product(list(steps), list(changes), steps[0])
    torch.testing.assert_close(product(slice(20, 50)), product(slice(0, 70))[20:50])
