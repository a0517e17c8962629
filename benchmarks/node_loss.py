"""A node, or a worker, is killed at a random moment of a run, again and again: what that costs, and whether bits change.

    python benchmarks/node_loss.py --what node --times 10 --rounds 25
    python benchmarks/node_loss.py --what worker --times 10 --rounds 25

Starts two Ray nodes on this machine, plays a run undisturbed, and then once for each kill. A node that was killed comes
back for the next run. A worker is killed as the kernel does it where memory is short. Ends with exit code 1 unless
nobody was refused, the model is that of the undisturbed run, and the loss is in the records, each time.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from hauberk.experiments import run
from hauberk.experiments.runner.progress import Quiet
from hauberk.experiments.runner.records import read_rounds

WORKER = b"ray::Actor"  # how Ray names the processes of the pool's workers


class KillIn(Quiet):
    """Kills once, some time after a round has begun."""

    def __init__(self, number: int, delay_s: float, kill: Callable[[], None]) -> None:
        self.number, self.delay_s, self.kill = number, delay_s, kill

    def round_started(self, number: int, n_clients: int) -> None:
        """Starts the clock."""
        if number == self.number:
            threading.Timer(self.delay_s, self.kill).start()


def tables(given: argparse.Namespace) -> dict[str, Any]:
    """Returns the spec: FedAvg of honest clients on the embedded tweets."""
    return {
        "name": "node-loss",
        "task": {
            "dataset": {"name": "tweet_sentiment"},
            "model": {"name": "text_cnn"},
            "n_train": given.texts * given.clients,
        },
        "federation": {"n_clients": given.clients, "rounds": given.rounds},
        "aggregator": {"name": "fedavg"},
        "engine": {"name": "ray", "workers": 2},
    }


def worker_pids() -> list[int]:
    """Returns the processes of the pool's workers on this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(WORKER):
                found.append(int(entry.name))
        except OSError:  # it has gone meanwhile
            continue
    return found


def main() -> None:
    """Prints a line for each kill."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", choices=("node", "worker"), default="node")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--texts", type=int, default=40, help="of each client")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    draw, spec = random.Random(given.seed), tables(given)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)

    def kill() -> None:
        if given.what == "node":
            cluster.remove_node(second, allow_graceful=False)
        else:
            os.kill(draw.choice(worker_pids()), signal.SIGKILL)

    right = []
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = run(spec, out=Path(folder) / "undisturbed", address=cluster.address)
        walls = [line["wall"] for line in read_rounds(undisturbed.folder)]
        print(f"undisturbed: longest round {max(walls):.1f} s, all {sum(walls):.1f} s")
        for number in range(1, given.times + 1):
            moment = draw.randint(1, given.rounds - 1), draw.uniform(0, sum(walls) / len(walls))
            out = Path(folder) / str(number)
            result = run(spec, out=out, address=cluster.address, screen=KillIn(*moment, kill))
            lines = read_rounds(out)
            same = result.summary["model_sha256"] == undisturbed.summary["model_sha256"]
            refused = sum(len(line["refused"]) for line in lines)
            lost = [loss["reason"] for line in lines for loss in line["lost"]]
            right.append(same and not refused and len(lost) == 1)
            print(
                f"{given.what} killed {moment[1]:.2f} s into round {moment[0]}: refused {refused}, longest round "
                f"{max(line['wall'] for line in lines):.1f} s, {'same' if same else 'ANOTHER'} model, lost: {lost}",
                flush=True,
            )
            if given.what == "node":
                second = cluster.add_node(num_cpus=1)
    cluster.shutdown()
    print(f"right: {sum(right)} of {len(right)}")
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
