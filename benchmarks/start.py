"""How long a user waits: from the shell to the first finished round, inline and on Ray.

    python benchmarks/start.py --train sst2/train.jsonl --test sst2/test.jsonl --models text_cnn minilm-l6

Prints the median over the repeats, least and most: seconds until the first round is recorded, and the seconds of
processor time that all processes of the run spent until then, which other work on the machine changes less.
minilm-l6 trains on next to nothing (``--few``), so that the start shows and not its training.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from _watched import children

POLL_S = 0.02


def spec_of(given: argparse.Namespace, model: str, engine: str) -> str:
    """Returns the spec of one run of one round."""
    small = f"\nn_train = {given.few}" if model == "minilm-l6" else ""
    named = f'name = "pretrained", path = "embedded:{model}"' if model == "minilm-l6" else f'name = "{model}"'
    return f"""
name = "start"
[task]
dataset = {{ name = "files", train = "{given.train}", test = "{given.few_test if small else given.test}" }}
model = {{ {named} }}{small}
[federation]
n_clients = 10
n_malicious = 1
rounds = 1
[attack]
poison = {{ name = "bad_word", target = 0 }}
[aggregator]
name = "dim_krum"
[server]
twin = false
[engine]
name = "{engine}"
"""


def first_round(spec: Path, out: Path) -> tuple[float, float]:
    """Returns the seconds from the shell to the first recorded round, and the processor time until then."""
    command = [str(Path(sys.executable).with_name("hauberk")), "run", str(spec), "--out", str(out), "--quiet"]
    started, rounds = time.perf_counter(), out / "rounds.jsonl"
    process = psutil.Popen(command)
    while not (rounds.exists() and rounds.stat().st_size):
        if process.poll() not in (None, 0):
            raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
        time.sleep(POLL_S)
    seconds = time.perf_counter() - started
    spent = processor_seconds(process)
    process.wait()
    return seconds, spent


def processor_seconds(root: psutil.Process) -> float:
    """Returns the processor time of a process and of those below it, living or ended."""
    total = 0.0
    for process in [root, *children(root)]:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.Error:  # it has just ended, and counts with its parent
            continue
    return total


def main() -> None:
    """Starts every run so many times and prints a row each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--models", nargs="+", default=["text_cnn"])
    parser.add_argument("--engines", nargs="+", default=["inline", "ray"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--few", type=int, default=20, help="training texts of minilm-l6, and test texts")
    given = parser.parse_args()
    print("| model | engine | s to the first finished round | processor s |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.jsonl"
        few.write_text("".join(Path(given.test).read_text().splitlines(keepends=True)[: given.few]))
        given.few_test = few
        for model in given.models:
            for engine in given.engines:
                spec = Path(folder) / f"{model}-{engine}.toml"
                spec.write_text(spec_of(given, model, engine))
                runs = [first_round(spec, spec.with_suffix(f".{n}")) for n in range(given.repeats)]
                wall, spent = ([one[which] for one in runs] for which in (0, 1))
                texts = [f"{statistics.median(v):.1f} ({min(v):.1f}-{max(v):.1f})" for v in (wall, spent)]
                print(f"| {model} | {engine} | {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
