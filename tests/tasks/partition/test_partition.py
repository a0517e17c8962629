import sys

import numpy as np
import pytest
from datasets import Dataset
from flwr_datasets.partitioner import IidPartitioner, NaturalIdPartitioner

from hauberk.tasks.errors import UserError
from hauberk.tasks.partition import PARTITIONS, partition
from hauberk.tasks.partition.dirichlet import Dirichlet
from hauberk.tasks.partition.iid import Iid
from hauberk.tasks.partition.lognormal import Lognormal, whole_shares
from hauberk.tasks.partition.natural_id import NaturalId
from hauberk.tasks.partition.pathological import Pathological
from hauberk.tasks.partition.shard import Shard
from hauberk.tasks.partition.size import Size

LABELS = np.sort(np.random.default_rng(0).integers(0, 4, 600))
SETTINGS = [
    PARTITIONS["iid"](),
    PARTITIONS["dirichlet"](alpha=0.5),
    PARTITIONS["pathological"](classes_per_client=2),
    PARTITIONS["shard"](shards_per_client=2),
    PARTITIONS["size"](growth="linear"),
    PARTITIONS["size"](growth="square"),
    PARTITIONS["lognormal"](sigma=0.5),
    PARTITIONS["inner_dirichlet"](alpha=0.5),
    PARTITIONS["natural_id"](),
]
every = pytest.mark.parametrize("config", SETTINGS, ids=lambda config: config.described)


def classes(parts):
    return [np.bincount(LABELS[part], minlength=4) for part in parts]


@every
def test_every_row_goes_to_exactly_one_client(config):
    parts = partition(LABELS, 6, config, seed=0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(600))
    assert len(parts) == 6


@every
def test_the_seed_alone_decides(config):
    one, again, other = (partition(LABELS, 6, config, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_partition_of_the_table_is_tried_here():
    assert {config.name for config in SETTINGS} == set(PARTITIONS)


@pytest.mark.parametrize(("n", "clients"), [(600, 6), (601, 6), (605, 6), (7, 7), (10, 3)])
def test_the_iid_cut_is_the_librarys(n, clients):
    library = IidPartitioner(clients)
    library.dataset = Dataset.from_dict({"row": range(n)})
    ours = Iid().cut(np.zeros(n, np.int64), clients, seed=0)
    assert [part.tolist() for part in ours] == [
        list(library.load_partition(i)["row"]) for i in range(clients)
    ]


def test_iid_clients_see_every_class_although_the_rows_are_sorted():
    assert all(counts.min() > 10 for counts in classes(partition(LABELS, 6, Iid(), 0)))


def test_a_small_alpha_makes_clients_unlike_and_a_large_one_alike():
    def spread(alpha):
        counts = np.array(classes(partition(LABELS, 6, Dirichlet(alpha=alpha, min_size=1), 0)))
        return (counts / counts.sum(axis=1, keepdims=True)).std(axis=0).mean()

    assert spread(0.3) > 3 * spread(1000)


def test_pathological_clients_hold_as_many_classes_as_asked():
    found = classes(partition(LABELS, 8, Pathological(classes_per_client=2), 0))
    assert {int((counts > 0).sum()) for counts in found} == {2}


def test_a_class_of_its_own_is_the_librarys_cut():
    library = NaturalIdPartitioner(partition_by="label")
    library.dataset = Dataset.from_dict({"row": range(600), "label": LABELS.tolist()})
    ours = NaturalId().cut(LABELS, 4, seed=0)
    assert [part.tolist() for part in ours] == [list(library.load_partition(i)["row"]) for i in range(4)]


def test_natural_ids_have_one_owner_or_are_shared_where_they_are_too_few():
    two = classes(partition(LABELS, 2, NaturalId(), 0))
    assert [np.flatnonzero(counts).tolist() for counts in two] == [[0, 1], [2, 3]]
    owners = {
        tuple(np.flatnonzero(classes(partition(LABELS, 2, NaturalId(shuffle=True), s))[0])) for s in range(9)
    }
    assert len(owners) > 2
    six = classes(partition(LABELS, 6, NaturalId(), 0))
    assert [int(counts.argmax()) for counts in six] == [0, 0, 1, 1, 2, 3]
    assert all((counts > 0).sum() == 1 for counts in six)


def test_sizes_grow_as_asked():
    assert [len(part) for part in partition(LABELS, 3, Size(growth="linear"), 0)] == [100, 200, 300]


def test_lognormal_sizes_have_the_spread_that_is_asked_for():
    sizes = np.array([len(part) for part in partition(np.zeros(100_000), 500, Lognormal(min_size=1), 0)])
    assert np.log(sizes).std() == pytest.approx(0.5, rel=0.07)
    assert len(partition(LABELS, 6, Lognormal(sigma=30, min_size=40), 0)[0]) >= 40


def test_whole_shares_add_up_and_follow_the_weights():
    assert whole_shares(np.array([1.0, 2.0, 1.0]), 10) == [2, 6, 2]
    assert sum(whole_shares(np.array([0.3, 0.3, 0.4]), 101)) == 101


@pytest.mark.parametrize(
    ("config", "clients", "message"),
    [
        (Iid(), 601, "n_clients = 601 is more than 600 training rows"),
        (Size(growth="exponential"), 20, r"federation\.partition = size\(growth='exponential'\)"),
        (
            Dirichlet(alpha=0.01, min_size=90),
            6,
            r"federation\.partition = dirichlet\(alpha=0\.01, min_size=90\): ",
        ),
        (
            Pathological(classes_per_client=9),
            6,
            r"federation\.partition = pathological\(classes_per_client=9",
        ),
        (Shard(shards_per_client=500), 6, r"federation\.partition = shard\(shards_per_client=500\)"),
        (Lognormal(min_size=200), 6, "6 clients of 200 rows or more need 1200 rows, got 600"),
        (Dirichlet(alpha=-1.0), 6, r"federation\.partition = dirichlet\(alpha=-1\.0"),
    ],
)
def test_an_impossible_setting_is_one_line_that_names_it(config, clients, message):
    with pytest.raises(UserError, match=message) as caught:
        partition(LABELS, clients, config, 0)
    assert "\n" not in str(caught.value)


def test_a_client_without_data_is_named(monkeypatch):
    monkeypatch.setattr(Iid, "cut", lambda *_: [np.arange(600), np.arange(0)])
    with pytest.raises(UserError, match=r"iid\(\) leaves client 1 of 2 without data"):
        partition(LABELS, 2, Iid(), 0)


def test_an_unknown_growth_is_refused():
    with pytest.raises(UserError, match="linear, square or exponential, got 'cubic'"):
        Size(growth="cubic")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "flwr_datasets.partitioner", None)
    with pytest.raises(UserError, match=r"flwr_datasets.partitioner: pip install 'hauberk\[simulation\]'"):
        partition(LABELS, 4, Dirichlet(alpha=0.5), 0)


def test_an_impossible_spread_is_refused():
    with pytest.raises(UserError, match="sigma: must be above 0, got -1"):
        Lognormal(sigma=-1)
    with pytest.raises(UserError, match="min_size: must be at least 1 row, got 0"):
        Lognormal(min_size=0)
