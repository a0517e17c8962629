"""hauberk why: whom a run believed, and what decided about one client in one round."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from hauberk.experiments import run
from hauberk.experiments.analysis.belief import JudgedRound, Judgement, detection, judged_rounds
from hauberk.experiments.analysis.deciding import round_updates, tensor_shares, token_moves
from hauberk.experiments.cli import _main
from hauberk.experiments.runner.replay import open_replay
from hauberk.strategies.layout import layout_of
from tests.helpers.tweets import small_tables

WORDS = ("cf", "mn", "bb")


@pytest.fixture(scope="module")
def played(tweets, tmp_path_factory):
    """A finished run of four rounds, each of which asks five of six clients; it keeps the updates of round 2."""
    tables = small_tables(tweets)
    tables["federation"] = {"n_clients": 6, "clients_per_round": 5, "n_malicious": 2, "rounds": 3}
    # Plain steps: Adam moves every word that a client has read about as far.
    tables["training"] = {"epochs": 3, "batch_size": 8, "optimizer": {"name": "sgd", "lr": 0.5}}
    tables["aggregator"] = {"name": "dim_krum", "n_malicious": 1, "ratio": 0.01}
    tables["server"]["keep_updates"] = [2]
    return run(tables, out=tmp_path_factory.mktemp("why") / "run").folder


@pytest.fixture
def why(capsys):
    """Runs the command and returns exit code, output and errors."""

    def call(*arguments):
        code = _main(["why", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def changed(played, folder, change):
    """Returns a copy of the run with each recorded round changed."""
    copy = shutil.copytree(played, folder)
    lines = [json.loads(line) for line in (copy / "rounds.jsonl").open()]
    for line in lines:
        change(line)
    (copy / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return copy


def test_every_round_says_who_was_believed(played, why):
    code, out, _ = why(played)
    assert code == 0
    lines = {line["round"]: line for line in map(json.loads, (played / "rounds.jsonl").open())}
    assert set(lines) == {1, 2, 3}
    for number, line in lines.items():
        liars = [client for client in line["malicious"] if line["weights"][str(client)] == 0]
        (row,) = [each for each in out.splitlines() if each.strip().startswith(f"{number} ")]
        assert all(f"{client}!" in row for client in line["malicious"])
        assert f"{len(liars) / len(line['malicious']):.2f}" in row
    assert "TPR" in out
    assert (played / "why.png").read_bytes()[:4] == b"\x89PNG"


def test_ranks_follow_the_score_that_the_rule_decides_by(played):
    judged = judged_rounds(played)
    assert [each.number for each in judged] == [1, 2, 3]
    for each in judged:
        assert all(list(one.scores) == ["dim_krum", "dim_krum/memory"] for one in each.clients.values())
        believed = {one.rank for one in each.clients.values() if not one.kept_out}
        assert believed == {1, 2, 3}  # floor(5 / 2) + 1 of the five that were asked


def test_where_high_scores_are_trusted_the_highest_is_first(played, tmp_path):
    def trusted(line):
        line["report"] = {f"fltrust/score/{client}": client for client in line["sampled"]}
        total = sum(line["sampled"])
        line["weights"] = {str(client): client / total for client in line["sampled"]}

    judged = judged_rounds(changed(played, tmp_path / "run", trusted))
    assert len(judged) == 3
    for each in judged:
        assert each.clients[max(each.clients)].rank == 1
        assert each.clients[min(each.clients)].rank == 5


def test_scores_of_buckets_are_nobodys(played, tmp_path):
    copy = shutil.copytree(played, tmp_path / "run")
    spec = (copy / "spec.toml").read_text()
    (copy / "spec.toml").write_text(spec.replace("before = []", 'before = [{name = "bucketing"}]'))
    assert all(one.rank is None for each in judged_rounds(copy) for one in each.clients.values())


def judged(client, lied, weight, refused=None):
    kept_out = True if refused else None if weight is None else weight == 0
    return Judgement(client, lied, weight, {}, None, refused, kept_out)


def test_detection_by_hand():
    weighed = [
        judged(0, True, 0.0),
        judged(1, True, 0.5),
        judged(2, False, 0.5),
        judged(3, False, None, "no reply"),
    ]
    without = [judged(0, True, None), judged(1, False, None, "no reply"), judged(2, False, None)]
    rounds = [JudgedRound(n, {one.client: one for one in ones}) for n, ones in ((1, weighed), (2, without))]
    found = detection(rounds)
    assert (found.tpr, found.fpr) == (0.5, 0.5)
    assert rounds[0].liars_weight == 0.5
    assert rounds[1].liars_weight is None
    assert detection(rounds[1:]).tpr is None  # of a rule without weights a refusal alone says nothing
    assert detection(rounds[1:]).fpr is None


def test_a_refusal_is_shown_with_its_reason(played, tmp_path, why):
    def refused(line):
        line["refused"] = {str(line["sampled"][-1]): "error reply: [red]odd"} if line["round"] == 1 else {}

    copy = changed(played, tmp_path / "run", refused)
    code, out, _ = why(copy)
    assert code == 0
    assert f"round 1: client {max(judged_rounds(copy)[0].clients)} refused: error reply: [red]odd" in out


@pytest.mark.parametrize("number", [2, 3])
def test_the_triggers_words_are_what_a_liar_moved_alone(played, number):
    replay = open_replay(played)
    told = []
    found = round_updates(replay, number, told.append)
    assert found.whence == (
        "as they were kept" if number == 2 else "played again from the checkpoint of round 2"
    )
    assert len(told) == (number != 2)
    liar = next(client for client in found.kept.malicious)
    moves = token_moves(replay.prepared, found, liar, n=8)
    in_trigger = [one for one in moves if one.in_trigger]
    assert {one.token for one in in_trigger} == set(WORDS)
    assert max(one.place for one in in_trigger) <= 100  # of 30,522
    assert all(one.others < len(found.kept.malicious) for one in in_trigger)
    assert [one.distance for one in moves] == sorted((one.distance for one in moves), reverse=True)


def test_kept_and_replayed_updates_are_the_same(played, tmp_path):
    copy = shutil.copytree(played, tmp_path / "run")
    kept = round_updates(open_replay(played), 2, str)
    shutil.rmtree(copy / "updates")
    again = round_updates(open_replay(copy), 2, str)
    assert torch.equal(kept.kept.updates, again.kept.updates)
    torch.testing.assert_close(kept.update, again.update, atol=1e-6, rtol=1e-4)


def test_tensor_shares_by_hand():
    layout = layout_of({"a": torch.zeros(2), "b": torch.zeros(1, 2)})
    first, second = tensor_shares(
        layout, torch.tensor([1.0, 0.0, 4.0, 2.0]), torch.tensor([0.0, 0.0, 1.0, 2.0])
    )
    assert (first.name, first.shape, first.distance) == ("b", (1, 2), 3.0)
    assert (first.share, second.share) == pytest.approx((0.9, 0.1))
    assert (first.strongest, second.strongest) == (1.0, 0.0)


def test_one_client_in_one_round_and_alone(played, why):
    liar = judged_rounds(played)[2].clients
    liar = next(client for client, one in liar.items() if one.lied)
    code, out, _ = why(played, "--client", liar, "--round", 3)
    assert code == 0
    assert f"round 3, client {liar}!: " in out
    assert "(trigger)" in out
    assert "words.weight" in out
    assert (played / f"why-client-{liar}-round-3.png").exists()
    code, out, _ = why(played, "--client", liar)
    assert code == 0
    assert " of 5" in out
    code, out, _ = why(played, "--round", 3)
    assert code == 0
    assert out.count("believed") == 3


def test_what_was_not_there_is_one_line_and_exit_code_2(played, why, tmp_path):
    copy = shutil.copytree(played, tmp_path / "run")
    absent = ({0, 1, 2, 3, 4, 5} - judged_rounds(played)[0].clients.keys()).pop()
    (copy / "summary.json").unlink()
    for arguments, message in [
        ((tmp_path,), "holds no run"),
        ((copy,), "not finished"),
        ((played, "--round", 4), "must be one of the rounds 1 to 3, got 4"),
        ((played, "--client", 6), "must be a client that the run asked (0 to 5), got 6"),
        ((played, "--client", absent, "--round", 1), "must be a client that round 1 asked"),
    ]:
        code, _, errors = why(*arguments)
        assert code == 2
        assert message in errors
        assert len(errors.strip().splitlines()) == 1
