"""RobustStrategy in a real Flower app: real messages, a real ClientApp without torch, a grid in this process."""

import json

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import FedAvg as FlowerFedAvg

from hauberk.strategies import (
    NNM,
    Aggregation,
    DimKrum,
    FedAvg,
    FLCert,
    Krum,
    Ledger,
    Median,
    MultiKrum,
    Rule,
    chain,
)
from hauberk.strategies.flower.strategy import RobustStrategy, TooFewRepliesError
from tests.helpers.in_process import InProcess, identify

# Node ids are 64 bits wide, which no signed integer holds.
NODES = [2**63 + 11 * k for k in range(7)]
LIAR = NODES[2]
TRUTH = np.linspace(-1, 1, 6).reshape(3, 2)


def honest(node, arrays):
    """Takes half a step towards the truth, each client with a little noise of its own."""
    noise = np.random.default_rng(node % 1000).normal(0, 0.01, TRUTH.shape)
    weights = arrays["weights"] + 0.5 * (TRUTH + noise - arrays["weights"])
    return {"weights": weights.astype(arrays["weights"].dtype), "steps": arrays["steps"] + 1}


def app(behave):
    """Returns a ClientApp whose nodes answer with behave(node, arrays): arrays, or a whole RecordDict."""
    client = ClientApp()

    @client.train()
    def train(message, context):
        arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
        made = behave(context.node_id, arrays)
        if isinstance(made, dict):
            record = ArrayRecord({name: Array(np.asarray(value)) for name, value in made.items()})
            metrics = MetricRecord({"num-examples": 10, "loss": 0.5})
            made = RecordDict({"arrays": record, "metrics": metrics})
        return Message(made, reply_to=message)

    @client.evaluate()
    def evaluate(message, context):
        lies = context.node_id == LIAR
        metrics = {"num-examples": 10**12 if lies else 10, "accuracy": 0.0 if lies else 0.75}
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)

    return client


@pytest.fixture(autouse=True)
def _identity(monkeypatch):
    identify(monkeypatch)


def start(strategy, behave=honest, rounds=1, dtype=np.float32, nodes=NODES):
    initial = ArrayRecord(
        {"weights": Array(np.full((3, 2), 4, dtype=dtype)), "steps": Array(np.array(0, dtype=np.int64))}
    )
    return strategy.start(grid=InProcess(app(behave), nodes), initial_arrays=initial, num_rounds=rounds)


def lying(answer):
    return lambda node, arrays: answer(arrays) if node == LIAR else honest(node, arrays)


def weights(result):
    return result.arrays["weights"].numpy()


@pytest.mark.parametrize(
    "rule", [Krum(n_malicious=1), MultiKrum(n_malicious=1), DimKrum(n_malicious=1), Median()]
)
def test_one_changed_line_keeps_a_liar_out(rule):
    behave = lying(lambda arrays: {**arrays, "weights": np.full((3, 2), 1e6, np.float32)})
    assert abs(weights(start(FlowerFedAvg(), behave, rounds=6)) - TRUTH).max() > 1e4
    robust = start(RobustStrategy(rule), behave, rounds=6)
    np.testing.assert_allclose(weights(robust), TRUTH, atol=0.1)


def test_without_liars_the_mean_is_flowers_own():
    ours = start(RobustStrategy(FedAvg()), rounds=3)
    np.testing.assert_allclose(weights(ours), weights(start(FlowerFedAvg(), rounds=3)), atol=1e-6)
    assert ours.train_metrics_clientapp[3] == pytest.approx({"loss": 0.5})


def test_what_goes_out_has_the_names_and_types_that_came_in():
    for dtype in (np.float32, np.float64, np.float16):
        result = start(RobustStrategy(Median()), dtype=dtype)
        assert list(result.arrays) == ["weights", "steps"]
        assert weights(result).dtype == dtype
        assert weights(result).shape == (3, 2)
        assert result.arrays["steps"].numpy() == 0  # integer buffers are the server's own


def raises(arrays):
    raise RuntimeError("the client's disk is full")


def record(**arrays):
    return RecordDict(
        {"arrays": ArrayRecord({name: Array(np.asarray(value)) for name, value in arrays.items()})}
    )


def claiming(value):
    def answer(arrays):
        content = record(**honest(LIAR, arrays))
        content["metrics"] = MetricRecord({"num-examples": value})
        return content

    return answer


