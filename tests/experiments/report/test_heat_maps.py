import pytest

from hauberk.experiments.report.clean_cost import clean_cost_map
from hauberk.experiments.report.frames import read_frames
from hauberk.experiments.report.heat_maps import attack_heat_maps
from hauberk.experiments.report.metrics import ABOVE_NATURAL
from tests.helpers.bench_frames import ACCURACY, DEFAULT_METRICS, benchmark_frames, with_status


def read(cells, rounds):
    return read_frames(cells, rounds, DEFAULT_METRICS)


def cell(heat_map, rule, column):
    place = [name for name, _ in heat_map.columns].index(column)
    return next(rules[rule][place] for rules in heat_map.groups.values() if rule in rules)


@pytest.fixture
def frames():
    cells, rounds = benchmark_frames()
    cells = with_status(cells, "failed", "out of memory", rule="krum", attack="bad_word")
    cells = with_status(cells, "missing", rule="dim_krum", attack="bad_word", seed=2)
    return read(cells, rounds)


def test_a_cell_is_the_mean_over_its_seeds(frames):
    [heat_map] = attack_heat_maps(frames, ABOVE_NATURAL)
    chosen = frames.cells[(frames.cells["rule"] == "median") & (frames.cells["attack"] == "bad_word")]
    found = cell(heat_map, "median", "bad_word")
    assert found.estimate.mean == pytest.approx(chosen[ABOVE_NATURAL.name].mean())
    assert found.estimate.has_interval


def test_only_accuracy_has_a_column_where_nobody_lies(frames):
    [success], [accuracy] = (attack_heat_maps(frames, metric) for metric in (ABOVE_NATURAL, ACCURACY))
    assert success.columns[0][0] == "bad_word"
    assert [name for name, _ in accuracy.columns][:2] == ["none", "bad_word"]


def test_the_columns_say_what_the_attacker_knows(frames):
    [heat_map] = attack_heat_maps(frames, ABOVE_NATURAL)
    assert ("syntactic", "all paraphrases") in heat_map.columns


def test_the_worst_attack_stands_beside_the_mean(frames):
    [heat_map] = attack_heat_maps(frames, ABOVE_NATURAL)
    values = [one.estimate.mean for one in heat_map.groups["nothing"]["fedavg"]]
    assert values[-2] == pytest.approx(sum(values[:-2]) / 4)
    assert values[-1] == max(values[:-2])
    assert {one.mark for one in heat_map.groups["nothing"]["fedavg"][-2:]} == {""}


def test_failed_and_missing_cells_say_so(frames):
    [heat_map] = attack_heat_maps(frames, ABOVE_NATURAL)
    failed, partial = cell(heat_map, "krum", "bad_word"), cell(heat_map, "dim_krum", "bad_word")
    assert (failed.state, failed.reason) == ("failed", "out of memory")
    assert (partial.state, partial.finished, partial.expected) == ("finished", 2, 3)
    assert (cell(heat_map, "krum", "mean").finished, cell(heat_map, "krum", "mean").expected) == (9, 12)


def test_marks_stay_within_a_threat_model(frames):
    [heat_map] = attack_heat_maps(frames, ABOVE_NATURAL)
    for needs in ("nothing", "f"):
        column = [cells[1] for cells in heat_map.groups[needs].values()]
        best = [one for one in column if one.mark == "best"]
        assert len(best) == 1
        assert best[0].estimate.mean == min(one.estimate.mean for one in column)
    assert cell(heat_map, "fltrust", "bad_sentence").mark == ""


def test_several_settings_have_a_map_each_and_one_over_all():
    cells, rounds = benchmark_frames(models=("text_cnn", "gru"))
    over_all, *each = attack_heat_maps(read(cells, rounds), ACCURACY)
    assert [one.title for one in each] == ["text_cnn", "gru"]
    means = [cell(one, "krum", "bad_word").estimate.mean for one in each]
    assert cell(over_all, "krum", "bad_word").estimate.mean == pytest.approx(sum(means) / 2)
    assert cell(over_all, "krum", "bad_word").estimate.n == 3


def test_what_a_rule_costs_is_measured_seed_by_seed_against_averaging():
    cells, rounds = benchmark_frames(rules=("fedavg", "median"), attacks=("none",), seeds=(0, 1, 2))
    cells["accuracy"] = [0.80, 0.82, 0.84, 0.79, 0.80, 0.81]
    costs = clean_cost_map(read(cells, rounds))
    [cost] = costs.groups["nothing"]["median"]
    assert cost.estimate.mean == pytest.approx(0.02)
    # Differences .01, .02, .03: standard error .01 / sqrt 3, t(.975, 2) = 4.3027.
    assert cost.estimate.half_width == pytest.approx(4.3027 * 0.01 / 3**0.5, abs=1e-6)
    assert costs.groups["nothing"]["fedavg"][0].estimate.mean == 0


def test_without_averaging_the_cost_is_not_known():
    cells, rounds = benchmark_frames(rules=("median", "krum"))
    assert clean_cost_map(read(cells, rounds)) is None
