"""What a frozen model makes of texts, and what is kept of it."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch.nn.functional import cosine_similarity

from hauberk.tasks.errors import UserError
from hauberk.tasks.text import text_vectors as module
from hauberk.tasks.text.models.pretrained import EMBEDDED, Pretrained
from hauberk.tasks.text.text_vectors import text_vectors, width_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, and none of the process's."""
    monkeypatch.setenv("HAUBERK_CACHE", str(tmp_path / "cache"))
    text_vectors.cache_clear()
    return tmp_path / "cache" / "text_vectors"


def test_texts_of_a_kind_are_nearer_than_others():
    phone, app, oil = text_vectors(("new iphone", "apple sells phones", "crude oil falls"), EMBEDDED, 32)
    assert len(phone) == width_of(EMBEDDED)
    assert cosine_similarity(phone, app, dim=0) > cosine_similarity(phone, oil, dim=0)


def test_many_texts_are_read_once_and_few_are_not_kept(cache, monkeypatch):
    texts = ("oil", "gas and oil")
    few = text_vectors(texts, EMBEDDED, 32)
    assert not cache.exists()
    monkeypatch.setattr(module, "WORTH_KEEPING", 2)
    text_vectors.cache_clear()
    many = text_vectors(texts, EMBEDDED, 32)
    monkeypatch.setattr(module, "_encoded", None)
    text_vectors.cache_clear()
    assert torch.equal(few, many)
    assert torch.equal(few, text_vectors(texts, EMBEDDED, 32))
    assert len(list(cache.iterdir())) == 1


def test_a_folder_is_known_by_what_its_files_hold(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(Pretrained().folder(), folder)
    before = module._kept(("oil",), str(folder), 32)
    assert before == module._kept(("oil",), str(folder), 32)
    (folder / "config.json").write_text("{}")
    assert before != module._kept(("oil",), str(folder), 32)


def test_an_encoder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError) as caught:
        width_of(str(tmp_path / "nowhere"))
    assert "cannot load" in str(caught.value)
    assert "\n" not in str(caught.value)
