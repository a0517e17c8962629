"""Same spec, same bits as recorded: code that is moved or tidied must not change what a run computes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.golden.cases import CASES, RESUMED
from tests.golden.digests import fingerprint, play, recorded

MACHINE = fingerprint()
CHANGED = (
    "the final model of {name!r} has other bits than recorded on {machine}: the code computes something else now, "
    "if only a sum in another order or one random draw more. Where the change is not meant to do that, find what "
    "did it. Where it is meant to (or unchanged code fails as well: another processor of the same fingerprint), "
    "record anew with 'make golden' and say in the commit why results move."
)
UNKNOWN = "no digests for {machine}: 'make golden' records them; do so from code whose results are known to be right"


@pytest.fixture(scope="module")
def played(request, tweets, tmp_path_factory):
    """One case after its run: its name, its folder and its digest."""
    folder = tmp_path_factory.mktemp("golden")
    return SimpleNamespace(name=request.param, folder=folder, digest=play(request.param, tweets, folder))


def cases(names):
    """Plays each case once, in one process, for all tests that look at it."""
    marked = [pytest.param(name, marks=pytest.mark.xdist_group(f"golden-{name}")) for name in names]
    return pytest.mark.parametrize("played", marked, indirect=True)


@pytest.mark.skipif(MACHINE not in recorded(), reason=UNKNOWN.format(machine=MACHINE))
@cases(CASES)
def test_a_run_has_the_recorded_bits(played):
    expected = recorded()[MACHINE].get(played.name)
    assert played.digest == expected, CHANGED.format(name=played.name, machine=MACHINE)


@cases(RESUMED)
def test_a_run_that_lost_its_last_round_resumes_to_the_same_bits(played, tweets):
    run = played.folder / "run"
    last = max((run / "checkpoint").glob("state-*.json"))
    lines = (run / "rounds.jsonl").read_text().splitlines(keepends=True)
    for path in (run / "summary.json", last, last.with_suffix(".safetensors")):
        path.unlink()
    (run / "rounds.jsonl").write_text("".join(lines[:-1]))
    assert play(played.name, tweets, played.folder, resume=True) == played.digest
    assert len((run / "rounds.jsonl").read_text().splitlines()) == len(lines)


@pytest.mark.parametrize("machine", recorded())
def test_a_recording_has_every_case(machine):
    assert recorded()[machine].keys() == CASES.keys()
