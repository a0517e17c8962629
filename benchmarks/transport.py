"""What travels from a worker to the driver, per client and round: all tensors, or of the word table the trained rows.

    python benchmarks/transport.py --train sst2/train.jsonl --test sst2/test.jsonl

Trains some clients of the first round in this process, both ways, and checks that the rows of the server's matrix are
the same bits. The seconds are those that pickling takes, as Ray does it (arrays beside the rest), and a copy.
"""

from __future__ import annotations

import argparse
import pickle
import time

import torch

from hauberk.clients.messages import ClientReply
from hauberk.experiments.runner.setup import Prepared, prepare
from hauberk.experiments.spec.loader import parse
from hauberk.server.round import instructions
from hauberk.strategies.update_matrix import UpdateMatrix


def prepared_of(given: argparse.Namespace) -> Prepared:
    """Returns the run whose clients are measured: nobody lies."""
    model = {"name": "text_cnn"} if given.model == "text_cnn" else {"name": "pretrained", "path": given.model}
    data = {"name": "files", "train": given.train, "test": given.test}
    tables = {
        "task": {"dataset": data, "model": model, "n_train": given.n_train, "validation": 0.0},
        "federation": {"n_clients": given.clients, "rounds": 1},
        "aggregator": {"name": "fedavg"},
    }
    return prepare(parse({key: value for key, value in tables.items() if value is not None}))


def shipped(reply: ClientReply) -> tuple[int, float]:
    """Returns the bytes of a reply as they travel, and the seconds to pack and to copy them."""
    started = time.perf_counter()
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(reply, protocol=5, buffer_callback=buffers.append)
    copies = [bytes(buffer.raw()) for buffer in buffers]
    return len(head) + sum(map(len, copies)), time.perf_counter() - started


def main() -> None:
    """Prints bytes and seconds of both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--model", default="text_cnn", help="text_cnn, or the path of a pretrained model")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--measured", type=int, default=3)
    parser.add_argument("--n-train", type=int, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prepared = prepared_of(given)
    server, worker = prepared.server, prepared.make_worker()
    asked = instructions(server, prepared.start, 1, range(given.measured))
    found = {}
    for lent in (False, True):
        rows = UpdateMatrix(range(given.measured), server.layout, prepared.start.parameters)
        sizes = []
        for instruction in asked:
            reply = worker.fit(instruction, lent=lent)
            sizes.append(shipped(reply))
            rows.add(reply)
        found[lent] = sizes, rows.close().updates
    assert torch.equal(found[True][1], found[False][1])
    means = {
        lent: [sum(column) / len(sizes) for column in zip(*sizes, strict=True)]
        for lent, (sizes, _) in found.items()
    }
    for lent, name in ((False, "all tensors"), (True, "trained rows")):
        print(f"{name:13} {means[lent][0] / 1e6:8.3f} MB a client and round, {1e3 * means[lent][1]:6.2f} ms")
    print(f"{means[False][0] / means[True][0]:.1f} times fewer bytes, the same bits in the matrix")


if __name__ == "__main__":
    main()
