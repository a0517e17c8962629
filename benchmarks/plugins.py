"""What each client plugin costs: seconds per optimiser step, by those of training without any.

    python benchmarks/plugins.py                    text_cnn
    python benchmarks/plugins.py --model minilm     the embedded language model

All variants run in turn in one process, a few steps each, again and again: what slows the machine for a while slows
them all. What a plugin does before the first step (Child-Tuning_D's Fisher pass, say) has a column of its own. Prints
a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from hauberk.clients import PLUGINS, Session, Training
from hauberk.clients.loop import closure_of
from hauberk.clients.plugins import Plugin, step_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.models import Pretrained, TextCNN
from hauberk.tasks.text.models._lora import Lora
from hauberk.tasks.text.text_classification import TextClassification

MODELS: dict[str, Callable[[], Any]] = {"text_cnn": TextCNN, "minilm": Pretrained}


@dataclass
class Variant:
    """One row of the table: how it trains, and the median seconds of each turn."""

    name: str
    model: Any
    plugins: tuple[Plugin, ...] = ()
    setups: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)

    def run(self, examples: Sequence[Example], batch_size: int) -> None:
        """Trains a new model on the examples once; the first step, which makes the optimiser's state, is left out."""
        task = TextClassification(dataset=None, model=self.model, n_classes=2)  # type: ignore[arg-type]
        training = Training(batch_size=batch_size, plugins=self.plugins)
        session = Session(
            task=task,
            model=task.build(0),
            data=task.encode(examples),
            training=training,
            rng=generator(0, "train"),
        )
        session.model.train()
        batches = list(session.batches(0))  # the same for all, whatever a plugin makes of them
        self.setups.append(seconds_of(lambda: [plugin.setup(session) for plugin in self.plugins]))
        owner, seconds = step_of(self.plugins), []
        for batch in batches:
            closure = closure_of(session, batch)
            seconds.append(seconds_of(lambda closure=closure: owner.step(session, closure)))
        self.steps.append(statistics.median(seconds[1:]))


def seconds_of(act: Callable[[], object]) -> float:
    """Returns how long ``act`` takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def variants(model: Any) -> list[Variant]:
    """Returns training without plugins, with each of them, and with adapters where the model can have them."""
    found = [Variant("none", model)]
    for name, kind in PLUGINS.items():
        try:
            found.append(Variant(name, model, (kind(),)))
        except UserError as error:
            print(f"left out: {error}")
    if isinstance(model, Pretrained):
        found.append(Variant("none, with model.lora", Pretrained(lora=Lora())))
    return found


def table(rows: Sequence[Variant]) -> str:
    """Returns the medians over the turns; a ratio is that of one turn before it is one of the medians."""
    lines = ["| plugin | ms per step | by none | ms before the first step |", "|---|---|---|---|"]
    for row in rows:
        ratio = statistics.median(own / none for own, none in zip(row.steps, rows[0].steps, strict=True))
        step, setup = (1000 * statistics.median(values) for values in (row.steps, row.setups))
        lines.append(f"| {row.name} | {step:.1f} | {ratio:.2f} | {setup:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the variants in turn and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="text_cnn")
    parser.add_argument("--steps", type=int, default=10, help="that count, in each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    examples = DATASETS["tweet_sentiment"]().load().train[: (given.steps + 1) * given.batch_size]
    rows = variants(MODELS[given.model]())
    for _ in range(given.turns):
        for row in rows:
            row.run(examples, given.batch_size)
    print(f"{given.model}, batches of {given.batch_size}, Adam, one thread, {torch.__version__}:\n")
    print(table(rows))


if __name__ == "__main__":
    main()
