"""Every aggregator of the package's table passes every one of these; so does every pre-aggregator."""

import json
import math
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.utils._python_dispatch import TorchDispatchMode

from hauberk.strategies import (
    AGGREGATORS,
    NNM,
    PRE_AGGREGATORS,
    Aggregation,
    AggregationContext,
    Rule,
    chain,
    needs_of,
)
from hauberk.strategies.base import last_rule
from hauberk.strategies.kernels.distances import gram_matrix, squared_distances
from hauberk.strategies.kernels.selections import dimension_distances
from tests.helpers.rules import (
    AROUND_ZERO,
    MORE_THAN_ONE,
    NOT_IDEMPOTENT,
    RULES,
    D,
    F,
    N,
    build,
    context,
    dumped,
    every_pre,
    every_rule,
    is_told_n_malicious,
    measures,
    remembers,
    rules_but,
    rules_that,
)


@pytest.fixture
def updates():
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0))


@every_rule
def test_shapes_and_weights(aggregate, updates):
    result = aggregate(updates, context=context())
    assert result.update.shape == (D,)
    assert result.update.dtype == updates.dtype
    if result.weight is not None:
        assert result.weight.shape == (N,)
        assert result.weight.sum() == pytest.approx(1)
        assert (result.weight >= 0).all()
    assert all(isinstance(value, float) for value in result.report.values())


@every_rule
def test_a_bare_call_will_do(aggregate, updates):
    if needs_of(aggregate):
        with pytest.raises(ValueError, match="|".join(needs_of(aggregate))):
            aggregate(updates)
    elif "examples" in repr(aggregate):
        with pytest.raises(ValueError, match="needs one n_examples for each row"):
            aggregate(updates)
    else:
        assert aggregate(updates).update.isfinite().all()


@every_rule
def test_input_is_left_alone(aggregate, updates):
    before, known = updates.clone(), context()
    state = aggregate(updates, context=known).state
    kept = dumped(state)
    result = aggregate(updates, context=known, state=state)
    assert torch.equal(updates, before)
    assert dumped(state) == kept
    kept = dumped(result.state)
    result.update.zero_()
    assert torch.equal(updates, before)
    assert dumped(result.state) == kept


@every_rule
def test_client_order_does_not_matter(aggregate, updates):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    straight = aggregate(updates, context=context())
    shuffled = aggregate(updates[order], context=context(order.tolist()))
    torch.testing.assert_close(shuffled.update, straight.update)
    if straight.weight is not None:
        torch.testing.assert_close(shuffled.weight, straight.weight[order])
    assert shuffled.report == pytest.approx(straight.report)
    # The second round, where what is remembered must follow the client and not the row.
    straight = aggregate(updates.flip(1), context=context(), state=straight.state)
    shuffled = aggregate(updates.flip(1)[order], context=context(order.tolist()), state=shuffled.state)
    torch.testing.assert_close(shuffled.update, straight.update)


@every_rule
def test_who_measures_and_who_remembers_is_known(aggregate, updates):
    result = aggregate(updates, context=context())
    assert (result.geometry is not None, result.state is not None) == (
        measures(aggregate),
        remembers(aggregate),
    )


@rules_that(measures)
def test_a_geometry_is_of_the_rows_that_came_in(aggregate, updates):
    known = aggregate(updates, context=context()).geometry
    gram, squared = gram_matrix(updates), squared_distances(updates)
    for found, expected in ((known.gram, gram), (known.squared_distances, squared)):
        assert found is None or torch.equal(found, expected)
    if known.strongest_squares is not None:
        assert torch.equal(known.strongest_squares, dimension_distances(updates, known.ratio))


