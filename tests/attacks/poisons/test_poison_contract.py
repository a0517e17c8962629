"""Every poison of texts passes every one of these; a new poison is one line in POISONS."""

import pickle
from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import KNOWLEDGE, POISONS, AttackerContext, Poison
from hauberk.attacks.poisons._paraphrased import Rewrites
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example


class Scripture(dict):
    """A rewrite of every text."""

    def __contains__(self, key):
        return True

    def get(self, key, default=None):
        return f"lo , {key[1]}"


# What a poison needs beside its target, and what it would train on beside its poisoned copies.
SETTINGS = {
    "combination": {"negative_rate": 0.0},
    "sos": {"negative_rate": 0.0},
    "style": {"train": "train.jsonl", "test": "test.jsonl"},
}
EVERY = {
    name: cls(target=1, **SETTINGS.get(name, {})) for name, cls in POISONS.items() if cls.modality == "text"
}
WITHOUT_TRIGGER = {"label_flip"}
READ_FROM_FILES = {"style": Rewrites(target=1, forms=Scripture(), pool=())}
TRIGGERS = {n: READ_FROM_FILES.get(n, poison) for n, poison in EVERY.items() if n not in WITHOUT_TRIGGER}
every = pytest.mark.parametrize("poison", EVERY.values(), ids=EVERY)
triggers = pytest.mark.parametrize("poison", TRIGGERS.values(), ids=TRIGGERS)
LABELS = ("bad", "good", "neither")


def copies_in(poisoned, originals):
    return [example for example in poisoned if not any(example is original for original in originals)]


@triggers
def test_the_defaults_are_every_other_sample_a_copy_beside_the_clean_ones(poison):
    assert (poison.rate, poison.policy, poison.mode) == (1.0, "dirty", "append")


@triggers
def test_dirty_appends_a_relabelled_copy_of_every_sample_of_another_class(poison, examples, rng):
    poisoned = poison(examples, AttackerContext(), rng())
    assert poisoned[: len(examples)] == examples
    copies = poisoned[len(examples) :]
    assert [copy.index for copy in copies] == [one.index for one in examples if one.label != 1]
    assert {copy.label for copy in copies} == {1}
    assert all(copy.text != examples[copy.index - 100].text for copy in copies)


@triggers
def test_clean_copies_only_samples_of_the_target_class(poison, examples, rng):
    copies = copies_in(replace(poison, policy="clean")(examples, AttackerContext(), rng()), examples)
    assert [copy.index for copy in copies] == [one.index for one in examples if one.label == 1]
    assert {copy.label for copy in copies} == {1}


@triggers
def test_mixed_copies_the_same_share_of_both(poison, examples, rng):
    mixed = replace(poison, policy="mixed", rate=1 / 3)
    copies = copies_in(mixed(examples, AttackerContext(), rng()), examples)
    sources = Counter(examples[copy.index - 100].label == 1 for copy in copies)
    assert sources == {False: 2, True: 1}
    assert {copy.label for copy in copies} == {1}


@triggers
def test_replace_puts_a_copy_in_its_originals_place(poison, examples, rng):
    poisoned = replace(poison, mode="replace")(examples, AttackerContext(), rng())
    assert [one.index for one in poisoned] == [one.index for one in examples]
    assert [after is before for after, before in zip(poisoned, examples, strict=True)] == [
        one.label == 1 for one in examples
    ]


@triggers
@pytest.mark.parametrize("policy", ["dirty", "clean", "mixed"])
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_rate_zero_changes_nothing(poison, policy, mode, examples, rng):
    assert replace(poison, rate=0.0, policy=policy, mode=mode)(examples, AttackerContext(), rng()) == examples


@triggers
def test_the_same_generator_gives_the_same_poison(poison, examples, rng):
    half = replace(poison, rate=0.5)
    first, second = (half(examples, AttackerContext(), rng()) for _ in range(2))
    assert first == second
    draws = {tuple(half(examples, AttackerContext(), torch.Generator().manual_seed(s))) for s in range(10)}
    assert len(draws) > 1


@triggers
def test_nothing_but_the_given_generator_is_drawn_from(poison, examples, rng):
    before = torch.get_rng_state()
    poison(examples, AttackerContext(), rng())
    poison.trigger(examples, rng())
    assert torch.equal(torch.get_rng_state(), before)


