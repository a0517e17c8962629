import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from string import ascii_letters

import numpy as np
import pytest
import torch

from hauberk.tasks import DATASETS, MODELS, PARTITIONS, TASKS, partition
from hauberk.tasks.digest import digest_of
from hauberk.tasks.errors import UserError, nearest
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.seeds import generator, seeded
from hauberk.tasks.text.batches import training_batches
from hauberk.tasks.text.metrics import accuracy, predict


@pytest.fixture
def files(tmp_path):
    """Two hundred short texts of which one word gives the class away."""
    for name, start in (("train", 0), ("test", 200)):
        rows = [
            {"text": f"the film {n} is {('bad', 'good')[n % 2]}", "label": n % 2}
            for n in range(start, start + 200)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "test")}


def task_of(files, **settings):
    model = MODELS["text_cnn"](embedding_dim=16, n_filters=8)
    return TASKS["text_classification"](dataset=DATASETS["files"](**files), model=model, **settings)


def train(model, encoded, epochs=12):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with seeded(generator(0, "train")):
        for epoch in range(epochs):
            for batch in training_batches(encoded, 16, generator(0, epoch)):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(batch), batch.labels).backward()
                optimizer.step()


def test_it_learns_and_its_bits_repeat(files):
    task = task_of(files)
    splits = task.splits(seed=0)
    vectors = []
    for _ in range(2):
        model = task.bind(splits).build(0)
        train(model, task.encode(splits.train))
        vectors.append(flatten(state_of(model)))
    test = task.encode(splits.test)
    assert accuracy(predict(model, test), test.labels) > 0.95
    assert torch.equal(*vectors)


def test_a_share_of_the_training_data_is_held_back_by_the_seed(files):
    one, again, other = (task_of(files, validation=0.25).splits(seed) for seed in (0, 0, 1))
    assert (len(one.train), len(one.validation), len(one.test)) == (150, 50, 200)
    assert one == again
    assert one.validation != other.validation
    assert one.test == other.test
    rows = [e.index for e in (*one.train, *one.validation)]
    assert sorted(rows) == list(range(200))
    assert [e.index for e in one.train] == sorted(e.index for e in one.train)


def test_a_part_of_the_training_data_is_drawn_by_the_seed(files):
    one, again, other = (task_of(files, n_train=30).splits(seed) for seed in (0, 0, 1))
    assert len(one.train) == 30
    assert one == again
    assert one.train != other.train
    assert [e.index for e in one.train] == sorted(e.index for e in one.train)
    assert len(one.test) == 200
    with pytest.raises(UserError, match=r"n_train: must be at most the 180 training examples, got 181"):
        task_of(files, n_train=181).splits(0)


def test_a_validation_file_is_used_and_nothing_is_held_back(files):
    splits = task_of(files | {"validation": files["test"]}).splits(0)
    assert (len(splits.train), len(splits.validation)) == (200, 200)


def test_encoded_examples_keep_labels_and_indices(files):
    task = task_of(files)
    examples = task.splits(0).test[5:8]
    encoded = task.encode(examples)
    assert encoded.index.tolist() == [5, 6, 7]
    assert encoded.labels.tolist() == [1, 0, 1]
    assert encoded.labels.dtype == encoded.index.dtype == np.int64
    assert len(task.encode([])) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 3}, r"task.max_length: must be at least 5 tokens, got 3"),
        ({"n_train": 0}, r"task.n_train: must be at least 1 example, got 0"),
        ({"validation": 1.0}, r"task.validation: must be a share in \[0, 1\), got 1.0"),
        ({"validation": -0.1}, r"task.validation: must be a share in \[0, 1\), got -0.1"),
    ],
)
def test_settings_outside_their_range_are_refused(files, settings, message):
    with pytest.raises(UserError, match=message):
        task_of(files, **settings)


def test_holding_everything_back_is_refused(files):
    with pytest.raises(UserError, match=r"task\.validation = 0\.999 leaves none of 200"):
        task_of(files, validation=0.999).splits(0)


def test_no_setting_is_called_name_which_chooses_the_class_in_a_spec():
    for table in (DATASETS, MODELS, PARTITIONS, TASKS):
        for kind in table.values():
            assert "name" not in {field.name for field in dataclasses.fields(kind)}


def test_nearest_names_what_was_meant_or_all_there_is():
    assert nearest("gruu", MODELS) == "did you mean 'gru'?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"


def fingerprint():
    """Returns digests of what the seed decides before a run and of a set, for one process to compare with another."""
    labels = np.arange(300) % 3
    total = hashlib.sha256()
    for name, settings in (("iid", {}), ("dirichlet", {"alpha": 0.5}), ("pathological", {})):
        for part in partition(labels, 4, PARTITIONS[name](**settings), 3):
            total.update(part.tobytes())
    for name, start in (("text_cnn", "pretrained"), ("gru", "random"), ("transformer", "random")):
        model = MODELS[name](embedding_dim=8, embedding=start).build(3, generator(3, "model"))
        total.update(flatten(state_of(model)).numpy().tobytes())
    raw = DATASETS["bbc_news"]().load()
    total.update(repr([(e.index, e.label) for e in raw.train]).encode())
    return f"{total.hexdigest()} {digest_of({*ascii_letters, ('a', 1)})}"


def test_another_process_with_another_hash_seed_draws_the_same():
    script = (
        f"import runpy, torch; torch.set_num_threads(1); print(runpy.run_path({__file__!r})['fingerprint']())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == fingerprint()
