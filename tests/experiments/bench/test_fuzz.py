"""Specs and grids that nobody would write are read, or refused in plain lines; never another exception."""

from __future__ import annotations

import tempfile
import tomllib
from copy import deepcopy
from pathlib import Path

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.experiments.bench.grid import check_cells
from hauberk.experiments.bench.grid_file import CONFIGS, GRIDS, _extended, read_grid
from hauberk.experiments.bench.results import open_results, read_results
from hauberk.experiments.spec import loader
from hauberk.experiments.spec.mistakes import LONGEST
from hauberk.tasks.errors import UserError

# Ten thousand in all by `make fuzz`, and few where one waits for them.
FEW_OR_MANY = settings(max_examples=25 if settings.default == settings.get_profile("default") else 2500)


def small(tables):
    """The tables of a shipped file; of each key of its grid few values, so that there are few cells."""
    tables = deepcopy(tables)
    for number, (key, values) in enumerate(tables.get("grid", {}).items()):
        tables["grid"][key] = values[: 2 if number < 2 else 1]
    return tables


def places(value, path=()):
    """The path of every value below ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


SPECS = {path.stem: small(_extended(path, ())) for path in sorted(CONFIGS.glob("*.toml"))}
SHIPPED = {path.stem: small(_extended(path, ())) for path in sorted(GRIDS.glob("*.toml"))}
NAMES = [
    "none",
    "krum",
    "bad_word",
    "alie",
    "sam",
    "fine_mixing",
    "dirichlet",
    "name",
    "title",
    "seed",
    "grid",
]
SIGNS = [
    "",
    ".",
    "..",
    " ",
    "\n",
    "\x00",
    "\x1b[31m",
    "[red]",
    "{x}",
    "%s",
    "../x",
    "é",
    "🛡",
    "\u202e",
    "\u2028",
]
TEXTS = st.sampled_from([*NAMES, *SIGNS]) | st.text(max_size=20)
NUMBERS = (
    st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**30, 10**400])
    | st.integers(-3, 300)
    | st.floats()
)
LEAVES = st.booleans() | NUMBERS | TEXTS | st.dates() | st.datetimes()
ODD = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)

LONG = ["9" * 5000, "[" * 2000, "[" * 400 + "]" * 400, "{a=" * 500]
PIECES = [*LONG, "\x00", '"""', "[grid]", "[[grid]]", "[grid.seed]", "=", "nan", "1e999"]
KEYS = sorted({".".join(map(str, path)) for tables in SHIPPED.values() for path in places(tables)})
ARGUMENTS = st.tuples(
    st.sampled_from(KEYS) | TEXTS, st.sampled_from(["=", ".=", ".x=", ""]), TEXTS | ODD.map(str)
).map("".join)


def at(value, path):
    for key in path:
        value = value[key]
    return value


@st.composite
def mutated(draw, tables):
    """One of the shipped files with up to three changes, anywhere in it."""
    found = deepcopy(tables[draw(st.sampled_from(sorted(tables)))])
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(sorted(places(found), key=str)))
        table = at(found, above)
        match draw(st.sampled_from(["odd", "none", "beside", "listed", "named", "swapped", "twice"])):
            case "odd":
                table[last] = draw(ODD)
            case "none":
                del table[last]
            case "beside" if isinstance(table, dict):
                table[draw(TEXTS)] = draw(ODD)
            case "listed":
                table[last] = [table[last]]
            case "named":
                table[last] = {"name": table[last]}
            case "swapped":
                table[last] = deepcopy(at(found, draw(st.sampled_from(sorted(places(found), key=str)))))
            case "twice" if isinstance(table, list):
                table.append(deepcopy(table[last]))
        if not found:
            break
    return tomli_w.dumps(found)


@st.composite
def damaged(draw, tables):
    """The text of a shipped file with pieces cut out and odd ones put in."""
    text = tomli_w.dumps(tables[draw(st.sampled_from(sorted(tables)))])
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, len(text)))
        last = min(len(text), first + draw(st.integers(0, 5)))
        text = text[:first] + draw(st.sampled_from(PIECES) | st.text(max_size=5)) + text[last:]
    return text


def check_words(error):
    """Whatever was wrong is said in lines that a person can read on a terminal."""
    lines = str(error).split("\n")
    assert all(line.strip() for line in lines), lines
    assert all(line.isprintable() for line in lines), lines
    assert max(map(len, lines)) <= LONGEST, lines
    assert "Traceback" not in str(error)


def read_as_a_grid(text, changes=(), only=()):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grid.toml")
        path.write_text(text, encoding="utf8")
        try:
            grid = read_grid(path, changes, only)
            cells = grid.cells()
            specs = check_cells(cells)
        except UserError as error:
            check_words(error)
            return
        open_results(Path(folder, "out"), grid, cells, specs, resume=False)
        assert read_results(Path(folder, "out")).cells


def read_as_a_spec(text, changes=()):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spec.toml")
        path.write_text(text, encoding="utf8")
        try:
            spec = loader.load(path, changes)
        except UserError as error:
            check_words(error)
            return
    assert loader.parse(tomllib.loads(spec.to_toml())).hash == spec.hash


@FEW_OR_MANY
@given(mutated(SHIPPED))
def test_a_grid_with_odd_values_is_read_or_refused_in_plain_lines(text):
    read_as_a_grid(text)


@FEW_OR_MANY
@given(mutated(SPECS))
def test_a_spec_with_odd_values_is_read_or_refused_in_plain_lines(text):
    read_as_a_spec(text)


@FEW_OR_MANY
@given(damaged(SPECS | SHIPPED))
def test_a_damaged_file_is_read_or_refused_in_plain_lines(text):
    read_as_a_spec(text)
    read_as_a_grid(text)


@FEW_OR_MANY
@given(st.sampled_from(sorted(SHIPPED)), st.lists(ARGUMENTS, max_size=2), st.lists(ARGUMENTS, max_size=2))
def test_odd_arguments_are_followed_or_refused_in_plain_lines(preset, changes, only):
    read_as_a_grid(tomli_w.dumps(SHIPPED[preset]), changes, only)
    read_as_a_spec(tomli_w.dumps(SPECS["sst2"]), changes)
