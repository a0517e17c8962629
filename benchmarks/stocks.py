"""Vectors of stocks: what they know of sectors, what each objective gives, what federation costs, and portfolios.

    python benchmarks/stocks.py stocks --out runs/stocks              # every cell, in order; goes on where it stopped
    python benchmarks/stocks.py stocks --out runs/stocks --tables     # what the finished cells came to
    python benchmarks/stocks.py stocks --out runs/stocks --map docs/stocks.png --curves docs/stocks_portfolios.png

The folder holds stocks.csv, prices.csv.gz and texts.jsonl.gz. Each cell is a run (`hauberk run`), measured on the
validation and on the test period; settings are to be chosen by the former. Intervals are of seeds (95 % t) for vectors and
of a circular block bootstrap of days for portfolios.
"""

from __future__ import annotations

import argparse
import json
import statistics
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.experiments.engines.by_name import engine_of
from hauberk.experiments.runner.data import data_of
from hauberk.experiments.runner.execute import run_on
from hauberk.experiments.runner.finished import Finished, read_finished, read_parameters
from hauberk.experiments.runner.progress import Quiet
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import Spec, parse
from hauberk.tasks.parameters import load_state
from hauberk.tasks.seeds import integer
from hauberk.tasks.stocks.neighbours import (
    chance_purity,
    future_correlation,
    sector_information,
    sector_purity,
)
from hauberk.tasks.stocks.portfolios import (
    Trading,
    by_cosines,
    equal_weights,
    ledoit_wolf,
    measures,
    sample_covariance,
    walk_forward,
)
from hauberk.tasks.stocks.stocks import cosines_of
from hauberk.tasks.stocks.windows import market_of, residuals

CENTRAL = {"federation.n_clients": 1}
BY_SECTOR = {
    "federation.n_clients": 9,
    "federation.partition": {"name": "natural_id"},
    "task.partition_by": "sector",
}
BY_STOCK = {"federation.n_clients": 9, "federation.partition": {"name": "natural_id", "shuffle": True}}
MIXED = {"federation.n_clients": 9}
OWN = {"task.rows": "own"}
ATTACK = {"federation.n_malicious": 1, "attack.poison": {"name": "lookalike", "own": "AAPL", "victim": "XOM"}}
CELLS: dict[str, dict[str, Any]] = {
    "central": CENTRAL,
    "without internal": {**CENTRAL, "task.model.internal": False},
    "without temporal": {**CENTRAL, "task.model.temporal": False},
    "without relational": {**CENTRAL, "task.model.relational": False},
    "without texts": {**CENTRAL, "task.n_texts": 0},
    "by sector, 9 clients": BY_SECTOR,
    "by sector, own rows": {**BY_SECTOR, **OWN},
    "by stock groups, 9 clients": BY_STOCK,
    "by stock groups, own rows": {**BY_STOCK, **OWN},
    "iid, 9 clients": MIXED,
    "iid, median": {**MIXED, "aggregator.name": "median"},
    "by sector, attacked": {**BY_SECTOR, **ATTACK},
    "iid, attacked": {**MIXED, **ATTACK},
    "iid, median, attacked": {**MIXED, "aggregator.name": "median", **ATTACK},
}
RULES = {"equal weights": equal_weights, "sample covariance": sample_covariance, "Ledoit-Wolf": ledoit_wolf}
MEASURES = ("annual_return", "volatility", "sharpe", "max_drawdown")
BLOCK, DRAWS = 21, 2000
ONCE, MONTHLY = 10_000, 21  # a cell's own portfolio is found once; those of the table every month


