"""hauberk verify: the chain of a run's records, and its rounds played again."""

from __future__ import annotations

import json
import shutil

import pytest

from hauberk.clients.worker import Worker
from hauberk.experiments import run
from hauberk.experiments.cli import _main
from hauberk.strategies import AGGREGATORS
from tests.helpers.tweets import small_tables


@pytest.fixture(scope="module")
def played(tweets, tmp_path_factory):
    """A finished run: the rule remembers, colluders forge, a repair ends it, and client 3 fails once."""
    tables = small_tables(tweets)
    tables["federation"]["n_clients"] = 6
    tables["aggregator"] = {"name": "dim_krum", "ratio": 0.01, "noise": 0.1}
    tables["attack"]["forge"] = {"name": "alie"}
    tables["repairs"] = [{"name": "mixout", "when": "end", "epochs": 1}]
    tables["server"]["clean"] = {"n_examples": 20}
    fit = Worker.fit

    def failing(worker, instruction, **how):
        if (instruction.round, instruction.client_id) == (2, 3):
            raise MemoryError("the machine's fault")
        return fit(worker, instruction, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "fit", failing)
        return run(tables, out=tmp_path_factory.mktemp("verify") / "run").folder


@pytest.fixture
def copy(played, tmp_path):
    """A copy of the run that a test may change."""
    return shutil.copytree(played, tmp_path / "copy")


@pytest.fixture
def verify(capsys):
    """Runs the command and returns exit code and all that it says."""

    def call(*arguments):
        code = _main(["verify", *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + captured.err

    return call


def edit(path, number, change):
    """Changes one line of the records in place."""
    lines = path.read_text().splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    path.write_text("".join(lines))


def slower(line):
    return line.replace('"wall": ', '"wall": 1')


def another_spec(line):
    return line.replace('"spec": "', '"spec": "f')


def rechained(folder):
    """Writes the chain anew, as a forger who knows how would."""
    from hauberk.experiments.runner.chain import hash_of, root_of
    from hauberk.experiments.runner.records import to_json

    before, lines = root_of(json.loads((folder / "identity.json").read_text())), []
    for line in map(json.loads, (folder / "rounds.jsonl").open()):
        lines.append(to_json({**line, "before": before}))
        before = hash_of(lines[-1])
    (folder / "rounds.jsonl").write_text("".join(f"{line}\n" for line in lines))
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "chain": before}))


def test_all_rounds_and_the_repairs_give_the_same_bits(played, verify):
    code, text = verify(played)
    assert code == 0
    assert "3 records" in text
    assert text.strip().endswith("equal: rounds 1 to 3, played again from the initial model, the same bits")


def test_one_round_is_played_from_its_checkpoint_or_forward_to_it(played, verify):
    code, text = verify(played, "--round", 3)
    assert code == 0
    assert "equal: round 3, played again from the checkpoint of round 2" in text
    code, text = verify(played, "--round", 1)
    assert code == 0
    assert "equal: round 1, played again from the initial model" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: edit(f / "rounds.jsonl", 2, slower), "line 3: holds another hash of line 2"),
        (lambda f: edit(f / "rounds.jsonl", 3, slower), "line 3: is not what was recorded"),
        (lambda f: edit(f / "rounds.jsonl", 2, lambda _: ""), "line 2: must be of round 2, and is of round 3"),
        (lambda f: edit(f / "rounds.jsonl", 3, lambda _: ""), "holds 2 whole lines, and the run had 3 rounds"),
        (lambda f: edit(f / "rounds.jsonl", 3, lambda s: s[:50]), "holds 2 whole lines"),
        (lambda f: edit(f / "rounds.jsonl", 2, lambda s: s[:50] + "\n"), "line 2: damaged"),
        (lambda f: edit(f / "rounds.jsonl", 3, lambda s: s + "{}"), "something follows the line of round 3"),
        (lambda f: edit(f / "identity.json", 2, another_spec), "line 1: hangs on another run"),
        (lambda f: edit(f / "spec.toml", 3, lambda s: s.replace("0", "1")), "another spec"),
    ],
)  # fmt: skip
def test_what_was_changed_later_shows(copy, verify, change, message):
    change(copy)
    code, text = verify(copy)
    assert (code, message in text) == (1, True), text
    assert len(text.strip().splitlines()) <= 2


def test_a_chain_that_was_forged_whole_does_not_survive_the_replay(copy, verify):
    edit(copy / "rounds.jsonl", 2, lambda s: s.replace('"weights": {"0": 0.', '"weights": {"0": 1.'))
    rechained(copy)
    assert verify(copy, "--records-only")[0] == 0
    code, text = verify(copy)
    assert code == 1
    assert "round 1: equal" in text
    assert "differs: round 2: weights.0 was 1." in text


def test_a_checkpoint_of_another_model_shows(copy, verify, played):
    number, folder = 2, copy / "checkpoint"
    from hauberk.experiments.runner.identity import read_identity
    from hauberk.server import checkpoint

    state = checkpoint.load(folder, read_identity(copy), at_most=number)
    state.parameters[0] += 1
    checkpoint.save(folder, state, read_identity(copy))
    code, text = verify(copy, "--round", number + 1)
    assert code == 1
    assert "differs: the checkpoint of round 2: model_sha256 was" in text


def test_changed_data_show(tweets, tmp_path, verify):
    for name in ("train", "test"):
        shutil.copy(tweets / f"{name}.jsonl", tmp_path / f"{name}.jsonl")
    tables = small_tables(tmp_path)
    tables["federation"]["rounds"] = 1
    folder = run(tables, out=tmp_path / "run").folder
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"text": "one more", "label": 1}\n')
    code, text = verify(folder)
    assert code == 1
    assert "another data" in text


def test_a_resumed_run_has_one_chain(copy, verify, played):
    (copy / "summary.json").unlink()
    for path in copy.glob("checkpoint/state-0003.*"):
        path.unlink()
    spec = copy / "spec.toml"
    assert _main(["run", str(spec), "--out", str(copy), "--resume", "-q", "--set", "name=again"]) == 0
    assert verify(copy)[0] == 0
    assert len({json.loads((f / "summary.json").read_text())["model_sha256"] for f in (copy, played)}) == 1


def test_where_nothing_can_be_said_it_is_one_line_and_exit_code_2(copy, verify, tmp_path, tables):
    def refused(*arguments):
        code, text = verify(*arguments)
        assert code == 2
        assert text.count("hauberk:") == 1
        return text

    assert "holds no run" in refused(tmp_path / "absent")
    assert "must be one of the rounds 1 to 3, got 4" in refused(copy, "--round", 4)
    old = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps({key: old[key] for key in old if key != "chain"}))
    assert "an earlier version" in refused(copy)
    (copy / "summary.json").unlink()
    assert "not finished" in refused(copy)
    own = {**tables, "federation": {"n_clients": 5, "rounds": 1}, "attack": None}
    folder = run(own, aggregator=AGGREGATORS["median"](), out=tmp_path / "own").folder
    assert "came from Python" in refused(folder)
