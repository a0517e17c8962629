"""The examples do what they say: rules in a stranger's Flower app, and a rule from a stranger's package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

pytestmark = pytest.mark.xdist_group("processes")  # one at a time: each starts several of its own

EXAMPLES = Path(__file__).parents[1] / "examples"
HAUBERK = "from hauberk.experiments.cli import main; main()"
INSTALL = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.mark.parametrize(("strategy", "holds"), [("fedavg", False), ("krum", True), ("fltrust", True)])
def test_one_line_saves_a_numpy_app(strategy, holds):
    command = [sys.executable, str(EXAMPLES / "numpy_app" / "app.py"), strategy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy = float(done.stdout.strip().split()[-1])
    assert (accuracy > 0.9) == holds


def test_a_rule_of_another_package_runs_by_its_name(tables, tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(EXAMPLES / "own_rule", source)
    subprocess.run(
        [sys.executable, "-c", INSTALL, str(tmp_path)], cwd=source, check=True, capture_output=True
    )
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), site, "zip")
    spec = tmp_path / "spec.toml"
    spec.write_text(tomli_w.dumps({**tables, "aggregator": {"name": "trimmed_range", "n_malicious": 2}}))
    command = [sys.executable, "-c", HAUBERK, "run", str(spec), "--out", str(tmp_path / "run"), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["aggregator"] == "trimmed_range"
    impossible = [*command, "--set", "aggregator.n_malicious=3"]
    refused = subprocess.run(impossible, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "f=3 and n_clients=5" in refused.stderr
    assert subprocess.run(command, capture_output=True, text=True).returncode == 2  # not installed here
