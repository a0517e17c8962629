import math

import pandas as pd
import pytest

from hauberk.experiments.report.figures import figure
from hauberk.experiments.report.frames import NOBODY_LIES, read_frames
from hauberk.experiments.report.metrics import ABOVE_NATURAL
from hauberk.tasks.base import Metric
from hauberk.tasks.errors import UserError
from tests.helpers.bench_frames import ACCURACY, DEFAULT_METRICS, benchmark_frames

NOTHING = pd.DataFrame()


def read(cells, rounds=NOTHING, metrics=DEFAULT_METRICS):
    return read_frames(cells, rounds, metrics)


def test_what_varies_are_facets_and_the_rest_is_constant():
    cells, rounds = benchmark_frames(models=("text_cnn", "gru"), federation__n_malicious=(1, 2))
    frames = read(cells, rounds)
    assert frames.facets == ("model", "federation.n_malicious")
    assert frames.constants == {"dataset": "sst2", "partition": "iid"}
    assert frames.settings[1] == ("text_cnn", "2")
    assert frames.describe(frames.settings[1]) == "text_cnn · federation.n_malicious 2"
    assert len(frames.at(("gru", "1"))) == len(cells) / 4


def test_a_setting_that_some_cells_lack_is_a_setting_too():
    cells, _ = benchmark_frames(rules=("fedavg",), attacks=("none",), aggregator__before=("nnm", None))
    assert read(cells).settings == [("nnm",), ("-",)]


def test_a_key_that_another_one_decides_tells_nothing_apart():
    cells, _ = benchmark_frames(models=("text_cnn", "gru"))
    cells["task.model.name"] = cells["model"]
    cells["aggregator.n_malicious"] = cells["rule"].str.len()
    assert read(cells).facets == ("model",)


def test_a_cell_that_has_not_finished_is_of_its_attack_s_threat_model():
    cells, _ = benchmark_frames()
    cells.loc[cells["rule"] == "krum", "knowledge"] = None
    known = read(cells).cells.groupby("attack")["knowledge"].unique()
    assert known["syntactic"] == ["all paraphrases"]
    assert set(read(cells.drop(columns="knowledge")).cells["knowledge"]) == {NOBODY_LIES, "not known"}


def test_above_natural_is_the_rate_minus_the_twin_s():
    cells, _ = benchmark_frames(rules=("fedavg",), attacks=("none", "bad_word"))
    read_cells = read(cells).cells
    attacked = read_cells["attack"] == "bad_word"
    expected = cells["attack_success_rate"] - cells["attack_success_natural"]
    assert read_cells.loc[attacked, ABOVE_NATURAL.name].tolist() == expected[attacked].tolist()
    assert read_cells.loc[~attacked, ABOVE_NATURAL.name].isna().all()
    assert set(read_cells.loc[~attacked, "knowledge"]) == {NOBODY_LIES}


def test_the_column_in_which_nobody_lies_comes_first_and_the_input_is_left_alone():
    cells, _ = benchmark_frames(attacks=("bad_word", "none"))
    before = cells.copy()
    assert read(cells).attacks == ["none", "bad_word"]
    pd.testing.assert_frame_equal(cells, before)


def test_the_primary_metric_has_a_value_where_nobody_lies():
    cells, _ = benchmark_frames()
    assert read(cells).primary == ACCURACY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cells: cells.drop(columns="needs"), "lacks needs"),
        (lambda cells: cells.iloc[:0], "no cells"),
        (lambda cells: cells.assign(status="done"), "must be one of finished, failed, missing, got done"),
        (
            lambda cells: pd.concat([cells, cells.iloc[:1]]),
            "two rows are the same cell .rule=fedavg, attack=none",
        ),
    ],
)
def test_frames_that_are_not_as_they_must_be_are_refused_in_one_line(change, message):
    cells, _ = benchmark_frames(rules=("fedavg",))
    with pytest.raises(UserError, match=message) as error:
        read(change(cells))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.8768, ACCURACY, "87.7"),
        (-0.0001, ACCURACY, "0.0"),
        (math.nan, ACCURACY, "–"),
        (1234.56, Metric("sharpe", "Sharpe ratio"), "1235"),
        (0.5, Metric("sharpe", "Sharpe ratio"), "0.5"),
    ],
)
def test_shares_are_written_in_percent_with_one_decimal(value, metric, text):
    assert figure(value, metric) == text
