"""Records the digests anew: pytest runs this file only where it is named, as ``make golden`` does."""

from __future__ import annotations

import json

from tests.golden.cases import CASES
from tests.golden.digests import HASHES, fingerprint, play, recorded


def test_record(tweets, tmp_path, capsys):
    found = {name: play(name, tweets, tmp_path / name) for name in CASES}
    known, machine = recorded(), fingerprint()
    before = known.get(machine, {})
    HASHES.write_text(json.dumps({**known, machine: found}, indent=2, sort_keys=True) + "\n")
    others = [name for name in found if found[name] != before.get(name)]
    with capsys.disabled():
        print(f"{machine}: {len(found)} digests, other than before: {', '.join(others) or 'none'}")  # noqa: T201
