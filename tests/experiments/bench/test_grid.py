"""A grid file becomes cells, or one clear line says why not."""

from __future__ import annotations

import pytest

from hauberk.experiments.bench.grid import check_cells, label_of
from hauberk.experiments.bench.grid_file import GRIDS, is_grid, read_grid
from hauberk.experiments.spec.mistakes import SpecError

BASE = """
[task]
dataset = { name = "tweet_sentiment" }
model = { name = "text_cnn" }
[federation]
n_clients = 5
n_malicious = 1
rounds = 2
[attack]
poison = { name = "bad_word", target = 1 }
[aggregator]
name = "fedavg"
n_malicious = 1
"""
GRID = BASE + '[grid]\n"aggregator.name" = ["fedavg", "krum"]\nseed = [0, 1]\n'


def written(tmp_path, text, name="grid.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_every_combination_is_a_cell_in_the_grids_order(tmp_path):
    cells = read_grid(written(tmp_path, GRID)).cells()
    assert [cell.values for cell in cells] == [
        {"aggregator.name": rule, "seed": seed, "attack": attack}
        for rule in ("fedavg", "krum")
        for seed in ("0", "1")
        for attack in ("none", "bad_word")
    ]
    specs = check_cells([cell for cell in cells if cell.values["attack"] != "none"])
    assert [(spec.aggregator.name, spec.seed) for spec in specs] == [
        ("fedavg", 0), ("fedavg", 1), ("krum", 0), ("krum", 1)
    ]  # fmt: skip


def test_a_grid_of_attacks_gets_a_cell_in_which_nobody_lies(tmp_path):
    text = GRID + 'attack = [{ title = "one word", poison = { name = "bad_word", words = ["cf"] } }, "x"]\n'
    text = text.replace(', "x"]', "]")
    cells = read_grid(written(tmp_path, text)).cells()
    assert len(cells) == 8
    assert [cell.values["attack"] for cell in cells[:2]] == ["none", "one word"]
    assert [spec.attack is None for spec in check_cells(cells)[:2]] == [True, False]


def test_what_is_excluded_is_left_out(tmp_path):
    text = GRID + '[[exclude]]\n"aggregator.name" = "krum"\nseed = 1\n'
    assert len(read_grid(written(tmp_path, text)).cells()) == 6


def test_a_grid_extends_another_file_key_by_key(tmp_path):
    written(tmp_path, GRID, "base.toml")
    text = 'extends = "base.toml"\n[federation]\nrounds = 3\n[grid]\nseed = [7]\n'
    cells = read_grid(written(tmp_path, text)).cells()
    assert [cell.values["seed"] for cell in cells] == ["7"] * 4
    assert {(spec.federation.rounds, spec.federation.n_clients) for spec in check_cells(cells)} == {(3, 5)}


def test_labels_say_what_a_value_is():
    assert label_of({"title": "x", "name": "y"}) == "x"
    assert label_of({"name": "y", "f": 1}) == "y"
    assert label_of({"poison": {"name": "sos"}, "forge": {"name": "alie"}}) == "sos+alie"
    assert label_of(["nnm", {"name": "arc"}]) == "nnm+arc"
    assert label_of(0.5) == "0.5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE, r"\[grid\]: must list values for at least one key"),
        (BASE + "[grid]\n", r"\[grid\]: must list values for at least one key"),
        (BASE + "[grid]\nseed = []\n", "grid.seed: must be a list of at least one value, got"),
        (BASE + '[grid]\n"a..b" = [1]\n', "grid.a..b: must be a dotted name"),
        (BASE + '[grid]\nvariant = ["sam"]\n', "grid.variant: must be tables of sections"),
        (
            BASE + '[grid]\n"federation.rounds.x" = [1]\n',
            "grid.federation.rounds.x: 'rounds' must be a table",
        ),
        (BASE + "[grid]\n" + "".join(f"k{i} = {list(range(60))}\n" for i in range(3)), "at most 100000 comb"),
        ("extends = 3\n", "extends: must be a file or a preset, got 3"),
        (BASE + "[grid]\nseed = [1, 1]\n", "grid.seed: '1' comes 2 times"),
        (GRID + "[[exclude]]\nsed = 1\n", "exclude.sed: no key of the grid; did you mean 'seed'"),
        (GRID + "[[exclude]]\nseed = 5\n", "exclude.seed: no value of the grid, got '5'"),
        (GRID + "exclude = 3\n", "exclude"),
        ('extends = "nowhere"\n', "extends: no file and no preset 'nowhere'"),
        ('extends = "grid.toml"\n', "extends itself"),
    ],
)
def test_an_impossible_grid_is_one_clear_line(tmp_path, text, message):
    with pytest.raises(SpecError, match=message):
        read_grid(written(tmp_path, text)).cells()


def test_cells_mistakes_come_all_at_once_each_with_its_first_cell(tmp_path):
    text = BASE + '[grid]\n"federation.rounds" = [1, 0]\n"aggregator.nme" = ["krum"]\n'
    with pytest.raises(SpecError, match=r"rounds.*\(cell federation.rounds=0") as error:
        check_cells(read_grid(written(tmp_path, text)).cells())
    assert str(error.value).count("aggregator") >= 1


def test_two_cells_that_are_the_same_are_refused(tmp_path):
    text = (
        BASE
        + '[grid]\nattack = [{ title = "a", poison = { name = "sos" } }, { title = "b", poison = { name = "sos" } }]\n'
    )
    with pytest.raises(SpecError, match="two cells are the same, attack=a and attack=b"):
        read_grid(written(tmp_path, text)).cells()


def test_a_variant_changes_several_sections_at_once(tmp_path):
    text = BASE + '[[grid.variant]]\ntitle = "plain"\n[[grid.variant]]\ntitle = "sam and more"\n'
    text += 'training = { plugins = ["sam"] }\nserver = { clean = { n_examples = 20 } }\n'
    specs = check_cells(read_grid(written(tmp_path, text)).cells())
    assert [len(spec.training.plugins) for spec in specs] == [0, 0, 1, 1]
    assert [spec.server.clean.n_examples for spec in specs] == [0, 0, 20, 20]


def test_a_part_of_a_grid_can_be_played_alone(tmp_path):
    path = written(tmp_path, GRID + '[[exclude]]\n"aggregator.name" = "krum"\nseed = 1\n')
    cells = read_grid(path, only=["seed=0", "attack=bad_word"]).cells()
    assert [cell.values["aggregator.name"] for cell in cells] == ["fedavg", "krum"]
    for only, message in (("sed=0", "did you mean 'seed'"), ("seed=5", "no value of seed, got '5'")):
        with pytest.raises(SpecError, match=message):
            read_grid(path, only=[only])


@pytest.mark.parametrize("preset", sorted(path.stem for path in GRIDS.glob("*.toml")))
def test_a_shipped_grid_is_possible(preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = read_grid(preset).cells()
    assert len({cell.name for cell in cells}) == len(cells)
    seeds = {cell.values["seed"] for cell in cells}
    first = [cell for cell in cells if cell.values["seed"] == cells[0].values["seed"]]
    assert len(first) * len(seeds) == len(cells)  # the cells of one seed are those of each, and checked once
    assert len(check_cells(first)) == len(first)


def test_a_folder_of_the_same_name_hides_no_shipped_grid(tmp_path, monkeypatch):
    (tmp_path / "attacks").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_grid("attacks").name == "attacks"
    assert is_grid("attacks")