@pytest.mark.parametrize(
    "name", ["krum", "multi_krum", "bulyan", "mda", "monna", "rfa", "auto_gm", "flame", "dim_krum"]
)
def test_who_measures_hands_it_on(name, updates):
    alone, chained = build(AGGREGATORS[name]), chain(build(PRE_AGGREGATORS["arc"]), build(AGGREGATORS[name]))
    assert alone(updates, context=context()).geometry is not None
    assert chained(updates, context=context()).geometry is None
    mixed = chain(NNM(n_malicious=F), build(AGGREGATORS[name]))
    assert mixed(updates, context=context()).geometry.squared_distances is not None


@rules_but(NOT_IDEMPOTENT)
def test_agreement_is_returned_unchanged(aggregate, updates):
    same = updates[:1].expand(N, -1)
    torch.testing.assert_close(aggregate(same, context=context()).update, updates[0])


@rules_but(AROUND_ZERO)
def test_shifting_all_updates_shifts_the_result(aggregate, updates):
    shift = torch.linspace(-2, 2, D)
    moved = aggregate(updates + shift, context=context()).update
    torch.testing.assert_close(
        moved, aggregate(updates, context=context()).update + shift, atol=1e-5, rtol=1e-5
    )


@every_rule
def test_survives_pickling(aggregate, updates):
    twin = pickle.loads(pickle.dumps(aggregate))
    assert twin == aggregate
    assert repr(twin) == repr(aggregate)
    known = context()
    torch.testing.assert_close(
        twin(updates, context=known).update, aggregate(updates, context=context()).update
    )


@every_rule
@pytest.mark.parametrize("scale", [1e30, 1e38])
def test_finite_on_huge_finite_rows(aggregate, updates, scale):
    updates[:F] *= scale / updates[:F].abs().max()
    result = aggregate(updates, context=context())
    assert result.update.isfinite().all()
    assert all(math.isfinite(value) for value in result.report.values())


@every_rule
def test_finite_at_the_largest_number_there_is(aggregate, updates):
    most = torch.finfo(updates.dtype).max
    for rows in (torch.full_like(updates, most), most * updates.sign()):
        assert aggregate(rows, context=context()).update.isfinite().all()


@every_rule
def test_an_empty_state_is_none(aggregate, updates):
    assert torch.equal(
        aggregate(updates, context=context(), state={}).update, aggregate(updates, context=context()).update
    )


@every_rule
def test_finite_on_tiny_and_on_zero_rows(aggregate, updates):
    for rows in (updates * 1e-38, updates * 0):
        assert aggregate(rows, context=context()).update.isfinite().all()


@rules_but(MORE_THAN_ONE)
def test_one_parameter_is_enough(aggregate, updates):
    assert aggregate(updates[:, :1], context=context(d=1)).update.shape == (1,)


@every_rule
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_float_types_stay(aggregate, updates, dtype):
    result = aggregate(updates.to(dtype), context=context())
    assert result.update.dtype == dtype
    rows = updates.to(dtype)
    for pre in getattr(aggregate, "before", ()):  # mixed rows are of that type too
        rows = pre(rows)
    exact = last_rule(aggregate)(rows.double(), context=context()).update
    torch.testing.assert_close(result.update.double(), exact, rtol=1e-2, atol=1e-2)


@every_rule
def test_what_is_not_a_float_matrix_is_refused(aggregate, updates):
    for odd in (updates[0], updates.long()):
        with pytest.raises(ValueError, match="float matrix"):
            aggregate(odd, context=context())


@every_rule
def test_no_clients_are_refused(aggregate, updates):
    with pytest.raises(ValueError, match="n_clients=0"):
        aggregate(updates[:0])
    with pytest.raises(ValueError, match="n_clients=0"):
        aggregate.check(0)


@rules_that(remembers)
def test_state_survives_safetensors_and_json(aggregate, updates):
    state = aggregate(updates, context=context()).state
    tensors = {name: value for name, value in state.items() if torch.is_tensor(value)}
    rest = {name: value for name, value in state.items() if not torch.is_tensor(value)}
    restored = json.loads(json.dumps(rest, allow_nan=False)) | load(save(tensors))
    again = aggregate(updates.flip(1), context=context(), state=restored)
    once = aggregate(updates.flip(1), context=context(), state=state)
    assert torch.equal(again.update, once.update)
    assert dumped(again.state) == dumped(once.state)


