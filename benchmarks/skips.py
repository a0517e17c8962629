"""Gradient norms by layer for each skip connection of the transformer, in new models.

    python benchmarks/skips.py --plot docs/skips.png

Prints the norm of the gradient at the output of each block over that at the last block, as a power of ten, the mean of
several seeds. What the connections do to accuracy is `hauberk bench skips`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import torch

from hauberk.tasks.seeds import generator
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.models import Transformer
from hauberk.tasks.text.text_classification import TextClassification

KINDS = {
    "plain": ("plain", 1.0),
    "xskip, 1.2": ("xskip", 1.2),
    "xskip, .8": ("xskip", 0.8),
    "xskip_ln, 1.2": ("xskip_ln", 1.2),
    "rskip_ln, 1 (post-norm)": ("rskip_ln", 1.0),
    "rskip_ln, 2": ("rskip_ln", 2.0),
    "rskip_ln, 3": ("rskip_ln", 3.0),
    "pre_norm": ("pre_norm", 1.0),
}


def norms(skip: str, scale: float, depth: int, seed: int) -> list[float]:
    """Returns log10 of each block's gradient norm over the last one's, at 64 real tweets and with no dropout."""
    dataset = DATASETS["tweet_sentiment"]()
    config = Transformer(n_layers=depth, dropout=0.0, skip=skip, scale=scale)
    task = TextClassification(dataset=dataset, model=config, n_train=64)
    splits = task.splits(seed)
    task = task.bind(splits)
    (batch,) = task.batches(task.encode(splits.train), 64)
    model = config.build(len(splits.labels), generator(seed, "model"))
    layers = model.layers(batch)
    for hidden in layers:
        hidden.retain_grad()
    torch.nn.functional.cross_entropy(model.head(layers[-1], batch), batch.labels).backward()
    found = [float(hidden.grad.double().norm()) for hidden in layers if hidden.grad is not None]
    return [math.log10(norm / found[-1]) for norm in found]


def main() -> None:
    """Prints the table and draws the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| skip | " + " | ".join(f"block {n}" for n in range(1, given.depth + 1)) + " |")
    print("|---|" + "---|" * given.depth)
    curves = {}
    for name, (skip, scale) in KINDS.items():
        each = [norms(skip, scale, given.depth, seed) for seed in range(given.seeds)]
        curves[name] = [statistics.mean(layer) for layer in zip(*each, strict=True)]
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in curves[name]) + " |", flush=True)
    if given.plot is not None:
        draw(curves, given.plot)


def draw(curves: dict[str, list[float]], path: Path) -> None:
    """Draws a line for each kind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, "o-", ms=3, label=name)
    axes.set(xlabel="block", ylabel="gradient norm over the last block's, power of ten")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=144)


if __name__ == "__main__":
    main()
