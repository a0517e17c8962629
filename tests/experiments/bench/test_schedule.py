"""Twins come first, nothing is played twice, and what a machine loses is played again, but not for ever."""

from __future__ import annotations

import pytest

from hauberk.experiments.bench.bench import Forecast
from hauberk.experiments.bench.results import BenchCell
from hauberk.experiments.bench.schedule import schedule_of


def cell(id, attacked=True):
    return BenchCell(id, {"id": id}, {}, attacked, "twin")


def test_a_cell_waits_for_its_twin_and_others_do_not():
    schedule = schedule_of(
        [cell("a"), cell("b"), cell("twin", attacked=False)], {"a": "twin", "b": "elsewhere"}
    )
    twin, other = schedule.take(), schedule.take()
    assert (twin.id, other.id) == ("twin", "b")
    assert schedule.take() is None
    schedule.finish(twin)
    assert schedule.take().id == "a"


def test_one_seed_is_played_after_another():
    cells = [
        BenchCell(f"{seed}{attacked}", {}, {"seed": seed}, attacked, "twin")
        for attacked in (True, False)
        for seed in (1, 0)
    ]
    schedule = schedule_of(cells, {})
    assert [schedule.take().id for _ in cells] == ["0False", "0True", "1False", "1True"]


def test_a_lost_cell_is_played_first_and_at_most_three_times():
    schedule = schedule_of([cell("a"), cell("b")], {})
    lost = schedule.take()
    assert schedule.again(lost)
    assert schedule.take() is lost
    assert schedule.again(lost)
    assert schedule.take() is lost
    assert not schedule.again(lost)
    assert schedule.take().id == "b"


def test_the_forecast_is_the_mean_so_far_times_what_is_left():
    now = iter([0.0, 10.0, 30.0])
    forecast = Forecast(n_cells=5, n_workers=2, clock=lambda: next(now))
    assert forecast.seconds_left is None
    forecast.count(None)
    assert forecast.seconds_left == pytest.approx(40)
    forecast.count("it failed")
    assert forecast.seconds_left == pytest.approx(45)
    assert (forecast.finished, forecast.failed) == (1, 1)
