import pytest
import torch

from hauberk.experiments import run
from hauberk.experiments.runner.records import read_rounds
from hauberk.server.forensics import RATIO, forensics
from hauberk.strategies import AGGREGATORS, layout_of
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.update_matrix import CollectedUpdates

N, D = 8, 400
LAYOUT = layout_of({"weight": torch.empty(20, 20)})
FROM_GRAM = {"stealth/norm", "stealth/benign_norm", "stealth/cosine", "stealth/benign_cosine"}
FROM_DISTANCES = {"theory/observed_error", "theory/krum_rank", "stealth/krum_rank"}
FROM_STRONGEST = {"stealth/dim_krum_rank"}


@pytest.fixture
def collected():
    """Eight clients' rows; client 10 lies a little."""
    rows = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    rows[0, :40] += 2
    return CollectedUpdates(rows, tuple(range(10, 10 + N)), (1.0,) * N, {})


def geometry_of(name, collected, **settings):
    return AGGREGATORS[name](n_malicious=1, **settings)(collected.updates).geometry


@pytest.mark.parametrize("name", ["krum", "multi_krum", "bulyan", "mda", "monna", "dim_krum"])
def test_what_the_rule_measured_gives_the_same_answers(name, collected):
    known = geometry_of(name, collected)
    assert forensics(LAYOUT, collected, [10], known) == forensics(LAYOUT, collected, [10])


def test_what_is_known_is_not_measured_again(collected):
    # By these the liar is nearest to all others, which it is not.
    near = torch.ones(N, N, dtype=torch.float64)
    near[0] = near[:, 0] = 0.1
    near.fill_diagonal_(0)
    known = Geometry(
        gram=4 * torch.eye(N).double(), squared_distances=near, strongest_squares=near, ratio=RATIO
    )
    assert forensics(LAYOUT, collected, [10])["stealth/krum_rank"] > 1
    found = forensics(LAYOUT, collected, [10], known)
    assert found["stealth/norm"] == found["stealth/benign_norm"] == 2
    assert found["stealth/krum_rank"] == found["theory/krum_rank"] == found["stealth/dim_krum_rank"] == 1


def test_strongest_squares_of_another_ratio_are_not_dim_krums(collected):
    known = geometry_of("dim_krum", collected, ratio=0.5)
    assert forensics(LAYOUT, collected, [10], known, in_full=False) == {}
    assert forensics(LAYOUT, collected, [10], known) == forensics(LAYOUT, collected, [10])


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("krum", FROM_GRAM | FROM_DISTANCES),
        ("dim_krum", FROM_STRONGEST),
    ],
)
def test_otherwise_it_notes_what_the_rule_measured(name, keys, collected):
    known = geometry_of(name, collected)
    found = forensics(LAYOUT, collected, [10], known, in_full=False)
    everything = forensics(LAYOUT, collected, [10])
    assert found == {key: everything[key] for key in keys}
    assert forensics(LAYOUT, collected, [10], None, in_full=False) == {}


def test_nothing_is_said_where_nobody_lies_or_too_few_are_left(collected):
    assert forensics(LAYOUT, collected, []) == {}
    assert forensics(LAYOUT, collected, list(range(10, 17))) == {}


@pytest.mark.parametrize(
    ("server", "examined"),
    [
        ({}, [1, 2, 3]),
        ({"forensics": {"every": 2}}, [1, 3]),
        ({"forensics": {"every": 0}}, []),
    ],
)
def test_rounds_are_examined_on_a_schedule(tables, tmp_path, server, examined):
    tables["federation"]["rounds"] = 3
    tables["server"] = {"twin": False, **server}
    tables["aggregator"] = "krum"
    run(tables, out=tmp_path / "a")
    lines = [line["forensics"] for line in read_rounds(tmp_path / "a")]
    assert [n for n, line in enumerate(lines, start=1) if "theory/kappa_q0.5" in line] == examined
    assert all(("stealth/krum_rank" in line) == bool(examined) for line in lines)
