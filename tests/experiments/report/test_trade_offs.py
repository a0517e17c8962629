import itertools
import math
from pathlib import Path

import pytest

from hauberk.experiments.report.benchmark_report import ReportMeta, build_report
from hauberk.experiments.report.frames import read_frames
from hauberk.experiments.report.metrics import ABOVE_NATURAL, benchmark_metrics
from hauberk.experiments.report.trade_off_figure import label, spread, trade_off_picture, trade_off_svg
from hauberk.experiments.report.trade_offs import trade_offs
from hauberk.experiments.report.write import write_report
from hauberk.tasks.errors import UserError
from tests.helpers.bench_frames import ACCURACY, benchmark_frames, with_status

META = ReportMeta("small", "hauberk bench small.toml")


def frames_of(cells, rounds):
    return read_frames(cells, rounds, benchmark_metrics())


def test_a_rule_stands_where_its_worst_attack_and_nobody_put_it():
    cells, rounds = benchmark_frames(rules=("fedavg", "krum"), attacks=("none", "bad_word", "syntactic"))
    where = (cells["rule"] == "krum") & (cells["attack"] == "syntactic")
    cells.loc[where, ABOVE_NATURAL.name] = [0.2, 0.3, 0.4]
    cells.loc[~where & (cells["attack"] != "none"), ABOVE_NATURAL.name] = 0.1
    cells.loc[cells["attack"] == "none", ACCURACY.name] = 0.8
    (found,) = trade_offs(frames_of(cells, rounds))
    krum, fedavg = found.trades
    assert (krum.rule, krum.attack, krum.n_attacks) == ("krum", "syntactic", 2)
    assert krum.clean.mean == pytest.approx(0.8)
    # Student's t of two degrees of freedom: 4.3027 standard errors of .1 / sqrt 3
    assert (krum.worst.mean, krum.worst.high) == pytest.approx(
        (0.3, 0.3 + 4.3027 * 0.1 / math.sqrt(3)), abs=1e-4
    )
    assert fedavg.worst.mean == pytest.approx(0.1)


def test_each_setting_has_its_own_and_what_has_not_finished_is_in_none_of_them():
    cells, rounds = benchmark_frames(rules=("fedavg", "krum"), models=("text_cnn", "gru"))
    cells.loc[cells["attack"] == "syntactic", "attack_success_rate"] = float(
        "nan"
    )  # as of an untargeted attack
    cells = with_status(cells, "missing", rule="krum", attack="none", model="gru")
    cells = with_status(cells, "failed", "why", rule="fedavg", attack="bad_word", model="gru")
    cnn, gru = trade_offs(frames_of(cells, rounds))
    assert (cnn.title, gru.title) == ("text_cnn", "gru")
    assert {one.rule for one in cnn.trades} == {"fedavg", "krum"}
    (fedavg,) = gru.trades
    assert fedavg.n_attacks == gru.n_attacks - 1
    assert label(fedavg, gru).endswith(" (of 2)")


def test_nothing_is_drawn_where_nothing_can_be(tmp_path):
    frames = benchmark_frames(attacks=("none",))
    assert build_report(frames_of(*frames), META).trade_offs == []
    with pytest.raises(UserError, match="no rule has finished a cell without attack"):
        write_report(*frames, META, picture=tmp_path / "one.png")
    with pytest.raises(UserError, match=r"must end in \.png, \.svg, \.pdf, got 'one\.gif'"):
        trade_off_picture([], Path("one.gif"))


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_picture_is_a_file_of_its_kind(tmp_path, suffix, start):
    path = tmp_path / f"one{suffix}"
    assert write_report(*benchmark_frames(rules=("fedavg", "$a$")), META, picture=path) == [path]
    assert path.read_bytes().startswith(start)


def test_the_page_has_the_picture_in_its_own_colours():
    (found,) = trade_offs(frames_of(*benchmark_frames()))
    svg = trade_off_svg(found)
    assert svg.startswith('<svg role="img" aria-label="The worst attacker of 8 rules')
    assert "var(--ink)" in svg
    assert "#010101" not in svg
    assert all(one.rule in svg for one in found.trades)


def test_labels_keep_their_order_and_their_distance():
    assert spread([0.9, 0.5], 0.1) == [0.9, 0.5]
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.5, 0.4, 0.3])
    assert spread([0.1, 0.05, 0.0], 0.2) == pytest.approx([0.4, 0.2, 0.0])
    crowded = spread([0.3] * 12, 0.1)
    assert crowded[0] == pytest.approx(1)
    assert [a - b for a, b in itertools.pairwise(crowded)] == pytest.approx([0.1] * 11)
    assert spread([], 0.1) == []


def test_frames_that_know_of_no_attack_success_have_none(tmp_path):
    cells, rounds = benchmark_frames(rules=("a_$^$", "krum"), models=("text_cnn", "$x$"))
    plain = cells.drop(columns=[name for name in cells if name.startswith("attack_success")])
    assert trade_offs(read_frames(plain, rounds.head(0), (ACCURACY,))) == []
    assert "a_$^$" in trade_off_svg(trade_offs(frames_of(cells, rounds))[1])
