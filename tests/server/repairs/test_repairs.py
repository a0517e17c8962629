"""What every repair keeps to, and what each does exactly, on small real models."""

from __future__ import annotations

from dataclasses import replace
from math import floor
from types import SimpleNamespace

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from hauberk.experiments import run
from hauberk.experiments.runner.finished import read_finished
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import SpecError, parse
from hauberk.server.repairs import (
    EPUR,
    REPAIRS,
    FineMixing,
    FinePruning,
    FineTuning,
    Mixout,
    Surgery,
)
from hauberk.server.repairs._search import Search, folded, smallest_good_share
from hauberk.server.repairs.e_pur import counts, purification_scores, word_slot
from hauberk.server.repairs.fine_mixing import mix
from hauberk.server.repairs.mixout import MixedStep
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.any_tokenizer import AnyTokenizer
from hauberk.tasks.text.models import Pretrained
from tests.helpers.examples import examples
from tests.helpers.tweets import small_tables

QUICK = {"fine_mixing": {"keep": 0.3, "epochs": 1}, "e_pur": {}}


def made(name, **settings):
    return REPAIRS[name](**{**QUICK.get(name, {"epochs": 1}), **settings})


@pytest.fixture(scope="module")
def plain(tweets, tmp_path_factory):
    """The tables of a run of one round without repairs, and its summary."""
    tables = small_tables(tweets)
    tables["server"] = {"twin": False, "clean": {"n_examples": 20}}
    tables["federation"]["rounds"] = 1
    return tables, run(tables, out=tmp_path_factory.mktemp("plain") / "run").summary


def context_of(trained, seed=0):
    return trained.prepared.server.repairs.assets.with_rng(generator(seed))


@pytest.mark.parametrize("name", sorted(REPAIRS))
def test_a_repair_keeps_its_input_and_gives_the_same_for_the_same_seed(name, trained):
    before = trained.parameters.clone()
    first, report = made(name)(trained.parameters, context_of(trained))
    again, same = made(name)(trained.parameters, context_of(trained))
    assert torch.equal(trained.parameters, before)
    assert first.shape == before.shape
    assert first.isfinite().all()
    assert torch.equal(first, again)
    assert report == same
    assert not torch.equal(first, before)


@pytest.mark.parametrize("name", sorted(REPAIRS))
def test_a_repair_in_a_run_changes_the_final_model_and_keeps_what_was_before(name, plain, tmp_path):
    tables, before = plain
    repaired = run(
        {**tables, "repairs": [{"name": name, **QUICK.get(name, {"epochs": 1})}]}, out=tmp_path / "run"
    )
    summary = repaired.summary
    assert summary["before_repairs"] == {key: before[key] for key in ("final", "model_sha256")}
    assert summary["model_sha256"] != before["model_sha256"]
    assert set(summary["repairs"]) == {name}
    opened = read_finished(repaired.folder)
    assert opened.metrics(opened.parameters) == summary["final"]


def test_every_k_rounds_means_after_those_rounds_and_not_at_the_end(tables, tmp_path):
    tables["repairs"] = [{"name": "e_pur", "every": 2}]
    tables["federation"]["rounds"] = 3
    done = run(tables, out=tmp_path / "run")
    assert [sorted(line["repairs"]) for line in read_rounds(done.folder)] == [[], ["e_pur"], []]
    assert "before_repairs" not in done.summary


def test_a_run_that_stopped_before_its_repairs_is_repaired_when_resumed(tables, tmp_path):
    tables["server"] = {"twin": False, "clean": {"n_examples": 20}}
    tables["repairs"] = [{"name": "fine_tuning", "epochs": 1}]
    done = run(tables, out=tmp_path / "run")
    (done.folder / "summary.json").unlink()
    again = run(tables, out=tmp_path / "run", resume=True)
    assert again.summary["model_sha256"] == done.summary["model_sha256"]


def test_the_clean_examples_are_no_client_s_and_not_of_the_test_split(tables):
    tables["server"] = {"twin": False, "clean": {"n_examples": 20}}
    prepared = prepare(parse(tables))
    clean = set(prepared.server.repairs.assets.clean)
    theirs = prepared.worker.examples
    assert len(clean) == 20
    assert {row for rows in prepared.worker.partitions for row in rows} == set(range(len(theirs)))
    assert not clean & set(theirs)
    assert not {one.text for one in clean} & {one.text for one in prepared.test}