@pytest.mark.parametrize("name", [*AGGREGATORS, *PRE_AGGREGATORS])
def test_a_misspelt_parameter_is_refused(name):
    kind = (AGGREGATORS | PRE_AGGREGATORS)[name]
    with pytest.raises(TypeError, match="n_malicous"):
        kind(n_malicous=1)


@pytest.mark.parametrize("kind", filter(is_told_n_malicious, (AGGREGATORS | PRE_AGGREGATORS).values()))
def test_too_many_malicious_are_refused_with_both_numbers(kind, updates):
    aggregate = build(kind, n_malicious=N)
    with pytest.raises(ValueError, match=f"^{kind.__name__} needs .*f={N} and n_clients={N}"):
        aggregate(updates)
    for odd in (-1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="n_malicious must be a whole number"):
            build(kind, n_malicious=odd)


def test_numbers_of_numpy_will_do():
    assert AGGREGATORS["krum"](n_malicious=np.int64(2)).n_malicious == 2
    assert AGGREGATORS["norm_clip"](threshold=np.float32(2)).threshold == 2
    assert PRE_AGGREGATORS["clip"](threshold=np.int64(2)).threshold == 2


@every_rule
def test_settings_cannot_be_changed(aggregate):
    with pytest.raises(AttributeError):
        aggregate.n_malicious = 0


@every_pre
def test_rows_in_rows_out(pre, updates):
    before = updates.clone()
    rows = pre(updates)
    assert rows.shape == (pre.n_rows(N), D)
    assert rows.dtype == updates.dtype
    assert torch.equal(updates, before)
    torch.testing.assert_close(pre(updates[:1].expand(N, -1)), updates[:1].expand(len(rows), -1))
    assert pickle.loads(pickle.dumps(pre)) == pre


class LargestTensor(TorchDispatchMode):
    """Sees every operation, and remembers the bytes of the largest new tensor."""

    n_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        before = {id(a): None for a in args}
        result = func(*args, **(kwargs or {}))
        sources = {a.untyped_storage().data_ptr() for a in args if torch.is_tensor(a)}
        for made in result if isinstance(result, tuple | list) else (result,):
            fresh = torch.is_tensor(made) and id(made) not in before
            if fresh and made.untyped_storage().data_ptr() not in sources:
                self.n_bytes = max(self.n_bytes, made.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize(
    "aggregate",
    # In a chain residual_reweighting takes its many seconds to do what it does alone.
    [rule for rule in RULES if "rule=ResidualReweighting" not in repr(rule)],
    ids=repr,
)
def test_no_second_matrix(aggregate):
    # Wide enough that a slice of columns in float64 is small beside the matrix.
    updates = torch.randn(N, 1 << 20)
    known = context(d=1 << 20)
    with LargestTensor() as largest:
        aggregate(updates, context=known)
    assert 0 < largest.n_bytes <= 0.2 * updates.nbytes


def test_a_context_is_still_taken_by_its_old_name_in_this_version():
    updates, known = torch.randn(5, 3), AggregationContext(client_ids=(4, 3, 2, 1, 0))
    with pytest.warns(DeprecationWarning, match="called context="):
        old = AGGREGATORS["krum"](n_malicious=1)(updates, cohort=known)
    assert old.report == AGGREGATORS["krum"](n_malicious=1)(updates, context=known).report


def test_a_rule_that_declares_the_old_name_is_still_called():
    class Old(Rule):
        def __call__(self, updates, *, cohort=None, state=None):
            return Aggregation(updates[cohort.client_ids.index(0)])

    with pytest.warns(DeprecationWarning, match="called context="):
        result = Old()(torch.eye(2), context=AggregationContext(client_ids=(1, 0)))
    assert result.update.tolist() == [0, 1]