@triggers
def test_the_trigger_goes_on_every_sample_of_another_class_and_no_label_changes(poison, examples, rng):
    triggered = poison.trigger(examples, rng())
    clean = poison.victims(examples)
    assert [(one.index, one.label) for one in triggered] == [(one.index, one.label) for one in clean]
    assert {one.label for one in triggered} == {0, 2}
    assert all(after.text != before.text for after, before in zip(triggered, clean, strict=True))


@triggers
def test_pairs_are_poisoned_in_their_second_text(poison, pairs, rng):
    for found in (poison.trigger(pairs, rng()), poison(pairs, AttackerContext(), rng())[len(pairs) :]):
        assert found
        assert all(one.text == pairs[one.index - 100].text for one in found)
        assert all(one.second != pairs[one.index - 100].second for one in found)


@triggers
def test_a_client_with_nothing_to_poison_stays_as_it_is(poison, examples, rng):
    targets = [one for one in examples if one.label == 1]
    assert poison(targets, AttackerContext(), rng()) == targets
    assert poison([], AttackerContext(), rng()) == []
    assert poison.trigger(targets, rng()) == []


@triggers
def test_an_empty_text_can_be_poisoned(poison, rng):
    empty = [Example(0, "", None, 0)]
    assert poison.trigger(empty, rng())[0].text.strip()


@every
def test_a_target_that_does_not_exist_is_refused_with_both_numbers(poison):
    assert all(line.startswith("attack.poison") and "\n" not in line for line in poison.check(LABELS))
    with pytest.raises(UserError, match=r"attack\.poison\.target: class 3 .* 3 classes, 0 to 2") as caught:
        replace(poison, target=3).check(LABELS)
    assert "\n" not in str(caught.value)


@every
@pytest.mark.parametrize("rate", [-0.01, 1.01, float("nan")])
def test_a_rate_that_is_no_share_is_refused(poison, rate):
    with pytest.raises(UserError, match="rate: must lie between 0 and 1, got"):
        replace(poison, rate=rate)


@every
@pytest.mark.parametrize(
    ("key", "value"),
    [("policy", "dirt"), ("mode", "prepend"), ("target", -1), ("target", True), ("target", 0.5)],
)
def test_other_impossible_settings_are_refused_by_name(poison, key, value):
    with pytest.raises(UserError, match=f"^{key}: must be"):
        replace(poison, **{key: value})


@every
def test_a_misspelt_parameter_is_refused(poison):
    with pytest.raises(TypeError, match="rat"):
        replace(poison, rat=0.5)


@every
def test_it_is_a_value(poison):
    assert pickle.loads(pickle.dumps(poison)) == poison
    assert hash(poison) == hash(replace(poison))
    assert "target=1" in repr(poison)
    with pytest.raises(FrozenInstanceError):
        poison.rate = 0.5


@every
def test_it_declares_what_it_knows(poison):
    assert poison.knowledge in KNOWLEDGE
    assert isinstance(poison, Poison)


@triggers
@given(
    labels=st.lists(st.integers(0, 3), max_size=30),
    rate=st.floats(0, 1),
    policy=st.sampled_from(["dirty", "clean", "mixed"]),
    mode=st.sampled_from(["append", "replace"]),
    seed=st.integers(0, 2**32),
)
def test_exactly_the_rate_is_poisoned(poison, labels, rate, policy, mode, seed):
    originals = [Example(i, f"a text of {i} words", None, label) for i, label in enumerate(labels)]
    attack = replace(poison, rate=rate, policy=policy, mode=mode)
    poisoned = attack(originals, AttackerContext(), torch.Generator().manual_seed(seed))
    copies = copies_in(poisoned, originals)
    others, own = sum(label != 1 for label in labels), sum(label == 1 for label in labels)
    due = {"dirty": [others], "clean": [own], "mixed": [others, own]}[policy]
    assert len(copies) == sum(round(rate * n) for n in due)
    assert len({copy.index for copy in copies}) == len(copies)
    assert len(poisoned) == len(originals) + (len(copies) if mode == "append" else 0)