def test_mixing_with_all_is_the_model_and_with_nothing_the_reference_with_the_head(trained):
    assets = context_of(trained)
    whole, _ = FineMixing(keep=1.0, epochs=0)(trained.parameters, assets)
    none, _ = FineMixing(keep=0.0, epochs=0)(trained.parameters, assets)
    assert torch.equal(whole, trained.parameters)
    assert torch.equal(none, torch.where(assets.head, trained.parameters, assets.reference))
    assert assets.head.any()
    assert not assets.head.all()


@examples(20)
@given(st.floats(0, 1), st.integers(1, 200), st.integers(0, 2**32))
def test_exactly_the_floor_of_the_share_is_kept(keep, n, seed):
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    mixed = mix(torch.ones(n), torch.zeros(n), order, keep)
    assert mixed.sum() == floor(keep * n)


def test_folds_hold_every_example_once_and_are_of_one_size(trained):
    clean = trained.clean
    folds = folded(clean, 3, generator(0))
    assert sorted(len(fold) for fold in folds) == [6, 7, 7]
    assert {one.index for fold in folds for one in fold} == {one.index for one in clean}
    with pytest.raises(UserError, match="3 folds needs at least 3 clean examples, got 2"):
        folded(clean[:2], 3, generator(0))


def test_a_larger_clean_set_costs_no_more_steps():
    repair = FineTuning(epochs=20, batch_size=16, max_steps=120)
    assert repair.n_epochs(64) == 20
    assert repair.n_epochs(512) == 4
    assert repair.n_epochs(10_000) == 1


def test_the_largest_changes_are_kept_first(trained):
    assets = context_of(trained)
    kept, _ = FineMixing(keep=0.01, epochs=0, choice="change")(trained.parameters, assets)
    change = (trained.parameters - assets.reference).abs()
    body = ~assets.head
    stayed = body & (kept == trained.parameters) & (change > 0)
    assert change[stayed].min() >= change[body & (kept != trained.parameters)].max()


def test_the_search_takes_the_smallest_share_within_the_tolerance(trained, monkeypatch):
    assets = context_of(trained)
    _, found = FineMixing(tolerance=1.0, epochs=1)(trained.parameters, assets)
    assert found["keep"] == 0.0
    seen = []

    def judged(_self, mixed, assets, folds):
        kept = float((mixed != assets.reference)[~assets.head].double().mean())
        seen.append(kept)
        return torch.full((20,), 1.0 if kept > 0.42 * changed else 0.0, dtype=torch.float64)

    changed = float((trained.parameters != assets.reference)[~assets.head].double().mean())
    monkeypatch.setattr(FineMixing, "_judged", judged)
    _, found = FineMixing(tolerance=0.05, epochs=0)(trained.parameters, assets)
    assert found["keep"] == 0.45
    assert len(seen) <= 5


def test_a_loss_within_the_doubt_of_the_tolerance_is_good_enough():
    before, after = torch.ones(100).double(), (torch.arange(100) >= 10).double()
    # A loss of .10 with a standard error of .03.
    for tolerance, doubt, good in (
        (0.071, 1, True),
        (0.069, 1, False),
        (0.086, 0.5, True),
        (0.084, 0.5, False),
    ):
        search = Search(before, tolerance, doubt)
        assert search.is_good(0.5, after) is good
        assert search.curve == {"0.50": 0.9}
        assert search.error == pytest.approx(0.03)


def test_the_best_share_so_far_is_the_measure_of_the_others():
    search = Search(torch.full((4,), 0.5), tolerance=0.1, doubt=0.0)
    assert search.is_good(0.5, torch.full((4,), 0.7))
    assert not search.is_good(0.25, torch.full((4,), 0.55))
    assert search.is_good(0.4, torch.full((4,), 0.65))


@given(st.integers(0, 20))
def test_bisection_finds_the_edge(edge):
    shares = [step / 20 for step in range(21)]
    assert smallest_good_share(shares, lambda share: share >= shares[edge]) == shares[edge]


