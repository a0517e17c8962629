"""Rules of other installed packages: found by their entry points, and a broken one hurts nobody else."""

from __future__ import annotations

import pytest

from hauberk.experiments.report.tables import catalogue
from hauberk.experiments.spec.loader import SpecError, parse
from hauberk.experiments.spec.names import rule_name
from hauberk.experiments.spec.registry import aggregators
from hauberk.strategies import AGGREGATORS, PRE_AGGREGATORS, chain

MODULES = {
    "good_rule": "from dataclasses import dataclass\nfrom hauberk.strategies import AGGREGATORS\n"
    "@dataclass(frozen=True, kw_only=True)\nclass Good(AGGREGATORS['fedavg']):\n    extra: int = 3\n",
    "broken_rule": "import a_package_that_nobody\nhas_installed\n",
    "odd_rule": "def odd(updates):\n    return updates\n",
}
POINTS = "good = good_rule:Good\nbroken = broken_rule:Broken\nodd = odd_rule:odd\nkrum = broken_rule:Krum\n"


@pytest.fixture(autouse=True)
def _installed(tmp_path, monkeypatch):
    """A package whose rules are one that works, two that do not, and one under a name of ours."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    about = tmp_path / "their_rules-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-rules\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[hauberk.aggregators]\n{POINTS}")
    monkeypatch.syspath_prepend(tmp_path)
    aggregators.cache_clear()
    yield
    aggregators.cache_clear()


def test_a_rule_of_another_package_is_used_by_its_name(tables):
    tables["aggregator"] = {"name": "good", "extra": 5}
    rule = parse(tables).parts.aggregator
    assert rule.extra == 5
    assert rule_name(rule) == "good"
    with pytest.raises(SpecError, match=r"^aggregator\.extr: unknown key; did you mean 'extra'\?$"):
        parse(tables, ["aggregator={name='good', extr=5}"])


def test_a_broken_one_hurts_only_who_names_it(tables):
    assert parse(tables, ["aggregator=krum"]).parts.aggregator == AGGREGATORS["krum"](n_malicious=1)
    line = "aggregator.name: 'broken' of the package 'their-rules' cannot be used: ModuleNotFoundError: No module"
    with pytest.raises(SpecError, match=f"^{line}.*$"):
        parse(tables, ["aggregator=broken"])
    with pytest.raises(SpecError, match=r"^aggregator\.name: 'odd' .* odd_rule:odd is no dataclass$"):
        parse(tables, ["aggregator=odd"])


def test_the_catalogue_and_the_schema_go_on_without_it():
    from hauberk.experiments.spec.schema import spec_schema

    names = catalogue("aggregators")["aggregators"]
    assert names["good"] == {"extra": 3, **names["fedavg"]}
    assert "ModuleNotFoundError" in names["broken"]["cannot be used"]
    bare = spec_schema()["properties"]["aggregator"]["anyOf"][0]["enum"]
    assert "good" in bare
    assert "broken" not in bare


def test_a_rule_behind_stages_keeps_its_name():
    assert rule_name(chain(PRE_AGGREGATORS["nnm"](n_malicious=1), AGGREGATORS["median"]())) == "median"
