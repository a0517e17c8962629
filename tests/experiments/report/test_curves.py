import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.experiments.report.curves import MOST_POINTS, curve_grids
from hauberk.experiments.report.frames import read_frames
from hauberk.tasks.base import Metric
from tests.helpers.bench_frames import DEFAULT_METRICS


def grids(values, metrics=DEFAULT_METRICS, seeds=1):
    """The grids of one rule under one attack whose accuracy is ``values``, a seed 0.1 above the one before."""
    settings = {"rule": "krum", "attack": "bad_word", "model": "m", "dataset": "d", "partition": "p"}
    labels = {"knowledge": "own data", "needs": "f", "status": "finished", "run_dir": ""}
    cells = pd.DataFrame([{"cell": str(seed), "seed": seed, **settings, **labels} for seed in range(seeds)])
    rounds = [
        {"cell": str(seed), "round": number, metrics[-1].name: value + 0.1 * seed}
        for seed in range(seeds)
        for number, value in enumerate(values, 1)
    ]
    return curve_grids(read_frames(cells, pd.DataFrame(rounds), metrics))


def test_a_curve_is_the_mean_of_its_seeds_and_the_band_their_range():
    [grid] = grids([0.2, 0.4, 0.6], seeds=3)
    [[curve]] = [panel for panels in grid.rows.values() for panel in panels]
    assert curve.mean == ((0.0, 0.3), (0.5, 0.5), (1.0, 0.7))
    assert curve.band == ((0.0, 0.4), (0.5, 0.6), (1.0, 0.8), (1.0, 0.6), (0.5, 0.4), (0.0, 0.2))
    assert curve.last == pytest.approx(0.7)


@settings(max_examples=30)
@given(st.lists(st.floats(-1, 2), min_size=1, max_size=100))
def test_a_curve_stays_in_its_panel_from_the_first_to_the_last_round(values):
    [grid] = grids(values)
    [[curve]] = grid.rows["krum"]
    assert len(curve.mean) == min(len(values), MOST_POINTS)
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in curve.mean)
    assert curve.mean[0][0] == 0
    assert curve.mean[-1][0] == (len(values) > 1)


def test_what_is_no_share_has_an_axis_of_its_own():
    sharpe = Metric("sharpe", "Sharpe ratio")
    [grid] = grids([-2.0, 0.0, 2.0], metrics=(sharpe,))
    assert grid.axes == ((sharpe, -2.0, 2.0),)
    assert [y for _, y in grid.rows["krum"][0][0].mean] == [0, 0.5, 1]


def test_without_rounds_there_are_no_curves():
    assert grids([]) == []