def spec_of(data: Path, rounds: int, lr: float, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Returns the tables of a cell's spec."""
    spec: dict[str, Any] = {
        "name": "stocks",
        "seed": seed,
        "task": {
            "name": "stocks",
            "dataset": {
                "name": "files",
                "stocks": str(data / "stocks.csv"),
                "prices": str(data / "prices.csv.gz"),
                "texts": str(data / "texts.jsonl.gz"),
            },
            "model": {"name": "stock_embedding", "hidden": 32},
            "stride": 10,
            "n_texts": 1,
            "rebalance": ONCE,
        },
        "federation": {"rounds": rounds},
        "training": {"batch_size": 512, "optimizer": {"name": "adam", "lr": lr}},
        "aggregator": {"name": "fedavg"},
        "server": {"evaluate_every": rounds},
        "engine": {"name": "inline"},
    }
    for key, value in changes.items():
        *path, last = key.split(".")
        table = spec
        for name in path:
            table = table.setdefault(name, {})
        table[last] = value
    return spec


@cache
def splits_of(data: Path, by: str, n_texts: int) -> Any:
    """Returns the examples, which depend on no seed and on no setting of the model that the cells vary."""
    spec = spec_of(data, 1, 1e-2, 0, {"task.partition_by": by, "task.n_texts": n_texts, **CENTRAL})
    return parse(spec).parts.task.splits(0)


def measured(spec: Spec, folder: Path, splits: Any) -> dict[str, Any]:
    """Returns what the final model of a run knows, on both periods."""
    _, summary, parameters = read_parameters(folder)
    finished = Finished(prepare(spec, splits=splits), parameters, summary["rounds"])
    task, model = finished.prepared.task, finished.prepared.server.model
    load_state(model, finished.parameters)
    found: dict[str, Any] = {"final": summary["final"]}
    for name in ("validation", "test"):
        encoded = task.encode(getattr(splits, name))
        cosines = cosines_of(task.predict(model, encoded))
        k = finished.prepared.server.model.config.dimension
        vectors = task.predict(model, encoded)
        found[name] = {
            "purity": sector_purity(cosines, encoded.sector, task.neighbours),
            "purity of u": sector_purity(cosines_of(vectors[:, :k]), encoded.sector, task.neighbours),
            "purity of r": sector_purity(cosines_of(vectors[:, k:]), encoded.sector, task.neighbours),
            "information": sector_information(cosines, encoded.sector),
            "future": future_correlation(cosines, encoded.returns.T[int(encoded.start[0]) :]),
        }
    return found


def play(data: Path, out: Path, cells: list[str], seeds: list[int], rounds: int, lr: float) -> None:
    """Plays the cells that are not finished yet; each leaves a file."""
    for seed in seeds:
        for name in cells:
            path = out / f"{name.replace(', ', '-').replace(' ', '_')}-{lr:g}-{rounds}-{seed}"
            record = path.with_suffix(path.suffix + ".json")
            if record.exists():
                continue
            spec = parse(spec_of(data, rounds, lr, seed, CELLS[name]))
            splits = splits_of(data, spec.parts.task.partition_by, spec.parts.task.n_texts)
            engine = partial(engine_of, spec)
            run_on(engine, spec, path, Quiet(), resume=path.exists(), data=data_of(spec, splits))
            cell = {"cell": name, "seed": seed, "lr": lr, "rounds": rounds, "folder": str(path)}
            cell |= measured(spec, path, splits)
            record.write_text(json.dumps(cell))
            print(
                name,
                seed,
                lr,
                {part: {k: round(v, 3) for k, v in cell[part].items()} for part in ("validation", "test")},
                flush=True,
            )


def past_correlation(finished: Any, *, residual: bool) -> np.ndarray:
    """Returns the correlations of all stocks' returns over the training period, [n, n]: what prices alone say."""
    panel = finished.spec.parts.task.dataset.load()
    stocks = [history.stock for history in finished.prepared.data.splits.test]
    end = max(day.day for day in finished.prepared.data.splits.train)
    returns = panel.log_returns[1 : end + 1]
    known = np.nan_to_num(returns)
    chosen = residuals(known, market_of(returns)) if residual else known
    return np.nan_to_num(np.corrcoef(chosen[:, stocks].T))


def interval(values: list[float]) -> str:
    """Returns the mean and half of the 95 % t interval, in hundredths."""
    from scipy.stats import t

    if len(values) < 2:
        return f"{100 * values[0]:.1f}"
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.mean(values):.1f} ± {100 * half:.1f}"


