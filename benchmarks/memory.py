"""Whether memory is flat: what the driver and the largest worker hold, round by round.

    python benchmarks/memory.py --train sst2/train.jsonl --test sst2/test.jsonl --plot memory.png

Prints the median of each tenth of the rounds, resident (RSS, with Ray's shared memory) and private (USS), and how much
the last tenth holds more than the second one: the first one warms up.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from _watched import Sample, watched

SERIES = {
    "driver, resident": ("resident_gb", "driver"),
    "driver, private": ("private_gb", "driver"),
    "largest worker, resident": ("resident_gb", "worker"),
    "largest worker, private": ("private_gb", "worker"),
}
TENTHS = 10


def spec_of(given: argparse.Namespace) -> str:
    """Returns the spec of the run."""
    named = (
        'name = "pretrained", path = "embedded:minilm-l6"'
        if given.model == "minilm-l6"
        else f'name = "{given.model}"'
    )
    return f"""
name = "memory"
[task]
dataset = {{ name = "files", train = "{given.train}", test = "{given.test}" }}
model = {{ {named} }}
n_train = {given.texts}
[federation]
n_clients = 10
n_malicious = 1
rounds = {given.rounds}
[attack]
poison = {{ name = "bad_word", target = 1 }}
[aggregator]
name = "dim_krum"
[server]
twin = false
[engine]
name = "{given.engine}"
"""


def by_round(given: argparse.Namespace) -> list[tuple[int, Sample]]:
    """Plays the run and returns what was held at which round."""
    with tempfile.TemporaryDirectory() as folder:
        spec, out = Path(folder) / "spec.toml", Path(folder) / "run"
        spec.write_text(spec_of(given))
        rounds: list[tuple[float, int]] = []

        def look(seconds: float) -> None:
            lines = out / "rounds.jsonl"
            played = lines.read_text().count("\n") if lines.exists() else 0
            if played > (rounds[-1][1] if rounds else 0):
                rounds.append((seconds, played))

        command = [
            str(Path(sys.executable).with_name("hauberk")),
            "run",
            str(spec),
            "--out",
            str(out),
            "--quiet",
        ]
        seen = watched(command, sample_every_s=given.every, at_each_poll=look)
    ends = dict(rounds)
    found = []
    for sample in seen.samples:
        played = max((number for second, number in ends.items() if second <= sample.seconds), default=0)
        if 0 < played < given.rounds:  # after the last round there is the work with the final model
            found.append((played, sample))
    return found


def tenths(given: argparse.Namespace, points: list[tuple[int, Sample]], field: str, kind: str) -> list[float]:
    """Returns the median of what was held in each tenth of the rounds."""
    held: list[list[float]] = [[] for _ in range(TENTHS)]
    for number, sample in points:
        if kind in getattr(sample, field):
            held[min(TENTHS - 1, TENTHS * number // given.rounds)].append(getattr(sample, field)[kind])
    return [statistics.median(values) for values in held if values]


def draw(points: list[tuple[int, Sample]], path: Path) -> None:
    """Draws what was held over the rounds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for name, (field, kind) in SERIES.items():
        shown = [(number, getattr(s, field)[kind]) for number, s in points if kind in getattr(s, field)]
        if shown:
            axes.plot(*zip(*shown, strict=True), label=name, linestyle="-" if "resident" in name else "--")
    axes.set(xlabel="round", ylabel="GB", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Plays the run, prints the table and draws the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--model", default="text_cnn")
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--texts", type=int, default=1000, help="training texts of all clients")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two looks")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    points = by_round(given)
    print("| held, GB | " + " | ".join(f"{tenth}0 %" for tenth in range(1, TENTHS + 1)) + " | growth |")
    print("|---|" + "---|" * (TENTHS + 1))
    for name, (field, kind) in SERIES.items():
        held = tenths(given, points, field, kind)
        if len(held) > 2:
            growth = 100 * (held[-1] / held[1] - 1)
            print(f"| {name} | {' | '.join(f'{gb:.3f}' for gb in held)} | {growth:+.1f} % |")
    if given.plot is not None:
        draw(points, given.plot)


if __name__ == "__main__":
    main()
