"""What a round costs while the federation grows and the cohort does not: whole runs, one after the other.

    python benchmarks/scale.py --train sst2/train.jsonl --test sst2/test.jsonl --clients 10 100 1000 10000

Every client holds as many texts in each federation, so that only their number differs. Prints for each rule and number
of clients: seconds to the start of the first round; seconds of a round, of which its clients, and the ratio of the two;
milliseconds of the clients' stage, and of the whole round, for each client asked, and how far each is from that of the
smallest federation; and the peak memory of the driver, of the largest worker and of everything together.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from _watched import Watched, watched

HEADER = (
    "| rule | clients | asked | start s | round s | clients s | ratio | clients' stage ms/client | round ms/client "
    "| driver GB | worker GB | all GB |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def write_texts(source: Path, target: Path, n: int) -> None:
    """Writes the first ``n`` lines of a JSON Lines file, from its beginning again where it has fewer."""
    with source.open() as lines, target.open("w") as out:
        out.writelines(itertools.islice(itertools.cycle(lines), n))


def spec_of(given: argparse.Namespace, rule: str, n_clients: int, train: Path) -> str:
    """Returns the spec of one run: a tenth of the clients lie."""
    asked = min(given.cohort, n_clients)
    return f"""
name = "scale"
[task]
dataset = {{ name = "files", train = "{train}", test = "{given.test}" }}
model = {{ name = "{given.model}" }}
validation = 0.0
[federation]
n_clients = {n_clients}
clients_per_round = {asked}
n_malicious = {n_clients // 10}
rounds = {given.rounds}
[attack]
poison = {{ name = "bad_word", target = 1 }}
[aggregator]
name = "{rule}"
n_malicious = {asked // 10}
[server]
twin = false
[engine]
name = "{given.engine}"
"""


def run(given: argparse.Namespace, rule: str, n_clients: int) -> tuple[Watched, list[dict[str, Any]], float]:
    """Returns what was seen of one run, its rounds, and when its first round was recorded."""
    with tempfile.TemporaryDirectory() as folder:
        train, spec, out = (Path(folder) / name for name in ("train.jsonl", "spec.toml", "run"))
        write_texts(Path(given.train), train, n_clients * given.texts)
        spec.write_text(spec_of(given, rule, n_clients, train))
        first: list[float] = []

        def look(seconds: float) -> None:
            rounds = out / "rounds.jsonl"
            if not first and rounds.exists() and rounds.stat().st_size:
                first.append(seconds)

        binary = Path(sys.executable).with_name("hauberk")
        seen = watched([str(binary), "run", str(spec), "--out", str(out), "--quiet"], at_each_poll=look)
        return seen, [json.loads(line) for line in (out / "rounds.jsonl").open()], first[0]


def main() -> None:
    """Runs every federation and prints a row as soon as it is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--cohort", type=int, default=100, help="asked in a round; all where there are fewer")
    parser.add_argument("--rules", nargs="+", default=["fedavg", "dim_krum"])
    parser.add_argument("--texts", type=int, default=7, help="of each client")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="text_cnn")
    parser.add_argument("--engine", default="ray")
    given = parser.parse_args()
    print(HEADER)
    for rule in given.rules:
        base: tuple[float, float] | None = None
        for n_clients in given.clients:
            seen, rounds, first_s = run(given, rule, n_clients)
            start_s = first_s - sum(rounds[0]["seconds"].values())
            later, asked = rounds[1:] or rounds, min(given.cohort, n_clients)
            round_s = statistics.median(line["wall"] for line in later)
            clients_s = statistics.median(line["seconds"]["clients"] for line in later)
            each = 1e3 * clients_s / asked, 1e3 * round_s / asked
            base = base or each
            against = [
                f"{value:.1f} ({value / smallest:.2f}x)" for value, smallest in zip(each, base, strict=True)
            ]
            memory = [seen.largest_gb("driver"), seen.largest_gb("worker"), seen.peak_gb()]
            print(
                f"| {rule} | {n_clients} | {asked} | {start_s:.1f} | {round_s:.2f} | {clients_s:.2f} "
                f"| {round_s / clients_s:.2f} | {' | '.join(against)} "
                f"| {' | '.join(f'{gb:.2f}' for gb in memory)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
