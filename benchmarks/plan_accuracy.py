"""What `hauberk plan` promises beside what runs take: ten small runs of different kinds.

    python benchmarks/plan_accuracy.py --train sst2/train.jsonl --test sst2/test.jsonl

Prints for each the seconds of a round, planned and measured (the median of the rounds after the first), their ratio,
and both by stage. On a busy machine ``--processor-time`` compares the seconds that were computed, not those that
passed, of the runs in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

POISON = 'attack.poison = { name = "bad_word", target = 1 }'
RUNS = {
    "fedavg": 'aggregator.name = "fedavg"',
    "dim_krum, attack": f'aggregator.name = "dim_krum"\nfederation.n_malicious = 1\n{POISON}',
    "dim_krum, 50 of 200": f'aggregator = {{ name = "dim_krum", n_malicious = 5 }}\nfederation = {{ n_clients = 200, clients_per_round = 50, n_malicious = 20 }}\n{POISON}',
    "bulyan, 40": 'aggregator = { name = "bulyan", n_malicious = 5 }\nfederation.n_clients = 40',
    "median, ALIE": f'aggregator.name = "median"\nfederation.n_malicious = 2\n{POISON}\nattack.forge = "alie"',
    "fltrust": 'aggregator.name = "fltrust"\nserver.clean.n_examples = 100',
    "rfa, gru": 'aggregator.name = "rfa"\ntask.model.name = "gru"\ntask.n_train = 1000',
    "neurotoxin, transformer": f'aggregator.name = "fedavg"\nfederation.n_malicious = 1\n{POISON}\nattack.tamper = "neurotoxin"\ntask.model.name = "transformer"\ntask.n_train = 1000',
    "multi_krum, minilm-l6": 'aggregator.name = "multi_krum"\ntask.model = { name = "pretrained", path = "embedded:minilm-l6" }\ntask.n_train = 200',
    "dim_krum, Ray": f'aggregator.name = "dim_krum"\nfederation.n_malicious = 1\nengine.name = "ray"\n{POISON}',
}  # fmt: skip
ONE = """
import json, sys, time
if sys.argv[3] == "True":
    time.perf_counter = time.process_time
from hauberk.experiments import run
from hauberk.experiments.runner.plan import estimate
from hauberk.experiments.spec.loader import load
print(json.dumps(estimate(load(sys.argv[1])).stages) if sys.argv[2] == "plan" else run(sys.argv[1], out=sys.argv[2]).folder)
"""


def spec_of(given: argparse.Namespace, own: str) -> dict[str, Any]:
    """Returns the tables of one run."""
    base = {
        "name": "plan",
        "task": {
            "dataset": {"name": "files", "train": given.train, "test": given.few_test},
            "model": {"name": "text_cnn"},
            "validation": 0.0,
        },
        "federation": {"n_clients": 10, "rounds": given.rounds},
        "engine": {"name": "inline"},
        "server": {"twin": False},
        "aggregator": {},
    }
    return merged(base, tomllib.loads(own))


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Returns ``base`` with the values of ``own`` in it, table by table; what names something else replaces it."""
    both = dict(base)
    for key, value in own.items():
        tables = isinstance(value, dict) and isinstance(both.get(key), dict) and key != "model"
        both[key] = merged(both[key], value) if tables else value
    return both


def seconds_of(given: argparse.Namespace, spec: Path, what: str) -> dict[str, float]:
    """Returns the seconds of a round by stage: planned where ``what`` is "plan", else of a run into that folder."""
    timed = str(given.processor_time)
    done = subprocess.run(
        [sys.executable, "-c", ONE, str(spec), what, timed], capture_output=True, text=True, check=True
    )
    if what == "plan":
        return json.loads(done.stdout)
    rounds = [json.loads(line) for line in (Path(what) / "rounds.jsonl").open()]
    later = rounds[1:] or rounds
    stages = {key: statistics.median(line["seconds"][key] for line in later) for key in later[0]["seconds"]}
    if len(later) > 1:  # of several rounds one in so many looks at all
        stages["forensics"] = statistics.mean(line["seconds"]["forensics"] for line in rounds)
    # A round's wall holds the checkpoint of the round before.
    between = [line["wall"] - sum(line["seconds"].values()) for line in later]
    return {**stages, "checkpoint": statistics.median(between)}


def main() -> None:
    """Plans and plays each run and prints a row as soon as it is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--test-texts", type=int, default=600)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--processor-time", action="store_true")
    given = parser.parse_args()
    print(
        "| run | planned s | measured s | ratio | planned and measured by stage | the plan itself took s |\n|---|---|---|---|---|---|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "test.jsonl"
        few.write_text("".join(Path(given.test).read_text().splitlines(keepends=True)[: given.test_texts]))
        given.few_test = str(few)
        for number, name in enumerate(given.only):
            spec = Path(folder) / f"{number}.toml"
            spec.write_text(tomli_w.dumps(spec_of(given, RUNS[name])))
            started = time.perf_counter()
            planned = seconds_of(given, spec, "plan")
            took = time.perf_counter() - started
            measured = seconds_of(given, spec, str(spec.with_suffix("")))
            both = [sum(stages.values()) for stages in (planned, measured)]
            stages = ", ".join(f"{key} {planned[key]:.2f} {measured.get(key, 0.0):.2f}" for key in planned)
            print(
                f"| {name} | {both[0]:.2f} | {both[1]:.2f} | {both[0] / both[1]:.2f} | {stages} | {took:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
