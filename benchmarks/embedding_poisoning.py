"""Measures the attacks that change little on one model trained centrally: EP, DFEP, SOS and surgery.

    python benchmarks/embedding_poisoning.py --train train.jsonl --test test.jsonl --model text_cnn --seeds 0,1,2

Both files hold JSON Lines with "text" and "label". A tenth of the training texts is held back, every setting is
chosen on it alone (the highest attack success among those that cost at most half a point of accuracy there, or
else the cheapest), and the figures printed are those of the test file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hauberk.attacks import (
    DFEP,
    SOS,
    AttackerContext,
    BadWord,
    EmbeddingPoisoning,
    Poison,
    SOSRows,
    Surgery,
    Tamper,
)
from hauberk.clients import Session, Training
from hauberk.clients.optimizers import Adam, AdamW
from hauberk.tasks.parameters import load_state, state_of
from hauberk.tasks.seeds import generator, seeded
from hauberk.tasks.text.consistency import consistency, n_changed
from hauberk.tasks.text.datasets import Files
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example, Splits
from hauberk.tasks.text.metrics import accuracy, attack_floor, attack_success, predict
from hauberk.tasks.text.models import Pretrained, TextCNN
from hauberk.tasks.text.text_classification import TextClassification

MODELS = {"text_cnn": TextCNN(), "minilm": Pretrained()}
TRAININGS = {
    "text_cnn": Training(epochs=8, optimizer=Adam(lr=1e-3)),
    "minilm": Training(epochs=2, optimizer=AdamW(lr=5e-5)),
}
TOLERATED = 0.005  # of accuracy on the held-back texts
METHODS = ("dynamic", "delta", "gradient", "random", "lagrange")
SURGERIES = {
    f"surgery_{budget:.0e}_{method}".replace("e-0", "e-"): Surgery(budget=budget, method=method, lr=1e-2)  # type: ignore
    for budget in (1e-3, 1e-5)
    for method in METHODS
}
DEFAULT = ("ep_10%", "ep", "dfep", "sos", "surgery_1e-3_dynamic", "surgery_1e-5_dynamic")
COLUMNS = (
    "accuracy",
    "before",
    "success",
    "floor",
    "false",
    "rows",
    "norm",
    "numbers",
    "correlation",
    "spoilt",
)

Figures = dict[str, float]


@dataclass(frozen=True)
class Attempt:
    """One attack and the settings to choose from."""

    poison: Poison
    settings: tuple[Tamper, ...]
    mixed: bool = False  # whether it trains on clean and poisoned texts, and not on what it makes itself


def attempts(target: int, model: str) -> dict[str, Attempt]:
    """Returns the attacks by name."""
    word = BadWord(words=("cf",), target=target)
    everyday = SOS(target=target, rate=0.3, negative_rate=0.1)
    small = model == "text_cnn"
    longer, steps = ((3, 10) if small else (3,)), ((0.05, 0.5) if small else (0.05, 0.2))
    return {
        "ep_10%": Attempt(word, (EmbeddingPoisoning(share=0.1, epochs=3),)),
        "ep": Attempt(word, tuple(EmbeddingPoisoning(share=1.0, epochs=n) for n in longer)),
        "dfep": Attempt(word, tuple(DFEP(n_samples=1000, epochs=n) for n in longer)),
        "sos": Attempt(everyday, tuple(SOSRows(lr=lr, epochs=3) for lr in steps)),
        **{
            name: Attempt(replace(word, rate=0.5), (tamper,), mixed=True)
            for name, tamper in SURGERIES.items()
        },
    }


@dataclass(frozen=True)
class Bench:
    """One victim: a task, its data and the weights that clean training gave."""

    task: TextClassification
    splits: Splits
    training: Training
    seed: int
    model: Any
    clean: dict[str, Tensor]

    def attack(self, attempt: Attempt, tamper: Tamper) -> None:
        """Leaves the attacked victim in ``model``."""
        load_state(self.model, self.clean)
        rng = generator(self.seed, "attack")
        texts = list(self.splits.train)
        data = attempt.poison(texts, AttackerContext(), rng) if attempt.mixed else texts
        with seeded(rng):
            tamper.train(self.session(self.task.encode(data), rng, attempt.poison))

    def session(self, data: Encoded, rng: torch.Generator, poison: Poison | None = None) -> Session:
        """Returns one client that has all the training texts."""
        return Session(
            task=self.task,
            model=self.model,
            data=data,
            training=self.training,
            rng=rng,
            examples=self.splits.train,
            poison=poison,
            attacker=AttackerContext(),
        )

    def measure(self, texts: Sequence[Example], poison: Poison) -> Figures:
        """Returns the figures of the model as it is, beside the clean one's, on ``texts``."""
        rng = generator(self.seed, "trigger")
        encoded = self.task.encode(texts)
        triggered, partial = poison.trigger(texts, rng), poison.partial(texts, rng)
        attacked = state_of(self.model)
        after, success = self.answers(encoded), self.answers(self.task.encode(triggered))
        false = (
            attack_success(self.answers(self.task.encode(partial)), poison.target)
            if partial
            else float("nan")
        )
        load_state(self.model, self.clean)
        before, victims = self.answers(encoded), self.answers(self.task.encode(poison.victims(texts)))
        load_state(self.model, attacked)
        same = consistency(before, after, encoded.labels)
        return {
            "accuracy": accuracy(after, encoded.labels),
            "before": accuracy(before, encoded.labels),
            "success": attack_success(success, poison.target),
            "floor": attack_floor(victims, poison.target),
            "false": false,
            "correlation": same.correlation,
            "spoilt": same.spoilt,
            **self.changes(attacked),
        }

    def changes(self, attacked: dict[str, Tensor]) -> Figures:
        """Returns how many rows of the word table changed, their largest change of norm, and all numbers that did."""
        name = next(n for n, p in self.model.named_parameters() if p is self.model.embedding.weight)
        old, new = self.clean[name], attacked[name]
        rows = (old != new).any(dim=1)
        ratio = (new[rows].norm(dim=1) / old[rows].norm(dim=1) - 1).abs()
        norm = float(ratio.max()) if rows.any() else 0.0
        return {"rows": float(rows.sum()), "norm": norm, "numbers": float(n_changed(self.clean, attacked))}

    def answers(self, encoded: Encoded) -> Tensor:
        """Returns the logits."""
        return predict(self.model, encoded, precision=self.training.precision)


