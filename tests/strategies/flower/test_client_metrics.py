import pytest

from hauberk.strategies.flower.client_metrics import mean_metrics


def test_metrics_are_averaged_by_examples():
    means = mean_metrics([{"loss": 1.0, "recall": [0.0, 1.0]}, {"loss": 4.0, "recall": [1.0, 0.5]}], [1, 2])
    assert means == {"loss": 3.0, "recall": pytest.approx([2 / 3, 2 / 3])}


def test_one_odd_report_neither_breaks_nor_owns_the_mean():
    honest = [{"loss": 1.0}, {"loss": 1.0}, {"loss": 1.0}]
    assert mean_metrics([*honest, {"loss": float("nan"), "extra": 5.0}], [1, 1, 1, 1]) == {"loss": 1.0}
    assert mean_metrics([*honest, {"loss": [1.0, 2.0]}], [1, 1, 1, 1]) == {"loss": 1.0}
    assert mean_metrics([*honest, {}], [1, 1, 1, 1]) == {"loss": 1.0}
    owned = mean_metrics([*honest, {"loss": 9.0}], [1, 1, 1, 1e7])["loss"]
    assert owned == pytest.approx((3 + 3 * 9) / 6)


def test_a_metric_that_few_report_is_left_out():
    assert mean_metrics([{"a": 1}, {"b": 1}], [1, 1]) == {}
