"""What `ledger` costs by the number of clients: memory, seconds a round and to calibrate, passes and milliseconds a text.

    python benchmarks/serving_cost.py --train sst2/train.jsonl --test sst2/test.jsonl --clients 10 100 1000

Nobody trains: updates are drawn from a normal distribution, those of ten clients a round until each was asked once, and
`text_cnn` with them answers the first texts of the test split. Each number of clients has a process of its own.
Private memory (USS) is what the process would give back; mapped vectors are files of TMPDIR, pages of which the system
may hold or drop as it likes, and they are no part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

ASKED = 10
SPREAD = 1e-3  # of an update's numbers


def measured(given: argparse.Namespace) -> dict[str, float]:
    """Returns what the one number of clients of ``given`` costs."""
    import psutil
    import torch

    from hauberk.experiments.runner.setup import prepare
    from hauberk.experiments.spec.loader import parse
    from hauberk.server.serving import answer_on, model_alone, serving_of
    from hauberk.server.state import ServerState
    from hauberk.strategies.base import AggregationContext

    (n_clients,) = given.clients
    prepared = prepare(parse(spec_of(given, n_clients)))
    server, start = prepared.server, prepared.start
    private = psutil.Process().memory_full_info
    rng, before, seconds, state = torch.Generator().manual_seed(0), private().uss, [], None
    for first in range(0, n_clients, ASKED):
        updates = SPREAD * torch.randn(ASKED, len(start.parameters), generator=rng)
        context = AggregationContext(client_ids=tuple(range(first, first + ASKED)))
        begun = time.perf_counter()
        state = server.aggregate(updates, context=context, state=state).state
        seconds.append(time.perf_counter() - begun)
    del updates
    last, kept = ServerState(len(seconds), start.parameters, state), private().uss
    texts = server.task.encode(list(prepared.test[: given.texts]))
    begun = time.perf_counter()
    serving = serving_of(server, last)
    ready = time.perf_counter()
    served = serving(answer_on(server, texts))
    answered = time.perf_counter()
    model_alone(server, start.parameters)(texts)
    alone = time.perf_counter() - answered
    return {
        "vectors": len(serving.clients),
        "vector_mb": 4e-6 * len(start.parameters) * len(serving.clients),
        "private_mb": (kept - before) / 1e6,
        "round_s": sum(seconds) / len(seconds),
        "calibration_s": ready - begun,
        "passes": served.passes / len(texts),
        "ms": 1000 * (answered - ready) / len(texts),
        "alone_ms": 1000 * alone / len(texts),
    }


def spec_of(given: argparse.Namespace, n_clients: int) -> dict[str, Any]:
    """Returns the spec of a federation of ``n_clients``, of which ten are asked in a round."""
    return {
        "name": "serving-cost",
        "task": {
            "dataset": {"name": "files", "train": given.train, "test": given.test},
            "model": {"name": "text_cnn", "embedding": "pretrained"},
        },
        "federation": {"n_clients": n_clients, "clients_per_round": ASKED, "rounds": 1},
        "aggregator": {"name": "ledger", "n_malicious": 1},
        "server": {"clean": {"n_examples": 200}},
    }


def main() -> None:
    """Measures each number of clients in a process of its own, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--alone", action="store_true", help="measure one number here, and print JSON")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measured(given)))
        return
    print(
        "| clients | vectors | vectors, MB | private, MB | s a round | s to calibrate | passes a text | ms a text | ms, model alone |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for n_clients in given.clients:
        command = [sys.executable, __file__, *sys.argv[1:], "--alone", "--clients", str(n_clients)]
        one = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"| {n_clients} | {one['vectors']} | {one['vector_mb']:.0f} | {one['private_mb']:.0f} | {one['round_s']:.2f} | "
              f"{one['calibration_s']:.1f} | {one['passes']:.1f} | {one['ms']:.2f} | {one['alone_ms']:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
