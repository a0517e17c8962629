"""What every task must keep, those of the table and one of the tests' own."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from hauberk.tasks import TASKS, KnowledgeGraph, Metric, Stocks, Task, TextClassification
from hauberk.tasks.digest import digest_of
from hauberk.tasks.graph.datasets import Nations
from hauberk.tasks.graph.models import TransE
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.seeds import generator
from hauberk.tasks.stocks.datasets import Skfolio
from hauberk.tasks.stocks.models import StockEmbedding
from hauberk.tasks.text.datasets import Files
from hauberk.tasks.text.models import TextCNN
from tests.helpers.linear_regression import LinearRegression

SEED = 3


STOCKS = pytest.param(
    "stocks", marks=pytest.mark.xdist_group("portfolios")
)  # the import of skfolio takes seconds


@pytest.fixture(params=["text_classification", "knowledge_graph", "linear_regression", STOCKS])
def task(request, tweets) -> Task:
    """A task with little data, not bound to it yet."""
    if request.param == "linear_regression":
        return LinearRegression()
    if request.param == "stocks":  # the one objective that is a mean over examples, whatever is beside them
        model = StockEmbedding(dimension=4, hidden=4, window=20, relational=False)
        return Stocks(dataset=Skfolio(start="2020-01-01"), model=model, rebalance=200)
    if request.param == "knowledge_graph":
        return KnowledgeGraph(dataset=Nations(), model=TransE(dimension=4, negatives=2))
    files = Files(train=str(tweets / "train.jsonl"), test=str(tweets / "test.jsonl"))
    return TextClassification(dataset=files, model=TextCNN(embedding_dim=4, n_filters=2))


@pytest.fixture
def bound(task):
    """The task bound to its splits, its encoded training examples, and a model."""
    splits = task.splits(SEED)
    task = task.bind(splits)
    return task, task.encode(splits.train), task.build(SEED)


def test_every_task_of_the_table_is_tried_here(task):
    assert {*TASKS.values()} <= {TextClassification, KnowledgeGraph, LinearRegression, Stocks}
    assert task.metrics
    assert len({metric.name for metric in task.metrics}) == len(task.metrics)


def test_splits_and_models_are_a_function_of_the_seed(task):
    again, other = task.splits(SEED), task.splits(SEED + 1)
    assert digest_of(task.splits(SEED)) == digest_of(again)
    if not isinstance(task, Stocks):  # whose data the calendar cuts
        assert digest_of(again) != digest_of(other)
    models = [flatten(state_of(task.bind(again).build(seed))) for seed in (0, 0, 1)]
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_an_unbound_task_builds_no_model(task):
    with pytest.raises((ValueError, AssertionError)):
        task.build(0)


def test_a_bound_task_and_its_data_travel_to_other_processes(bound):
    task, encoded, model = bound
    twin, data = pickle.loads(pickle.dumps((task, encoded)))
    assert twin == task
    assert torch.equal(twin.predict(model, data), task.predict(model, encoded))


def test_rows_are_taken_in_order_and_joined_again(bound):
    task, encoded, model = bound
    rows = [5, 2, 2, 9]
    parts = task.concatenate([encoded.take(rows[:2]), encoded.take(rows[2:])])
    assert len(parts) == 4
    assert torch.allclose(task.predict(model, parts), task.predict(model, encoded)[rows], atol=1e-6)
    keys = task.partition_keys(encoded)
    assert keys.shape == (len(encoded),)
    assert np.issubdtype(keys.dtype, np.integer)


def test_an_epoch_holds_every_example_once_in_an_order_of_its_generator(bound):
    task, encoded, model = bound
    model.eval()
    fixed = list(task.batches(encoded, 16))
    assert sum(map(len, fixed)) == len(encoded)
    first, same, other = (
        [task.loss(model, batch).item() for batch in task.batches(encoded, 16, generator(seed, "order"))]
        for seed in (0, 0, 1)
    )
    assert first == same != other


def test_the_loss_is_a_mean_over_examples(bound):
    task, encoded, model = bound
    model.eval()
    batches = list(task.batches(encoded, 7))
    parts = sum(task.loss(model, batch).item() * len(batch) for batch in batches) / len(encoded)
    (whole,) = task.batches(encoded, len(encoded))
    assert parts == pytest.approx(task.loss(model, whole).item(), rel=1e-5)


def test_predictions_are_those_of_eval_mode_and_leave_the_model_as_it_was(bound):
    task, encoded, model = bound
    model.train()
    before = flatten(state_of(model)).clone()
    first, second = task.predict(model, encoded), task.predict(model, encoded, batch_size=5)
    assert model.training
    assert torch.equal(before, flatten(state_of(model)))
    assert len(first) == len(encoded)
    assert torch.allclose(first, second, atol=1e-5)


def test_a_model_is_worth_what_its_predictions_score(bound):
    task, _, model = bound
    encoded = task.encode(task.splits(SEED).test)
    found = task.evaluate(model, encoded)
    assert found == task.score(task.predict(model, encoded), encoded)
    assert list(found) == [metric.name for metric in task.metrics]
    for metric in task.metrics:
        assert not metric.is_share or 0 <= found[metric.name] <= 1


def test_logits_are_promised_only_with_inputs_to_give_them(bound):
    task, _, model = bound
    if "logits" in task.provides:
        assert len(task.predict(model, task.random_inputs(4, model, generator(0, "inputs")))) == 4
    else:
        with pytest.raises(NotImplementedError, match="has no random inputs"):
            task.random_inputs(4, model, generator(0, "inputs"))


def test_settings_are_fields_and_what_data_fill_in_is_none(task):
    assert task.bound <= task.__dataclass_fields__.keys()
    assert all(getattr(task, name) is None for name in task.bound)
    bound = task.bind(task.splits(SEED))
    assert replace(bound, **dict.fromkeys(task.bound)) == task


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (Metric("a", "a", is_share=True), 0.51249, "0.512"),
        (Metric("rank", "mean rank", higher_is_better=False), 1747.2, "1747"),
        (Metric("mse", "error"), 0.000123456, "0.0001235"),
        (Metric("a", "a"), None, "-"),
        (Metric("a", "a"), float("nan"), "nan"),
    ],
)
def test_a_value_is_shown_with_as_many_digits_as_say_something(metric, value, text):
    assert metric.text(value) == text
