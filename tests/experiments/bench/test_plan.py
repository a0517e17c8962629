"""A grid's plan: what it will take, and one line of what does not fit and what would."""

from __future__ import annotations

import pytest
import tomli_w

from hauberk.experiments.bench.plan import GridPlan, plan_grid, probe_rule
from hauberk.experiments.spec.loader import parse
from hauberk.tasks.errors import UserError

PLAN = GridPlan("small", (30.0, 60.0, 90.0, 180.0), n_honest=1, workers=2, worker_gb=3.0, disk_gb=8.0)


def test_hours_are_those_of_all_workers_together():
    assert PLAN.hours == pytest.approx(0.05)
    assert "small: 4 cells, in 1 of which nobody lies" in str(PLAN)
    assert "about 3 minutes with 2 at once: 30 to 180 s a cell" in str(PLAN)


def test_what_fits_is_not_refused():
    PLAN.check(memory_gb=6.0, free_disk_gb=8.0)


@pytest.mark.parametrize(
    ("memory", "disk", "message"),
    [
        (5.0, 9.0, "2 workers of 3.0 GB need 6.0 GB of memory, 5.0 are free; --workers 1 fits"),
        (2.0, 9.0, "2.0 are free; not even one fits"),
        (9.0, 4.0, "4 cells need 8.0 GB of disk, 4.0 are free; about 2 cells fit: --only takes a part"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(memory, disk, message):
    with pytest.raises(UserError, match=message):
        PLAN.check(memory, disk)


def test_a_grid_is_probed_once_for_each_kind_of_cell(tables, tmp_path):
    tables["grid"] = {"aggregator.name": ["fedavg", "median"], "federation.rounds": [1, 10], "seed": [0, 1]}
    path = tmp_path / "grid.toml"
    path.write_text(tomli_w.dumps(tables))
    plan = plan_grid(path, workers=1)
    assert len(plan.seconds) == 16
    assert plan.n_honest == 8
    assert plan.seconds[4] - 1 == pytest.approx(10 * (plan.seconds[0] - 1))  # as many rounds, a second beside
    assert plan.worker_gb > 0.1
    n_params = (30522 * 8) + 4 * 8 * (3 + 4 + 5) + 12 + 12 * 2 + 2
    checkpoints, models = 16 * 2 * 4 * n_params, (4 * 1 + 4 * 10) * 4 * n_params
    assert plan.disk_gb == pytest.approx((checkpoints + models) / 1e9, rel=0.01)


def test_a_rule_that_wants_more_than_rows_is_planned_without_its_time(tables):
    tables["server"] = {"clean": {"n_examples": 10}}
    assert probe_rule(parse({**tables, "aggregator": {"name": "fltrust"}}), 1000) == 0
    assert probe_rule(parse({**tables, "aggregator": {"name": "krum"}}), 1000) > 0