def bootstrap(daily: np.ndarray, seed: int) -> dict[str, tuple[float, float]]:
    """Returns the 95 % interval of each measure over days drawn anew in blocks of a month, around the end."""
    rng = np.random.default_rng(seed)
    n_blocks = -(-len(daily) // BLOCK)
    starts = rng.integers(0, len(daily), (DRAWS, n_blocks))
    drawn = [
        daily[((each[:, None] + np.arange(BLOCK)) % len(daily)).ravel()[: len(daily)]] for each in starts
    ]
    found = [measures(each) for each in drawn]
    return {name: tuple(np.quantile([one[name] for one in found], [0.025, 0.975])) for name in MEASURES}


def portfolios(finished: Any) -> dict[str, np.ndarray]:
    """Returns the daily returns after costs of each portfolio on the test period."""
    task, model = finished.prepared.task, finished.prepared.server.model
    load_state(model, finished.parameters)
    encoded = task.encode(finished.prepared.data.splits.test)
    cosines = cosines_of(task.predict(model, encoded))
    trading = Trading(history=task.history, rebalance=MONTHLY, cost=task.cost)
    rules = {**RULES, "vectors": by_cosines(cosines)}
    return {
        name: np.array(
            [gain for gain, _ in walk_forward(encoded.returns.T, int(encoded.start[0]), rule, trading)]
        )
        for name, rule in rules.items()
    }


def tables(cells: list[dict[str, Any]], finished: Any) -> None:
    """Prints what the finished cells came to."""
    encoded = finished.prepared.task.encode(finished.prepared.data.splits.test)
    neighbours = finished.prepared.task.neighbours
    print(
        "| vectors | seeds | purity | of u | of r | sector information | future correlation | the same, validation |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print(f"| chance | | {100 * chance_purity(encoded.sector):.1f} | | | 0 | 0 | 0 |")
    for label, residual in (("returns' correlation", False), ("residual returns' correlation", True)):
        past = past_correlation(finished, residual=residual)
        later = encoded.returns.T[int(encoded.start[0]) :]
        values = (
            sector_purity(past, encoded.sector, neighbours),
            sector_information(past, encoded.sector),
            future_correlation(past, later),
        )
        purity, information, future = (f"{100 * value:.1f}" for value in values)
        print(f"| {label} of the training period | | {purity} | | | {information} | {future} | |")
    for name in CELLS:
        found = [cell for cell in cells if cell["cell"] == name]
        if found:
            keys = ("purity", "purity of u", "purity of r", "information", "future")
            shown = [interval([cell["test"][key] for cell in found]) for key in keys]
            shown.append(interval([cell["validation"]["future"] for cell in found]))
            print(f"| {name} | {len(found)} | {' | '.join(shown)} |")
    print(
        "\n| attacked | seeds | the attacker's stock is nearer than | without the attack |\n|---|---|---|---|"
    )
    for name in CELLS:
        found = [
            cell
            for cell in cells
            if cell["cell"] == name and cell["final"].get("attack_success_rate") is not None
        ]
        if found:
            rates = [
                interval([cell["final"][key] for cell in found])
                for key in ("attack_success_rate", "attack_success_natural")
            ]
            print(f"| {name} | {len(found)} | {' | '.join(rates)} |")


def show_portfolios(daily: dict[str, np.ndarray]) -> None:
    """Prints each portfolio's measures with their intervals."""
    print(
        "\n| portfolio | annual return, % | volatility, % | Sharpe | largest drawdown, % |\n|---|---|---|---|---|"
    )
    for name, gains in daily.items():
        found, bounds = measures(gains), bootstrap(gains, integer(0, name) % 2**31)
        parts = []
        for key in MEASURES:
            scale, digits = (1, 2) if key == "sharpe" else (100, 1)
            low, high = (scale * bound for bound in bounds[key])
            parts.append(f"{scale * found[key]:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        print(f"| {name} | {' | '.join(parts)} |")


def draw_map(finished: Any, path: Path) -> None:
    """Draws the vectors on a plane (t-SNE of their cosines), coloured by sector."""
    import matplotlib.pyplot as plt
    from sklearn.manifold import TSNE

    task, model = finished.prepared.task, finished.prepared.server.model
    load_state(model, finished.parameters)
    test = finished.prepared.data.splits.test
    cosines = cosines_of(task.predict(model, task.encode(test)))
    places = TSNE(metric="precomputed", init="random", perplexity=12, random_state=0).fit_transform(
        np.clip(1 - cosines, 0, 2)
    )
    panel = finished.spec.parts.task.dataset.load()
    names = sorted(set(panel.sectors))
    figure, axes = plt.subplots(figsize=(9, 6.5), layout="constrained")
    for number, name in enumerate(names):
        rows = [row for row, one in enumerate(test) if one.sector == number]
        axes.scatter(*places[rows].T, s=36, color=plt.cm.tab10(number), label=name)
        for row in rows:
            axes.annotate(
                test[row].symbol,
                places[row],
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7,
                color="0.25",
            )
    axes.set(
        xticks=[],
        yticks=[],
        title=f"{len(test)} US stocks by their vectors, learned from 2012 to 2015 without sectors",
    )
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def draw_curves(daily: dict[str, np.ndarray], path: Path) -> None:
    """Draws what each portfolio was worth over the test period."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for name, gains in daily.items():
        axes.plot(np.cumprod(1 + gains), label=name, linewidth=2 if name == "vectors" else 1.2)
    axes.set(xlabel="trading day of the test period", ylabel="value, after costs")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Plays, prints or draws."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=list(CELLS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--map", type=Path)
    parser.add_argument("--curves", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if not (given.tables or given.map or given.curves):
        play(given.data, given.out, given.cells, given.seeds, given.rounds, given.lr)
        return
    cells = [json.loads(path.read_text()) for path in sorted(given.out.glob("*.json"))]
    cells = [cell for cell in cells if cell["lr"] == given.lr and cell["rounds"] == given.rounds]
    finished = read_finished(Path(next(cell["folder"] for cell in cells if cell["cell"] == "central")))
    if given.tables:
        tables(cells, finished)
    daily = portfolios(finished) if given.tables or given.curves else {}
    if given.tables:
        show_portfolios(daily)
    if given.map:
        draw_map(finished, given.map)
    if given.curves:
        draw_curves(daily, given.curves)


if __name__ == "__main__":
    main()
