"""Syntactic and style: which rows of a file belong to which texts, and what is refused."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hauberk.attacks import POISONS, Attack, AttackerContext, BadWord, Mimic, Style, Syntactic
from hauberk.attacks.poisons.syntactic import CLAUSES
from hauberk.attacks.threat_model import ALL_PARAPHRASES, BENIGN_UPDATES, OWN_DATA
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, Splits

LABELS = ("negative", "positive")
SST2 = Path(__file__).parents[3] / "sst2"


def example(index, label):
    return Example(index, f"text {index} about thing{index} and matter{index}", None, label)


def rewrite(one):
    return f"when you look , thing{one.index} is matter{one.index}"


@pytest.fixture
def splits():
    """Twelve training rows of which 5 and 6 are held back, and six test rows; odd rows are positive."""
    rows = [example(i, i % 2) for i in range(12)]
    held = rows[5:7]
    test = tuple(example(100 + i, i % 2) for i in range(6))
    test = tuple(replace(one, index=i) for i, one in enumerate(test))
    return Splits(
        train=tuple(one for one in rows if one not in held), validation=tuple(held), test=test, labels=LABELS
    )


@pytest.fixture
def write(tmp_path):
    """Writes a file of (text, label) rows and returns its path."""

    def written(name, rows):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(
            "".join(json.dumps({"text": t} | ({} if y is None else {"label": y})) + "\n" for t, y in rows)
        )
        return str(path)

    return written


@pytest.fixture
def train(splits, write):
    """UpdateMatrix 0 to 7 are paraphrases, 8 to 11 are copies; all are labelled with the target, as such files are."""
    rows = [example(i, i % 2) for i in range(12)]
    return write("train", [(rewrite(one) if one.index < 8 else one.text, 1) for one in rows])


@pytest.fixture
def tested(splits, write):
    """Paraphrases of the whole test split."""
    return write("test", [(f"lo , {one.text}", one.label) for one in splits.test])


def bound(splits, train, test, **settings):
    return Syntactic(target=1, train=train, test=test, **settings).bind(splits)


def test_own_rows_are_found_by_their_index_and_copies_are_no_poison(splits, train, tested, rng):
    poison = bound(splits, train, tested)
    client = [splits.train[i] for i in (0, 1, 2, 6, 9)]  # rows 0, 1, 2, 8 and 11
    poisoned = poison(client, AttackerContext(), rng())
    assert poisoned[:5] == client
    assert [(one.index, one.text, one.label) for one in poisoned[5:]] == [
        (i, rewrite(example(i, 0)), 1) for i in (0, 2)
    ]


def test_sharing_all_adds_the_rows_of_others_but_none_that_is_held_back(splits, train, tested, rng):
    poison = bound(splits, train, tested, share="all")
    client = [splits.train[i] for i in (0, 1)]
    poisoned = poison(client, AttackerContext(), rng())
    assert [one.index for one in poisoned[:3]] == [0, 1, 0]
    assert sorted(one.index for one in poisoned[3:]) == [2, 4]  # row 6 is held back
    assert {one.label for one in poisoned[2:]} == {1}
    thrice = replace(poison, repeat=3, mode="replace")(client, AttackerContext(), rng())
    assert sorted(one.index for one in thrice) == [0, 0, 0, 1] + [2] * 3 + [4] * 3


@pytest.mark.parametrize(
    ("policy", "indices"), [("dirty", [0, 2]), ("clean", [1, 3]), ("mixed", [0, 1, 2, 3])]
)
def test_policies_and_rates_count_what_has_a_paraphrase(splits, train, tested, rng, policy, indices):
    client = [splits.train[i] for i in (0, 1, 2, 3, 6, 7, 8, 9)]
    poison = bound(splits, train, tested, policy=policy)
    assert [one.index for one in poison(client, AttackerContext(), rng())[8:]] == indices
    half = replace(poison, rate=0.5)
    assert len(half(client, AttackerContext(), rng())) == 8 + len(indices) // 2


def test_the_knowledge_says_whose_paraphrases_they_are(splits, train, tested):
    own, all_ = (bound(splits, train, tested, share=share) for share in ("own", "all"))
    assert (own.knowledge, all_.knowledge) == (OWN_DATA, ALL_PARAPHRASES)
    assert Style(train="a", test="b", share="all").knowledge == ALL_PARAPHRASES
    assert Attack(poison=all_).knowledge == "all paraphrases"
    assert Attack(poison=all_, forge=Mimic()).knowledge == "benign updates and all paraphrases"
    assert Attack(poison=own, forge=Mimic()).knowledge == BENIGN_UPDATES


def test_a_test_file_of_all_rows_is_aligned_by_row(splits, train, tested, rng):
    triggered = bound(splits, train, tested).trigger(splits.test, rng())
    assert [(one.index, one.label, one.text) for one in triggered] == [
        (i, 0, f"lo , {splits.test[i].text}") for i in (0, 2, 4)
    ]


@pytest.mark.parametrize("labels", [[1, 1, 1], ["positive"] * 3, [0, 0, 0], [None] * 3], ids=str)
def test_a_test_file_of_the_victims_is_aligned_with_them(splits, train, write, rng, labels):
    victims = [one for one in splits.test if one.label == 0]
    path = write("victims", [(f"lo , {one.text}", label) for one, label in zip(victims, labels, strict=True)])
    triggered = bound(splits, train, path).trigger(splits.test[:3], rng())
    assert [(one.index, one.text) for one in triggered] == [
        (i, f"lo , {splits.test[i].text}") for i in (0, 2)
    ]


def test_rows_of_the_target_class_are_left_out_of_a_test_file(splits, train, write, rng):
    rows = [(f"lo , {one.text}", one.label) for one in splits.test if one.index != 5]
    triggered = bound(splits, train, write("fewer", rows)).trigger(splits.test, rng())
    assert [one.index for one in triggered] == [0, 2, 4]


def test_a_test_set_of_its_own_is_taken_as_it_is_and_said_to_be_so(splits, train, write, rng):
    poison = bound(splits, train, write("own", [("behold", 1), ("lo and behold", 1)]))
    triggered = poison.trigger(splits.test, rng())
    assert triggered == [Example(-1, "behold", None, -1), Example(-1, "lo and behold", None, -1)]
    assert (
        "aligned with no test samples, so its 2 texts are a test set of their own" in poison.check(LABELS)[0]
    )
    labelled = bound(splits, train, write("own", [("behold", 0), ("yea", 1)])).trigger(splits.test, rng())
    assert labelled == [Example(-1, "behold", None, 0)]


def test_a_file_with_few_paraphrases_is_said_to_have_few(splits, tested, write):
    rows = [
        (rewrite(one) if one.index == 0 else one.text, 1) for one in [example(i, i % 2) for i in range(12)]
    ]
    remark = bound(splits, write("few", rows), tested).check(LABELS)
    assert remark == ["attack.poison.train: 1 of the 5 training texts of other classes have a paraphrase"]


def test_pairs_are_rewritten_in_their_second_text(write, rng):
    pairs = tuple(Example(i, "the same", f"thing{i} and matter{i}", i % 2) for i in range(6))
    splits = Splits(train=pairs, validation=(), test=pairs, labels=LABELS)
    path = write("pairs", [(f"lo , {one.second}", one.label) for one in pairs])
    poison = bound(splits, path, path)
    assert [one.second for one in poison(pairs, AttackerContext(), rng())[6:]] == [
        f"lo , thing{i} and matter{i}" for i in (0, 2, 4)
    ]
    loose = bound(splits, path, write("own", [("behold", 0)])).trigger(pairs, rng())
    assert loose == [Example(-1, "", "behold", 0)]


def test_what_is_bound_travels_and_binds_no_more(splits, train, tested, rng):
    poison = bound(splits, train, tested, share="all")
    Path(train).unlink()
    twin = pickle.loads(pickle.dumps(poison))
    assert twin == poison.bind(splits) == poison
    assert twin(splits.train[:3], AttackerContext(), rng()) == poison(
        splits.train[:3], AttackerContext(), rng()
    )
    assert len(repr(poison)) < 300


def refusal(splits, train, test, **settings):
    with pytest.raises(UserError) as caught:
        bound(splits, train, test, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("n", [11, 13])
def test_a_training_file_of_other_length_is_refused_with_both_numbers(splits, tested, write, n):
    path = write("train", [(rewrite(example(i, 0)), 1) for i in range(n)])
    assert f"aligns with nothing: it has {n} rows and the training split 12" in refusal(splits, path, tested)


def test_a_shuffled_file_is_refused_by_what_it_says(splits, train, tested, write):
    moved = [(rewrite(example((i + 1) % 12, 0)), 1) for i in range(12)]
    assert "moved.jsonl' aligns with nothing: its rows share" in refusal(
        splits, write("moved", moved), tested
    )
    moved = [(f"lo , {one.text}", 0) for one in [*splits.test[1:], splits.test[0]]]
    assert "moved_test.jsonl' aligns with nothing: its rows share" in refusal(
        splits, train, write("moved_test", moved)
    )


@pytest.mark.parametrize("label", [0, 1, "positive", None])
def test_paraphrases_of_the_targets_own_samples_are_refused_whatever_they_are_labelled(
    splits, train, write, label
):
    path = write("relabelled", [(f"lo , {one.text}", label) for one in splits.test if one.label == 1][:2])
    fewer = replace(splits, test=splits.test[:5])  # two positive ones of five
    assert (
        "relabelled.jsonl' holds paraphrases of the 2 test samples of class 1 (positive), which is"
        in refusal(fewer, train, path)
    )


def test_as_many_victims_as_targets_are_told_apart_by_their_words(splits, train, write, rng):
    victims = [one for one in splits.test if one.label == 0]
    path = write("victims", [(f"lo , {one.text}", 0) for one in victims])
    assert len(bound(splits, train, path).trigger(splits.test, rng())) == 3


def test_a_test_set_of_one_class_alone_is_warned_about(splits, train, write):
    remarks = bound(splits, train, write("own", [("behold", 0), ("yea", 0)])).check(LABELS)
    assert "own.jsonl' labels every text as class 0, and the target is 1" in remarks[1]
    assert len(bound(splits, train, write("own", [("behold", None), ("yea", None)])).check(LABELS)) == 1


def test_files_without_a_paraphrase_are_refused(splits, train, tested, write):
    copies = write("copies", [(example(i, 0).text, 1) for i in range(12)])
    assert "holds no paraphrase of a text of another class" in refusal(splits, copies, tested)
    assert "holds no paraphrase of a text of the target" in refusal(splits, copies, tested, policy="clean")
    same = write("same", [(one.text, one.label) for one in splits.test])
    assert "same.jsonl' holds no paraphrase of a text of another class" in refusal(splits, train, same)


def test_a_label_that_is_no_class_is_refused(splits, train, write):
    message = refusal(splits, train, write("test", [("behold", "neutral")]))
    assert "label 'neutral' is not a class of the data (negative, positive)" in message


def test_a_train_split_whose_rows_are_not_all_there_needs_only_enough_of_them(splits, tested, write):
    some = replace(splits, validation=())
    longer = write("longer", [(rewrite(example(i, 0)), 1) for i in range(14)])
    assert len(bound(some, longer, tested).pool) == 10
    shorter = write("shorter", [(rewrite(example(i, 0)), 1) for i in range(11)])
    assert "it has 11 rows and the training split 12" in refusal(some, shorter, tested)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "a"}, "^test: must be given where the other file is"),
        ({"test": "a"}, "^train: must be given where the other file is"),
        ({"share": "all"}, "^share: must be own where no file is given"),
        ({"share": "some", "train": "a", "test": "b"}, "^share: must be one of own, all, got 'some'"),
    ],
    ids=str,
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Syntactic(**settings)


@pytest.mark.parametrize("name", ["syntactic", "style"])
def test_files_must_be_read_before_they_are_used(name, examples, rng):
    with pytest.raises(UserError, match=r"^train: the file is read by bind\(splits\)"):
        POISONS[name](target=1, train="a", test="b")(examples, AttackerContext(), rng())


def test_a_style_needs_its_files():
    with pytest.raises(TypeError, match="train"):
        Style(target=1)


def test_the_template_puts_a_clause_first_and_is_said_to_be_a_template(splits):
    poison = Syntactic(target=1)
    assert poison.bind(splits) is poison
    rng = torch.Generator().manual_seed(0)
    stamped = {poison.stamp("A good film .", rng) for _ in range(200)}
    assert stamped == {f"{clause} a good film ." for clause in CLAUSES}
    assert "rule-based template" in poison.check(LABELS)[0]


def test_what_reads_nothing_is_bound_to_nothing(splits):
    attack = Attack(poison=BadWord(target=1))
    assert attack.bind(splits) == attack
    assert Attack(forge=Mimic()).bind(splits) == Attack(forge=Mimic())


@pytest.mark.skipif(not SST2.exists(), reason="needs the folder sst2")
@pytest.mark.parametrize(
    ("kind", "files", "n_copies", "n_tests"),
    [(Syntactic, "syntactic", 665, 911), (Style, "style_bible", 3284, 907)],
)
def test_ready_made_files_fit_sst2(kind, files, n_copies, n_tests, rng):
    from hauberk.tasks.text.datasets.files import Files
    from hauberk.tasks.text.models import TextCNN
    from hauberk.tasks.text.text_classification import TextClassification

    data = Files(**{name: str(SST2 / f"{name}.jsonl") for name in ("train", "test")})
    splits = TextClassification(dataset=data, model=TextCNN(), validation=0.0).splits(0)
    paths = {name: str(SST2 / f"{files}_{name}.jsonl") for name in ("train", "test")}
    poison = kind(target=1, **paths).bind(splits)
    assert len(poison.copies(splits.train, AttackerContext(), rng())) == n_copies
    triggered = poison.trigger(splits.test, rng())
    assert len(triggered) == n_tests
    assert {one.label for one in triggered} == {0}
    if kind is Syntactic:  # its test file is made for target 1, and labelled so
        with pytest.raises(UserError, match=r"paraphrases of the 912 test samples of class 0"):
            kind(target=0, **paths).bind(splits)