def unreadable(arrays):
    content = record(**honest(LIAR, arrays))
    content["arrays"]["weights"] = Array(
        dtype="float32", shape=(3, 2), stype="numpy.ndarray", data=b"\x93junk"
    )
    return content


def two_records(arrays):
    content = record(**honest(LIAR, arrays))
    content["more"] = content["arrays"]
    return content


ODD = {
    "RuntimeError: the client's disk is full": raises,
    "'weights' holds 6 values that are NaN or infinite": lambda a: {
        **a,
        "weights": np.full_like(TRUTH, np.nan, "f4"),
    },
    "tensor 'weights' is missing": lambda a: {"steps": a["steps"]},
    "has shape (6,), expected (3, 2)": lambda a: {**a, "weights": a["weights"].reshape(-1)},
    "has dtype float64, expected float32": lambda a: {**a, "weights": a["weights"].astype(float)},
    "unknown tensor 'backdoor'": lambda a: {**a, "backdoor": np.zeros(2)},
    "the reply is oversized": lambda a: {**a, "steps": np.zeros(1 << 18, np.int64)},
    "unreadable tensors": unreadable,
    "the reply holds 2 array records, expected 1": two_records,
    "the reply holds 0 array records, expected 1": lambda a: RecordDict(),
    "claims 1e+09 examples": claiming(10**9),
    "the example count is a list": claiming([1, 2]),
}


@pytest.mark.parametrize("reason", ODD)
def test_an_odd_reply_is_refused_by_node_id_and_the_round_goes_on(reason):
    strategy = RobustStrategy(FedAvg())
    result = start(strategy, lying(ODD[reason]))
    report = strategy.history[1]
    assert list(report.refused) == [LIAR]
    assert reason in report.refused[LIAR]
    assert report.client_ids == tuple(node for node in NODES if node != LIAR)
    np.testing.assert_allclose(weights(result), 4 + 0.5 * (TRUTH - 4), atol=0.02)


def test_a_silent_node_and_a_reply_without_metrics():
    class Silent(InProcess):
        def send_and_receive(self, messages, *, timeout=None):
            replies = super().send_and_receive(messages, timeout=timeout)
            return [reply for reply in replies if reply.metadata.src_node_id != LIAR]

    strategy = RobustStrategy(FedAvg())
    arrays = ArrayRecord({"weights": Array(np.zeros((3, 2), np.float32)), "steps": Array(np.array(0))})
    grid = Silent(app(lambda node, sent: record(**honest(node, sent))), NODES)
    messages = strategy.configure_train(1, arrays, ConfigRecord(), grid)
    new, metrics = strategy.aggregate_train(1, grid.send_and_receive(messages))
    assert strategy.history[1].refused == {LIAR: "no reply"}
    assert metrics == {}
    assert new is not None


def test_too_few_rows_end_the_run_with_the_reasons():
    behave = lying(raises)
    with pytest.raises(
        TooFewRepliesError, match=r"MultiKrum needs n_selected <= n_clients.*n_clients=6"
    ) as error:
        start(RobustStrategy(MultiKrum(n_malicious=1, n_selected=7)), behave)
    assert f"node {LIAR}: error reply: RuntimeError: the client's disk is full" in str(error.value)
    assert isinstance(error.value, AggregationError)  # Flower ends the process with its exit code
    assert isinstance(error.value, ValueError)
    assert "\n" not in str(error.value)


def test_the_state_of_the_rule_is_kept_between_rounds_by_node_id():
    liar = lying(lambda arrays: {**arrays, "weights": np.full((3, 2), 50, np.float32)})
    strategy = RobustStrategy(DimKrum(n_malicious=1))
    start(strategy, liar, rounds=3)
    assert set(strategy.state["memory"]) == {str(node) for node in NODES}
    assert max(strategy.state["memory"], key=strategy.state["memory"].get) == str(LIAR)
    assert json.loads(json.dumps(strategy.state)) == strategy.state
    assert strategy.history[3].weight[NODES.index(LIAR)] == 0


def test_evaluation_refuses_absurd_claims():
    result = start(RobustStrategy(Median()))
    assert result.evaluate_metrics_clientapp[1] == pytest.approx({"accuracy": 0.75})


