import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from hauberk.experiments.report.benchmark_report import ReportMeta
from hauberk.experiments.report.frames import NOBODY_LIES
from hauberk.experiments.report.metrics import ABOVE_NATURAL
from hauberk.experiments.report.write import write_report
from hauberk.tasks.base import Metric
from tests.helpers.bench_frames import benchmark_frames, with_status

META = ReportMeta(
    "small", "hauberk bench small.toml --out runs/small", {"hauberk": "0.1.0", "torch": "2.13.0"}
)


def written(tmp_path, cells, rounds, meta=META, **options):
    html, markdown = tmp_path / "docs" / "report.html", tmp_path / "docs" / "report.md"
    write_report(cells, rounds, meta, html=html, markdown=markdown, **options)
    return html.read_text(), markdown.read_text()


class Balanced(HTMLParser):
    """Fails where a tag is not closed; collects what would be fetched."""

    VOID = frozenset({"meta", "link", "br", "path", "rect", "use", "input", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.fetched = [], []

    def handle_starttag(self, tag, attrs):
        self.fetched += [
            value for name, value in attrs if name == "src" or (tag == "link" and name == "href")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def unfinished():
    cells, rounds = benchmark_frames(rules=("fedavg", "median", "krum", "dim_krum", "fltrust"))
    cells = with_status(cells, "failed", "killed: <needs> 2 GB | has 1", rule="krum", attack="bad_word")
    return with_status(cells, "missing", rule="fltrust", seed=2), rounds


@pytest.fixture(scope="module")
def texts(tmp_path_factory, unfinished):
    return written(tmp_path_factory.mktemp("report"), *unfinished)


def test_the_page_is_whole_and_fetches_nothing(texts):
    parser = Balanced()
    parser.feed(re.sub(r"<style>.*?</style>|<script.*?</script>", "", texts[0], flags=re.DOTALL))
    assert parser.open == []
    assert parser.fetched == ["data:,"]
    assert "url(http" not in texts[0]
    assert "@import" not in texts[0]


def test_every_cell_is_a_row_whether_it_finished_or_not(texts, unfinished):
    table = texts[0].split('id="cells"')[1].split("</table>")[0]
    assert table.count("<tr>") == len(unfinished[0]) + 1
    assert table.count(">failed<") == 3
    assert table.count(">missing<") == 5


def test_reasons_are_shown_and_escaped(texts):
    page, markdown = texts
    assert "killed: &lt;needs&gt; 2 GB | has 1" in page
    assert "<needs>" not in page
    assert "killed: &lt;needs> 2 GB \\| has 1" in markdown


def test_command_and_versions_are_said(texts):
    for text in texts:
        assert META.command in text
        assert "torch 2.13.0" in text


def test_the_markdown_has_the_page_s_numbers(texts):
    page, markdown = texts
    row = next(line for line in markdown.splitlines() if line.startswith("| median | nothing |"))
    values = re.findall(r"\d+\.\d", row)
    assert len(values) == 12
    assert all(f">{value}<" in page or f"± {value}<" in page for value in values)


def test_markdown_tables_have_as_many_cells_in_every_row(texts):
    blocks = re.findall(r"(?:^\|.*\n)+", texts[1], flags=re.MULTILINE)
    assert blocks
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1


def test_the_same_results_make_the_same_files(tmp_path):
    frames = benchmark_frames(rules=("fedavg", "krum", "dim_krum"), attacks=("bad_word", "syntactic"))
    assert written(tmp_path / "first", *frames) == written(tmp_path / "second", *frames)


def test_links_lead_from_the_page_to_the_cells_folders(tmp_path):
    meta = ReportMeta("small", "hauberk bench", root=tmp_path / "results")
    page, _ = written(tmp_path, *benchmark_frames(rules=("fedavg",), attacks=("none",)), meta=meta)
    link = re.search(r'<a href="([^"]*cells/000000000000)"', page).group(1)
    assert (tmp_path / "docs" / link).resolve() == (tmp_path / "results" / "cells" / "000000000000")


def test_csv_and_parquet_hold_the_cells_with_what_was_added(tmp_path, unfinished):
    csv, parquet = tmp_path / "cells.csv", tmp_path / "cells.parquet"
    assert write_report(*unfinished, META, csv=csv, parquet=parquet) == [csv, parquet]
    first, second = pd.read_csv(csv, keep_default_na=True), pd.read_parquet(parquet)
    assert len(first) == len(second) == len(unfinished[0])
    assert first[ABOVE_NATURAL.name].tolist() == pytest.approx(
        second[ABOVE_NATURAL.name].tolist(), nan_ok=True
    )
    assert set(second.loc[second["attack"] == "none", "knowledge"]) == {NOBODY_LIES}


def test_names_with_signs_of_markup_and_formulas_stay_names(tmp_path):
    cells, rounds = benchmark_frames(rules=("krum $a$ <b>", 'dim "krum" $_'), attacks=("none", "bad_word"))
    page, _ = written(tmp_path, cells, rounds, metrics=(Metric("accuracy", 'accuracy "<top>"'),))
    figures = page.split('id="ranks"')[1].split("<section")[0]
    assert "krum $a$ &lt;b&gt;" in figures
    assert 'dim "krum" $_' in figures.replace("&quot;", '"').replace("&#34;", '"')
    parser = Balanced()
    parser.feed(re.sub(r"<style>.*?</style>|<script.*?</script>", "", page, flags=re.DOTALL))
    assert parser.open == []


def test_a_column_of_several_types_is_text_in_parquet(tmp_path):
    cells, rounds = benchmark_frames(rules=("fedavg",), attacks=("none",), training__lr=(0.1, "auto"))
    [path] = write_report(cells, rounds, META, parquet=tmp_path / "cells.parquet")
    assert set(pd.read_parquet(path)["training.lr"]) == {"0.1", "auto"}
    cells["note"] = [1, None, "x", True, 2.5, [3]]
    [path] = write_report(cells, rounds, META, parquet=tmp_path / "cells.parquet")
    assert pd.read_parquet(path)["note"].fillna("-").tolist() == ["1", "-", "x", "True", "2.5", "[3]"]


@pytest.mark.parametrize("status", ["failed", "missing"])
def test_a_grid_of_which_nothing_finished_is_still_a_report(tmp_path, status):
    cells, rounds = benchmark_frames(rules=("fedavg", "krum"), seeds=(0,))
    page, markdown = written(tmp_path, with_status(cells, status, "no space left"), rounds.iloc[:0])
    assert "no space left" in page
    assert f"10 {status}" in markdown


def test_one_cell_alone_is_a_report(tmp_path):
    cells, rounds = benchmark_frames(rules=("fedavg",), attacks=("bad_word",), seeds=(0,))
    page, markdown = written(tmp_path, cells, rounds)
    assert "1 seed: no intervals and no tests" in page
    assert "| fedavg | nothing | 90.0 |" in markdown


def test_other_tasks_bring_their_own_metrics(tmp_path):
    cells, rounds = benchmark_frames(rules=("fedavg", "krum"), attacks=("none", "scaled"))
    cells, rounds = (frame.rename(columns={"accuracy": "sharpe"}) for frame in (cells, rounds))
    cells["sharpe"] = 3 * cells["sharpe"] - 2
    page, markdown = written(tmp_path, cells, rounds, metrics=(Metric("sharpe", "Sharpe ratio"),))
    assert "## Sharpe ratio\n" in markdown
    assert "Sharpe ratio of fedavg minus that of the rule" in page
    assert "accuracy" not in markdown


def test_a_large_grid_stays_below_two_megabytes(tmp_path):
    rules = tuple(f"rule_number_{i}" for i in range(30))
    cells, rounds = benchmark_frames(rules=rules, models=("text_cnn", "gru"), rounds=20)
    assert len(cells) == 900
    [page] = write_report(cells, rounds, META, html=tmp_path / "report.html")
    assert page.stat().st_size < 2_000_000
