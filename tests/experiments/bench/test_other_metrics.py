"""A benchmark of a task without classes is reported by that task's own figures."""

from __future__ import annotations

import pytest

from hauberk.experiments import run
from hauberk.experiments.bench.grid_file import read_grid
from hauberk.experiments.bench.report import report_benchmark
from hauberk.experiments.bench.results import open_results
from hauberk.experiments.spec.loader import parse

GRID = """
name = "nations"
[task]
name = "knowledge_graph"
dataset = "nations"
model = { name = "transe", dimension = 8 }
[federation]
n_clients = 3
rounds = 1
[engine]
name = "inline"
[grid]
"aggregator.name" = ["fedavg", "median"]
"""


def test_a_report_names_the_primary_metric_of_the_grids_task(tmp_path):
    pytest.importorskip("pykeen")
    (tmp_path / "grid.toml").write_text(GRID)
    grid = read_grid(tmp_path / "grid.toml")
    specs = [parse(cell.tables) for cell in grid.cells()]
    results = open_results(tmp_path / "out", grid, grid.cells(), specs, resume=False)
    for cell in results.cells:
        run(cell.tables, out=results.folder(cell))
    _, markdown = report_benchmark(tmp_path / "out")
    text = markdown.read_text()
    assert "## Mean reciprocal rank" in text
    assert "Accuracy" not in text
