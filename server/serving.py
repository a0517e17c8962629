"""What answers in a run: the model of the global parameters, or what its rule makes of it.

Whatever is measured, screened or exported goes through `predictor`: so the figures of a record are those of what would
be served, and not of a model that nobody would see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from hauberk.server.server import Server, attackers
from hauberk.server.state import ServerState
from hauberk.strategies.serving import Answer, BoundedServing, Served, Serving, serves
from hauberk.tasks.base import EncodedExamples, Task
from hauberk.tasks.parameters import load_state

Predict = Callable[[Any], Tensor]  # of encoded examples: the answers, [n, ...]


def predictor(server: Server, state: ServerState) -> Predict:
    """Returns what answers after the round of ``state``; it overwrites the server's model whenever it is asked."""
    if serves(server.aggregate):
        serving = serving_of(server, state)
        return lambda encoded: serving(answer_on(server, encoded)).logits
    return model_alone(server, state.parameters)


def model_alone(server: Server, parameters: Tensor) -> Predict:
    """Returns what the model of these parameters, [n_params], answers by itself."""
    load_state(server.model, parameters)
    evaluate = server.evaluate
    return lambda encoded: server.task.predict(
        server.model, encoded, precision=evaluate.precision, device=evaluate.device
    )


def serving_of(server: Server, state: ServerState) -> Serving:
    """Returns what the rule answers with after the round of ``state``, calibrated on the server's clean examples."""
    clean = None if server.clean is None else answer_on(server, server.clean)
    return server.aggregate.serving(state.parameters, state.aggregator, clean)


def serving_report(server: Server, state: ServerState) -> dict[str, Any]:
    """Returns whose contributions the answers to the test split do without, clean and triggered; {} for a plain model.

    ``left_out`` has the share of all answers by part, ``by_client`` the same for each vector by the ids of its clients,
    ``undefended`` the metrics of the aggregated model alone, ``passes`` how often a text goes through a model,
    ``milliseconds`` the wall time of an answer. ``certified`` is there where the rule proves what it answers: by the
    number of malicious clients, the share of answers that so many cannot change; and so is ``worst_success``, the
    attack success rate if this run's liars had done the most that they can.
    """
    if not serves(server.aggregate):
        return {}
    serving, started = serving_of(server, state), time.perf_counter()
    evaluate = server.evaluate
    found = {name: serving(answer_on(server, encoded)) for name, encoded in evaluate.parts.items()}
    seconds, n = time.perf_counter() - started, sum(len(one.logits) for one in found.values())
    shares = {name: one.left_out.double().mean(dim=0).tolist() for name, one in found.items()}
    proven = {
        "certified": certified_shares(found),
        "worst_success": worst_success(server, state, serving, found),
    }
    return {name: value for name, value in proven.items() if value not in ({}, None)} | {
        "left_out": {name: float(one.flagged.double().mean()) for name, one in found.items()},
        "by_client": {
            "+".join(map(str, ids)): {name: share[place] for name, share in shares.items()}
            for place, ids in enumerate(serving.clients)
        },
        "undefended": evaluate.of(model_alone(server, state.parameters)),
        "passes": sum(one.passes for one in found.values()) / n,
        "milliseconds": round(1000 * seconds / n, 3),
    }


def worst_success(
    server: Server, state: ServerState, serving: Serving, found: Mapping[str, Served]
) -> float | None:
    """Returns the highest attack success rate that the liars of all rounds could have; None where nobody knows."""
    target = getattr(server.attack.poison, "target", None) if server.attack else None
    if not isinstance(serving, BoundedServing) or target is None or "triggered" not in found:
        return None
    assert server.evaluate.success is not None
    liars = {client for number in range(1, state.round + 1) for client in attackers(server, number)}
    return server.evaluate.success(serving.worst(found["triggered"], liars, target))


def certified_shares(found: Mapping[str, Served]) -> dict[str, dict[str, float]]:
    """Returns of each part, by the number of malicious clients from 1 on, the share of answers they cannot change."""
    shares = {}
    for name, one in found.items():
        if one.certified is not None:
            most = int(one.certified.max()) if len(one.certified) else 0
            rows = range(1, most + 1)
            shares[name] = {str(f): float((one.certified >= f).double().mean()) for f in rows}
    return shares


def answer_on(server: Server, encoded: EncodedExamples) -> Answer:
    """Returns what answers ``encoded`` with any parameters, in the server's model."""
    evaluate = server.evaluate
    return answer_with(server.task, server.model, encoded, evaluate.precision, evaluate.device)


def answer_with(
    task: Task, model: nn.Module, encoded: EncodedExamples, precision: str, device: str
) -> Answer:
    """Returns what answers ``encoded`` with any parameters, in ``model``, which it overwrites."""

    def answer(parameters: Tensor, rows: Tensor | None) -> Tensor:
        load_state(model, parameters)
        asked = encoded if rows is None else encoded.take(rows.numpy())
        return task.predict(model, asked, precision=precision, device=device)

    return answer