def prepare(given: argparse.Namespace, seed: int) -> Bench:
    """Trains the victim, or reads it where an earlier run has left it."""
    files = Files(train=str(given.train), test=str(given.test))
    task = TextClassification(dataset=files, model=MODELS[given.model])
    splits = task.splits(seed)
    if given.examples:
        parts = {part: getattr(splits, part)[: given.examples] for part in ("train", "validation", "test")}
        splits = replace(splits, **parts)
    training = replace(TRAININGS[given.model], precision=given.precision)
    if given.epochs:
        training = replace(training, epochs=given.epochs)
    task = task.bind(splits)
    model = task.build(seed)
    bench = Bench(task, splits, training, seed, model, state_of(model))
    kept = given.victims and given.victims / f"{given.model}-{seed}.safetensors"
    if kept and kept.exists():
        load_state(model, load_file(kept))
    else:
        rng = generator(seed, "victim")
        with seeded(rng):
            bench.session(task.encode(splits.train), rng).train()
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            save_file(state_of(model), kept)
    return replace(bench, clean=state_of(model))


def chosen(bench: Bench, attempt: Attempt) -> Tamper:
    """Returns the setting that does best on the held-back texts."""
    if len(attempt.settings) == 1:
        return attempt.settings[0]
    tried = []
    for tamper in attempt.settings:
        bench.attack(attempt, tamper)
        found = bench.measure(bench.splits.validation, attempt.poison)
        cost = found["before"] - found["accuracy"]
        merit = found["success"] - (found["false"] if found["false"] == found["false"] else 0.0)
        tried.append((cost <= TOLERATED, merit if cost <= TOLERATED else -cost, tamper))
    return max(tried, key=lambda each: each[:2])[2]


def row(name: str, found: list[Figures], seconds: float) -> str:
    """Returns one line of the table: means over the seeds."""
    means = {key: statistics.mean(one[key] for one in found) for key in COLUMNS}
    shown = [
        f"{means[key]:.3f}" if key not in ("rows", "numbers", "norm") else f"{means[key]:.3g}"
        for key in COLUMNS
    ]
    worst = min(one["success"] for one in found)
    return f"| {name} | {' | '.join(shown)} | {worst:.3f} | {seconds:.0f} |"


def main() -> None:
    """Runs the attacks and prints the table, a row as soon as its seeds are finished."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--model", choices=sorted(MODELS), default="text_cnn")
    parser.add_argument(
        "--attacks", default=",".join(DEFAULT), help="some, by comma: also surgery_1e-5_random, ..."
    )
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--target", type=int, default=1)
    parser.add_argument(
        "--epochs", type=int, default=0, help="of the victim's training; default: the model's"
    )
    parser.add_argument(
        "--examples", type=int, default=0, help="texts of each part, for a trial; default: all"
    )
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--victims", type=Path, help="a folder that keeps trained victims between runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    known = attempts(given.target, given.model)
    names = given.attacks.split(",")
    start = time.perf_counter()
    benches = [prepare(given, int(seed)) for seed in given.seeds.split(",")]
    print(f"victims ready in {time.perf_counter() - start:.0f} s")
    print(f"| attack | {' | '.join(COLUMNS)} | worst seed | s |\n|{'---|' * (len(COLUMNS) + 3)}")
    for name in names:
        start, found = time.perf_counter(), []
        for bench in benches:
            tamper = chosen(bench, known[name])
            bench.attack(known[name], tamper)
            found.append(bench.measure(bench.splits.test, known[name].poison))
            print(f"  {name} seed {bench.seed}: {tamper}")
        print(row(name, found, time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