def test_the_metrics_function_of_the_app_is_used():
    def largest(contents, weighted_by_key):
        return MetricRecord({"n": len(contents), "key": len(weighted_by_key)})

    strategy = RobustStrategy(Median(), train_metrics_aggr_fn=largest, evaluate_metrics_aggr_fn=largest)
    result = start(strategy, lying(raises))
    assert result.train_metrics_clientapp[1] == {"n": 6, "key": 12}
    assert result.evaluate_metrics_clientapp[1] == {"n": 6, "key": 12}


def test_fractions_and_minima_are_flowers():
    strategy = RobustStrategy(Krum(n_malicious=1), fraction_train=0.8, fraction_evaluate=0.0)
    grid = InProcess(app(honest), NODES)
    arrays = ArrayRecord({"weights": Array(np.zeros(2, np.float32))})
    config = ConfigRecord({"lr": 0.1})
    assert len(strategy.configure_train(4, arrays, config, grid)) == 5
    assert config["server-round"] == 4
    assert strategy.configure_evaluate(4, arrays, config, grid) == []
    # Without a minimum given, as many as the rule needs: Krum with f = 2 needs 7.
    assert RobustStrategy(Krum(n_malicious=2), fraction_train=0.1).min_train_nodes == 7
    assert RobustStrategy(Median()).min_train_nodes == 2


def test_no_training_is_not_an_error():
    strategy = RobustStrategy(Median(), fraction_train=0.0)
    assert start(strategy).train_metrics_clientapp == {}
    assert strategy.history == {}


class Trusting(Rule):
    """Returns the server's own update."""

    needs = frozenset({"root_update"})

    def __call__(self, updates, *, context=None, state=None):
        return Aggregation(context.root_update)


def test_a_root_update_is_trained_as_a_client_would():
    calls = []

    def train(server_round, arrays):
        calls.append(server_round)
        return ArrayRecord({"weights": Array(arrays["weights"].numpy() * 0 + 7), "steps": arrays["steps"]})

    result = start(RobustStrategy(Trusting(), root_update=train), rounds=2)
    assert calls == [1, 2]
    assert (weights(result) == 7).all()
    vector = start(RobustStrategy(Trusting(), root_update=lambda server_round, arrays: torch.ones(6)))
    assert (weights(vector) == 5).all()
    with pytest.raises(
        ValueError, match="What root_update returned for round 1 cannot be used: tensor 'weights'"
    ):
        start(RobustStrategy(Trusting(), root_update=lambda server_round, arrays: {}))


def test_a_missing_need_is_refused_before_the_run():
    with pytest.raises(ValueError, match=r"Trusting needs \['root_update'\]"):
        RobustStrategy(Trusting())


def test_a_rule_from_elsewhere_needs_only_the_call():
    def halfway(updates, *, context=None, state=None):
        return Aggregation(updates.mean(dim=0) / 2, state={"rounds": (state or {"rounds": 0})["rounds"] + 1})

    strategy = RobustStrategy(halfway)
    start(strategy, rounds=3)
    assert strategy.state == {"rounds": 3}


def test_noise_depends_on_the_seed_and_the_round():
    def run(seed):
        return weights(start(RobustStrategy(DimKrum(n_malicious=1, noise=1.0), seed=seed), rounds=2))

    assert (run(1) == run(1)).all()
    assert (run(1) != run(2)).any()


def test_aggregating_before_configuring_is_said():
    with pytest.raises(RuntimeError, match="before configure_train"):
        RobustStrategy(Median()).aggregate_train(1, [])


def test_a_rule_that_defends_while_the_model_answers_says_that_nobody_asks_it(monkeypatch):
    said = []
    monkeypatch.setattr(
        "hauberk.strategies.flower.strategy.logger.warning", lambda text, *of: said.append(text % of)
    )
    RobustStrategy(Median())
    assert said == []
    RobustStrategy(Ledger(n_malicious=1))
    assert [text.partition(",")[0] for text in said] == ["Ledger defends while the model answers"]


@pytest.mark.parametrize("rule", [FLCert(), chain(NNM(n_malicious=1), FLCert())], ids=["alone", "chained"])
def test_a_rule_whose_clients_start_from_different_models_is_refused(rule):
    with pytest.raises(ValueError, match="has clients start from different models"):
        RobustStrategy(rule)