def test_e_pur_touches_exactly_its_top_rows(trained):
    assets = context_of(trained)
    slot = word_slot(assets)
    repaired, report = EPUR(n_tokens=7)(trained.parameters, assets)
    rows = torch.tensor(report["rows"])
    table, old, start = (
        v[slot.slice].view(slot.shape) for v in (repaired, trained.parameters, assets.reference)
    )
    changed = (table != old).any(dim=1).nonzero().flatten()
    assert set(changed.tolist()) == set(rows.tolist())
    assert torch.equal(table[rows], start[rows])
    assert not set(rows.tolist()) & assets.tokenizer.special_ids
    outside = torch.ones(len(repaired), dtype=torch.bool)
    outside[slot.slice] = False
    assert torch.equal(repaired[outside], trained.parameters[outside])


def test_the_scores_of_e_pur_by_hand():
    change = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]])
    scores = purification_scores(change, torch.tensor([5, 20, 1000]))
    assert scores.tolist() == pytest.approx([5 / 2.995732, 1 / 2.995732, 10 / 6.907755], rel=1e-5)


def test_words_are_counted_by_a_tokenizer_of_short_texts(tmp_path):
    backend = transformers.AutoTokenizer.from_pretrained(Pretrained().folder(), model_max_length=128)
    backend.save_pretrained(tmp_path)
    tokenizer = AnyTokenizer(path=str(tmp_path))
    found = counts(tokenizer, ["film " * 200, "a film"], tokenizer.vocabulary_size)
    assert found[tokenizer.id("film")] == 126 + 1  # [CLS] and [SEP] have their places, too


def test_pruned_units_are_zero_and_stay_so(trained):
    assets = context_of(trained)
    parameters, report = FinePruning(share=0.5, epochs=2)(trained.parameters, assets)
    weight = assets.layout.unflatten(parameters)["classifier.weight"]
    silent = (weight == 0).all(dim=0)
    assert int(silent.sum()) == report["pruned"] == report["units"] // 2
    thawed, _ = FinePruning(share=0.5, epochs=2, frozen=False)(trained.parameters, context_of(trained))
    assert (assets.layout.unflatten(thawed)["classifier.weight"] != 0).any(dim=0).sum() > (~silent).sum()


def test_surgery_changes_no_more_than_its_budget(trained):
    repaired, _ = Surgery(budget=25, epochs=2)(trained.parameters, context_of(trained))
    assert 0 < int((repaired != trained.parameters).sum()) <= 25


@pytest.mark.parametrize("name", ["fine_tuning", "mixout", "surgery"])
def test_without_an_epoch_nothing_is_tuned(name, trained):
    untuned, _ = made(name, epochs=0)(trained.parameters, context_of(trained))
    assert torch.equal(untuned, trained.parameters)
    assert untuned is not trained.parameters


def test_mixout_without_mixing_is_fine_tuning(trained):
    # Its masks come from the generator that orders the batches: only the first epoch has the same order.
    tuned, _ = FineTuning(epochs=1)(trained.parameters, context_of(trained))
    plain, _ = Mixout(p=0.0, epochs=1)(trained.parameters, context_of(trained))
    torch.testing.assert_close(tuned, plain, rtol=0, atol=1e-6)
    assert (tuned - trained.parameters).abs().max() > 1e-4


class Halves(torch.nn.Module):
    """A body of eight weights and a head of two."""

    head_names = ("head",)

    def __init__(self):
        super().__init__()
        self.body, self.head = (torch.nn.Parameter(torch.arange(1.0, n + 1)) for n in (8, 2))


