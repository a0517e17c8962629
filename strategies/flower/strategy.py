"""The one Flower strategy: turns replies into rows, and hands them to any of our aggregators.

Usable in any Flower app whose replies hold weights as an ArrayRecord, whatever made them: one line changes,
``strategy = RobustStrategy(Krum(n_malicious=2), fraction_train=0.5)``. It extends Flower's ``Strategy`` and
not its ``FedAvg``, whose own checks end the whole run on one odd reply. No aggregator needs a subclass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import Strategy
from flwr.serverapp.strategy.strategy_utils import sample_nodes
from torch import Tensor

from hauberk.strategies.base import AggregationContext, Aggregator, State, TooFewClientsError, check, needs_of
from hauberk.strategies.flower.records import (
    Sent,
    error_of,
    flat,
    mean_record,
    n_examples_of,
    reply_of,
    unpacked,
)
from hauberk.strategies.guard import Guard
from hauberk.strategies.serving import serves
from hauberk.strategies.starting import keeps_models_apart
from hauberk.strategies.update_matrix import CollectedUpdates, UpdateMatrix

logger = logging.getLogger("flwr")

# Trains on the server's trusted data from the given weights, and returns the new weights as a client would,
# or the update itself as one vector.
RootUpdate = Callable[[int, ArrayRecord], "ArrayRecord | Mapping[str, Any] | Tensor"]
MetricsFn = Callable[[list[RecordDict], str], MetricRecord]


class TooFewRepliesError(AggregationError, TooFewClientsError):
    """A round has too few usable replies for its rule; Flower ends the run with an exit code of its own."""


@dataclass(frozen=True, eq=False)
class RoundReport:
    """What became of one round: whom the rule believed, whom the guard refused and why."""

    client_ids: tuple[int, ...]
    weight: tuple[float, ...] | None
    refused: dict[int, str]
    report: dict[str, float]


class RobustStrategy(Strategy):
    """Runs ``aggregator`` over the replies of each round.

    A client's id is its node's id. The options after ``seed`` are those of Flower's ``FedAvg``.

    Args:
        aggregator: one of ours, or any callable of the ``Aggregator`` shape.
        root_update: called as root_update(server_round, arrays); trains on the server's trusted data and
            returns the new weights (by name, as a client would) or the update itself as one vector.
        logits: maps a parameter vector to model outputs, for rules that look at behaviour.
        guard: what refuses odd replies.
        seed: where the rule's noise comes from, with the round's number.
        min_train_nodes: by default as many as the aggregator needs, and at least 2.

    Attributes:
        state: what the rule remembers between rounds.
        history: one ``RoundReport`` for each round, by its number.

    Raises:
        ValueError: if the aggregator needs something that is not given.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        *,
        root_update: RootUpdate | None = None,
        logits: Callable[[Tensor], Tensor] | None = None,
        guard: Guard | None = None,
        seed: int = 0,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int | None = None,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
        train_metrics_aggr_fn: MetricsFn | None = None,
        evaluate_metrics_aggr_fn: MetricsFn | None = None,
    ) -> None:
        _check_given(aggregator, root_update=root_update, logits=logits)
        if keeps_models_apart(aggregator):
            raise ValueError(
                f"{type(aggregator).__name__} has clients start from different models, and an app of Flower's own "
                "sends all of them the same."
            )
        if serves(aggregator):
            logger.warning(
                "%s defends while the model answers, and an app of Flower's own evaluates the model alone: have "
                "aggregator.serving(parameters, strategy.state, clean) answer", type(aggregator).__name__,
            )  # fmt: skip
        self.aggregator = aggregator
        self.root_update = root_update
        self.logits = logits
        self.guard = guard or Guard()
        self.seed = seed
        self.fraction_train = fraction_train
        self.fraction_evaluate = fraction_evaluate
        self.min_train_nodes = _fewest(aggregator) if min_train_nodes is None else min_train_nodes
        self.min_evaluate_nodes = min_evaluate_nodes
        self.min_available_nodes = min_available_nodes
        self.weighted_by_key = weighted_by_key
        self.arrayrecord_key = arrayrecord_key
        self.configrecord_key = configrecord_key
        self.train_metrics_aggr_fn = train_metrics_aggr_fn or mean_record
        self.evaluate_metrics_aggr_fn = evaluate_metrics_aggr_fn or mean_record
        self.state: State | None = None
        self.history: dict[int, RoundReport] = {}
        self._sent: Sent | None = None

    def summary(self) -> None:
        """Logs the rule and how nodes are sampled."""
        logger.info("\t├──> Aggregator: %r", self.aggregator)
        logger.info(
            "\t├──> Fraction: train (%.2f) | evaluate (%.2f)", self.fraction_train, self.fraction_evaluate
        )
        logger.info(
            "\t└──> Minimum nodes: train (%d) | evaluate (%d)", self.min_train_nodes, self.min_evaluate_nodes
        )

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Samples the nodes that train and returns a message for each; remembers what they are sent."""
        nodes = self._sample(grid, self.fraction_train, self.min_train_nodes)
        self._sent = Sent.to(nodes, arrays)
        return self._messages(server_round, arrays, config, nodes, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Returns the new weights and the clients' mean metrics.

        Raises:
            TooFewRepliesError: if too few replies are left for the rule; the message says whom the guard
                refused and why. Returning None instead would keep the old model in silence.
        """
        sent, self._sent = self._sent, None
        if sent is None:
            raise RuntimeError(
                f"Round {server_round} is aggregated before configure_train was called for it."
            )
        if not sent.asked:  # fraction_train = 0
            return None, None
        rows = UpdateMatrix(sent.asked, sent.layout, sent.parameters, self.guard)
        contents: dict[int, RecordDict] = {}
        for message in replies:
            rows.add(reply_of(message, sent.layout, self.guard, self.weighted_by_key))
            if message.has_content():
                contents.setdefault(message.metadata.src_node_id, message.content)
        collected = rows.close()
        self._check(server_round, collected)
        update = self._aggregate(server_round, collected, sent)
        believed = [contents[node] for node in collected.client_ids]
        metrics = self.train_metrics_aggr_fn(believed, self.weighted_by_key)
        return sent.moved(update), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Samples the nodes that evaluate and returns a message for each."""
        nodes = self._sample(grid, self.fraction_evaluate, self.min_evaluate_nodes)
        return self._messages(server_round, arrays, config, nodes, MessageType.EVALUATE)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Returns the clients' mean metrics, or None if no usable reply has any."""
        contents: list[RecordDict] = []
        for message in replies:
            reason = error_of(message) or self.guard.examples(
                n_examples_of(message.content, self.weighted_by_key)
            )
            if reason is None:
                contents.append(message.content)
            else:
                logger.warning("round %d: evaluation of node %d refused: %s", server_round,
                               message.metadata.src_node_id, reason)  # fmt: skip
        return self.evaluate_metrics_aggr_fn(contents, self.weighted_by_key) if contents else None

    def _sample(self, grid: Grid, fraction: float, fewest: int) -> list[int]:
        if fraction == 0:
            return []
        wanted = max(int(len(list(grid.get_node_ids())) * fraction), fewest)
        nodes, _ = sample_nodes(grid, self.min_available_nodes, wanted)
        return sorted(nodes)

    def _messages(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, nodes: Sequence[int], kind: str
    ) -> list[Message]:
        config["server-round"] = server_round
        record = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        return [Message(content=record, message_type=kind, dst_node_id=node) for node in nodes]

    def _check(self, server_round: int, collected: CollectedUpdates) -> None:
        for node, reason in collected.refused.items():
            logger.warning("round %d: node %d refused: %s", server_round, node, reason)
        try:
            check(self.aggregator, len(collected.client_ids))
        except TooFewClientsError as few:
            refused = "; ".join(f"node {node}: {why}" for node, why in collected.refused.items()) or "none"
            raise TooFewRepliesError(
                f"Round {server_round} cannot be aggregated: {few} Refused: {refused}."
            ) from few

    def _aggregate(self, server_round: int, collected: CollectedUpdates, sent: Sent) -> Tensor:
        entropy = np.random.SeedSequence(self.seed, spawn_key=(server_round,)).generate_state(1, np.uint64)
        context = AggregationContext(
            client_ids=collected.client_ids,
            n_examples=collected.n_examples,
            parameters=sent.parameters,
            layout=sent.layout,
            root_update=self._root_update(server_round, sent),
            logits=self.logits,
            round=server_round,
            rng=torch.Generator().manual_seed(int(entropy[0])),
        )
        result = self.aggregator(collected.updates, context=context, state=self.state)
        self.state = result.state
        weight = None if result.weight is None else tuple(result.weight.tolist())
        self.history[server_round] = RoundReport(
            collected.client_ids, weight, collected.refused, result.report
        )
        return result.update

    def _root_update(self, server_round: int, sent: Sent) -> Tensor | None:
        if self.root_update is None:
            return None
        trained = self.root_update(server_round, sent.arrays)
        if isinstance(trained, Tensor):
            return trained.detach().float()
        if isinstance(trained, ArrayRecord):
            trained = unpacked(trained)
        values = {name: np.asarray(value) for name, value in trained.items()}
        reason = self.guard.structure(values, 1, None, sent.layout)
        if reason is not None:
            raise ValueError(f"What root_update returned for round {server_round} cannot be used: {reason}.")
        return (flat(values, sent.layout) - sent.parameters).float()


def _check_given(aggregator: Aggregator, **given: Any) -> None:
    """Raises ValueError if ``aggregator`` needs something of which nothing is given."""
    missing = needs_of(aggregator) & {name for name, value in given.items() if value is None}
    if missing:
        raise ValueError(f"{type(aggregator).__name__} needs {sorted(missing)}: give them to RobustStrategy.")


def _fewest(aggregator: Aggregator) -> int:
    """Returns the smallest number of clients, at least 2, that ``aggregator`` can work with."""
    for n_clients in count(2):
        try:
            check(aggregator, n_clients)
        except TooFewClientsError:
            if n_clients == 10_000:  # a rule that nothing satisfies says so itself when it is called
                return 2
        else:
            return n_clients
    raise AssertionError("count() never ends")
