"""A Flower app that knows nothing of torch: logistic regression in NumPy, one of ten hospitals lies.

Run ``python examples/numpy_app/app.py`` for Flower's FedAvg, where the liar decides; with ``krum`` behind it one line
is changed; with ``fltrust`` the server trusts its own data.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from hauberk.strategies import FLTrust, Krum
from hauberk.strategies.flower import RobustStrategy

N_CLIENTS, ROUNDS, STEPS, LR = 10, 5, 20, 0.5


def data() -> tuple[np.ndarray, np.ndarray]:
    """Returns scaled features and labels in a fixed random order; the last 69 rows are the test split."""
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return scale(x)[order].astype(np.float32), y[order].astype(np.float32)


def train(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the weights after some steps of gradient descent on the log loss."""
    w, b = weights["w"].copy(), weights["b"].copy()
    for _ in range(STEPS):
        error = 1 / (1 + np.exp(-(x @ w + b))) - y
        w -= LR * x.T @ error / len(y)
        b -= LR * error.mean(keepdims=True)
    return {"w": w, "b": b}


def record(weights: dict[str, np.ndarray]) -> ArrayRecord:
    """Returns weights as Flower carries them."""
    return ArrayRecord({name: Array(value) for name, value in weights.items()})


def arrays(weights: ArrayRecord) -> dict[str, np.ndarray]:
    """Returns what `record` packed."""
    return {name: value.numpy() for name, value in weights.items()}


def accuracy(weights: dict[str, np.ndarray]) -> float:
    """Returns the share of the test split that the model gets right."""
    x, y = (part[500:] for part in data())
    return float((((x @ weights["w"] + weights["b"]) > 0) == y).mean())


client_app = ClientApp()


@client_app.train()
def fit(message: Message, context: Context) -> Message:
    """Trains on one client's rows; client 0 sends the opposite of what it learned, a hundredfold."""
    client = int(context.node_config["partition-id"])
    x, y = (part[:500][client::N_CLIENTS] for part in data())
    received = arrays(message.content.array_records["arrays"])
    trained = train(received, x, y)
    if client == 0:
        trained = {name: received[name] - 100 * (trained[name] - received[name]) for name in trained}
    metrics = MetricRecord({"num-examples": len(y)})
    return Message(RecordDict({"arrays": record(trained), "metrics": metrics}), reply_to=message)


def root_update(_round: int, weights: ArrayRecord) -> ArrayRecord:
    """Trains on the server's own twenty rows."""
    x, y = (part[480:500] for part in data())
    return record(train(arrays(weights), x, y))


STRATEGIES = {
    "fedavg": lambda: FedAvg(fraction_evaluate=0.0),
    "krum": lambda: RobustStrategy(Krum(n_malicious=1), fraction_evaluate=0.0),
    "fltrust": lambda: RobustStrategy(FLTrust(), root_update=root_update, fraction_evaluate=0.0),
}


def play(grid: Grid, name: str) -> float:
    """Plays all rounds on a grid's nodes under one strategy and returns the final test accuracy."""
    start = record({"w": np.zeros(30, np.float32), "b": np.zeros(1, np.float32)})
    result = STRATEGIES[name]().start(grid=grid, initial_arrays=start, num_rounds=ROUNDS)
    return accuracy(arrays(result.arrays))


def run(name: str) -> float:
    """Runs the app under one strategy and returns the final test accuracy."""
    app, final = ServerApp(), []

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        final.append(play(grid, name))

    run_simulation(app, client_app, N_CLIENTS, backend_config={"client_resources": {"num_cpus": 1}})
    return final[0]


if __name__ == "__main__":
    strategy = sys.argv[1] if len(sys.argv) > 1 else "fedavg"
    print(f"{strategy}: accuracy {run(strategy):.3f}")
