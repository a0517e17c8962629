"""Detectors on a finished run, and the guard before its model."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hauberk.experiments import run
from hauberk.experiments.analysis.detect import detect_run, named, show_detect
from hauberk.experiments.analysis.screen_texts import guard_run, show_guard
from hauberk.experiments.analysis.text_input import read_texts
from hauberk.experiments.runner.finished import read_finished
from hauberk.server.detectors import DAN, STRIP
from hauberk.tasks.errors import UserError

FIGURES = ("auroc", "far", "frr", "threshold", "n", "passes", "reasons")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def finished(tables, folder) -> Path:
    """A small run whose server has 100 clean texts; every test of this file finds the same."""
    tables["federation"] |= {"n_clients": 2, "rounds": 1}
    tables["server"] = {"twin": False, "clean": {"n_examples": 100}}
    tables["attack"]["poison"]["target"] = 0
    return run(tables, out=folder / "finished").folder


def test_a_run_is_judged_on_what_it_was_evaluated_on(finished):
    reports = detect_run(finished, ["dan", {"name": "dan", "layers": "last"}, STRIP(n_copies=2)])
    assert list(reports) == ["dan", "dan#2", "strip"]
    again = detect_run(finished, [DAN()])["dan"]
    for key in FIGURES:
        assert reports["dan"][key] == again[key]
    assert reports["dan"]["protected"] == "0"
    assert (reports["dan"]["passes"], reports["strip"]["passes"]) == (1, 2)
    json.dumps(reports, allow_nan=False)


def test_the_clean_examples_are_the_run_s_own_and_apart_from_the_test_split(finished):
    opened = read_finished(finished)
    assert len(opened.clean) == 100
    assert not set(opened.clean) & {*opened.prepared.worker.examples, *opened.prepared.test}
    rate = json.loads((finished / "summary.json").read_text())["final"]["attack_success_rate"]
    answers = opened.view.logits(opened.triggered()).argmax(dim=1)
    assert float((answers == 0).double().mean()) == pytest.approx(rate)


def test_without_an_attack_a_class_must_be_named(finished, tables, tmp_path):
    tables["federation"]["n_malicious"] = 0
    honest = run(tables, out=tmp_path / "honest").folder
    with pytest.raises(UserError, match="DAN must be told which class to protect"):
        detect_run(honest, ["dan"])
    report = detect_run(honest, [DAN(protected=0)])["dan"]
    assert report["auroc"] is None
    assert report["reasons"]["auroc"] == "no triggered test sample is predicted as the protected class"
    assert report["frr"]["10%"] is not None


def test_a_run_without_clean_examples_is_refused(tables, tmp_path):
    tables["federation"]["rounds"] = 1
    bare = run(tables, out=tmp_path / "bare").folder
    with pytest.raises(UserError, match=r"server.clean.n_examples: .*at least 2 clean examples.*has 0"):
        detect_run(bare, ["dan"])


def test_unknown_names_and_settings_are_refused_in_words():
    with pytest.raises(UserError, match=r"detectors.name: unknown name 'dam'; did you mean 'dan'"):
        named(["dam"])
    with pytest.raises(UserError, match=r"detectors.poling: unknown key; did you mean 'pooling'"):
        named([{"name": "dan", "poling": "cls"}])


def test_a_guard_judges_what_is_taken_for_the_protected_class(finished):
    opened = read_finished(finished)
    texts = [example.text for example in opened.prepared.test]
    verdicts = guard_run(finished, texts, "dan", 0.1)
    assert [each["text"] for each in verdicts] == texts
    answers = opened.view.logits(opened.prepared.test).argmax(dim=1).tolist()
    assert [each["prediction"] for each in verdicts] == [opened.view.labels[answer] for answer in answers]
    for each in verdicts:
        assert each["judged"] == (each["prediction"] == "0") == (each["score"] is not None)
        assert each["verdict"] == (
            "rejected" if each["judged"] and each["score"] > each["threshold"] else "accepted"
        )
    judged = [each for each in verdicts if each["judged"]]
    rejected = sum(each["verdict"] == "rejected" for each in judged)
    assert rejected / len(judged) == detect_run(finished, ["dan"])["dan"]["frr"]["10%"]
    assert (
        guard_run(finished, texts[::-1], "strip", 0.1)[0] == guard_run(finished, texts[-1:], "strip", 0.1)[0]
    )


def test_a_guard_says_how_many_examples_a_rate_needs(finished):
    message = (
        "false_rejection_rate: an allowed rate of 0.01 is below 1/20, one of the 20 validation samples; "
        "allow more, or run with more than server.clean.n_examples = 100"
    )
    with pytest.raises(UserError, match=message):
        guard_run(finished, ["a text"], "dan", 0.01)
    with pytest.raises(UserError, match="false_rejection_rate: must lie between 0 and 1, got 5"):
        guard_run(finished, ["a text"], "dan", 5)


def test_texts_come_as_json_lines_or_as_plain_lines(tmp_path):
    lines, plain = tmp_path / "texts.jsonl", tmp_path / "texts.txt"
    lines.write_text('{"text": "one", "label": 3}\n\n{"text": "two", "second": "more"}\n')
    plain.write_text("one\r\n\n[two]\n")
    assert read_texts(lines) == [("one", None), ("two", "more")]
    assert read_texts(plain) == [("one", None), ("[two]", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "line 1: not JSON: "),
        (b'\n{"txt": "a"}', 'line 2: must be an object with a "text", got {"txt": "a"}'),
        (b'["a"]', 'must be an object with a "text"'),
        (b'{"text": "a", "second": 1}', '"second" must be a text, got 1'),
        (b" \n", "holds no texts"),
        (b"\xff", "not UTF-8 at byte 0"),
        (None, "No such file"),
    ],
)
def test_a_file_of_texts_that_is_wrong_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "texts.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message.replace("{", r"\{").replace("[", r"\[")):
        read_texts(path)


def shown(show, *arguments, as_json, width=100):
    console = Console(file=io.StringIO(), width=width)
    show(console, *arguments, as_json=as_json)
    return console.file.getvalue()


def test_reports_and_verdicts_are_shown_as_tables_or_json(finished):
    reports = detect_run(finished, ["dan", "onion"])
    assert json.loads(shown(show_detect, reports, as_json=True)) == json.loads(json.dumps(reports))
    table = shown(show_detect, reports, as_json=False, width=80)
    assert f"{reports['dan']['auroc']:.3f}" in table
    assert "dan: no 1%: an allowed rate of 0.01 is below 1/20" in table
    assert "onion: language model: a word trigram" in table
    verdicts = guard_run(finished, ["[bold] so sad and so angry " * 20, "fine"], "dan", 0.1)
    lines = shown(show_guard, verdicts, as_json=True).splitlines()
    assert [json.loads(line) for line in lines] == verdicts
    table = shown(show_guard, verdicts, as_json=False)
    assert "[bold] so" in table
    assert "of 2 texts rejected" in table


def test_the_benchmark_prints_a_row_for_each_run_and_detector(finished, monkeypatch, capsys):
    path = Path(__file__).parents[3] / "benchmarks" / "detectors.py"
    spec = importlib.util.spec_from_file_location("detectors_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = [str(finished), "--detectors", "dan", '{"name": "strip", "n_copies": 2}', "--at", "1%"]
    monkeypatch.setattr(sys, "argv", ["detectors.py", *given])
    module.main()
    out = capsys.readouterr().out
    assert "| finished | dan | 0." in out
    assert "| finished | strip | 0." in out
    assert "finished, dan: an allowed rate of 0.01 is below 1/20" in out