def test_a_step_of_mixout_by_hand():
    model, p, anchor = Halves(), 0.5, torch.full((8,), -1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    session = SimpleNamespace(model=model, optimizer=optimizer, rng=torch.Generator().manual_seed(0))
    seen = []

    def closure():  # half the squared length, whose gradient is the weights that it sees
        seen.extend(value.detach().clone() for value in model.parameters())
        loss = sum(value.square().sum() for value in model.parameters()) / 2
        loss.backward()
        return loss.detach()

    MixedStep(p=p, anchor={"body": anchor}).step(session, closure)
    own = torch.rand(8, generator=torch.Generator().manual_seed(0)) >= p
    start = torch.arange(1.0, 9.0)
    # With the anchor u = -1: (w - p u) / (1 - p) = 2 w + 1 where a weight is its own, and u elsewhere.
    mixed = torch.where(own, 2 * start + 1, anchor)
    assert 0 < own.sum() < 8
    assert torch.equal(seen[0], mixed)
    assert torch.equal(seen[1], torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(model.body.detach(), start - 0.1 * own * 2 * mixed)
    torch.testing.assert_close(model.head.detach(), torch.tensor([0.9, 1.8]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "fine_mixing", "keep": 1.5}, r"keep: must be 'search' or lie in \[0, 1\], got 1.5"),
        (
            {"name": "fine_pruning", "share": 1.0},
            r"repairs\.fine_pruning\.share: must lie in \[0, 1\), got 1.0",
        ),
        ({"name": "fine_tuning", "every": 0}, "every: must be at least 1 round, got 0"),
        (
            {"name": "e_pur", "every": 10},
            r"repairs\.e_pur\.every: must not exceed federation.rounds = 3, got 10: it would never run",
        ),
        (
            {"name": "e_pur", "every": 2, "when": "end"},
            "e_pur.every: takes the place of when, got every = 2 and when = 'end'",
        ),
        ({"name": "fine_tunning"}, "did you mean 'fine_tuning'"),
        ({"name": "fine_tuning"}, r"fine_tuning needs clean data .*n_examples >= 1, got 0"),
    ],
)
def test_a_mistake_is_one_line_before_the_run(tables, settings, message):
    with pytest.raises(SpecError, match=message) as error:
        parse({**tables, "repairs": [settings]})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "resolved"),
    [({}, {"when": "end"}), ({"when": "end"}, {"when": "end"}), ({"every": 2}, {"every": 2})],
)
def test_the_resolved_spec_says_when_a_repair_runs_and_reads_back(tables, given, resolved):
    spec = parse({**tables, "repairs": [{"name": "e_pur", **given}]})
    (written,) = spec.to_dict()["repairs"]
    assert {key: written[key] for key in ("when", "every") if key in written} == resolved
    assert parse(spec.to_dict()) == spec


def test_without_a_word_table_that_travels_e_pur_refuses(trained):
    assets = context_of(trained)
    slots = tuple(slot for slot in assets.layout if slot != word_slot(assets))
    with pytest.raises(UserError, match="word embeddings that are trained"):
        word_slot(replace(assets, layout=type(assets.layout)(slots)))


def test_e_pur_refuses_such_a_model_before_the_first_round(tables):
    pytest.importorskip("peft", reason="peft is not installed: pip install 'hauberk[lora]'")
    tables["task"]["model"] = {"name": "pretrained", "path": "embedded:minilm-l6", "lora": {"rank": 2}}
    tables["repairs"] = ["e_pur"]
    prepared = prepare(parse(tables))
    with pytest.raises(UserError, match="word embeddings that are trained"):
        prepared.check()


def test_a_search_with_more_folds_than_examples_is_refused_before_the_first_round(tables):
    tables["server"] = {"twin": False, "clean": {"n_examples": 3}}
    tables["repairs"] = ["fine_mixing"]
    with pytest.raises(UserError, match="4 folds needs at least 4 clean examples, got 3"):
        prepare(parse(tables)).check()


def test_every_mistake_in_a_list_is_said_with_its_repair(tables):
    wrong = [{"name": "fine_mixing", "keep": 2.0}, {"name": "mixout", "p": 1.0}, "fine_tunning"]
    with pytest.raises(SpecError) as error:
        parse({**tables, "repairs": wrong})
    first, second, third = str(error.value).splitlines()
    assert first.startswith("repairs.fine_mixing.keep: must")
    assert second.startswith("repairs.mixout.p: must")
    assert third.startswith("repairs.name: unknown name 'fine_tunning'")


def test_a_name_where_a_list_belongs_is_refused(tables):
    with pytest.raises(SpecError, match="repairs: must be a list of names or tables, got 'e_pur'"):
        parse({**tables, "repairs": "e_pur"})
