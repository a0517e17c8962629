"""The examples do what they say: rules in a stranger's Flower app, and a rule from a stranger's package."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from tests.helpers.in_process import InProcess, identify

pytestmark = pytest.mark.timeout(600)

EXAMPLES = Path(__file__).parents[1] / "examples"
NUMPY_APP = EXAMPLES / "numpy_app" / "app.py"
HAUBERK = "from hauberk.experiments.cli import main; main()"
INSTALL = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture
def numpy_app(monkeypatch):
    """The module of the app, and this process as one that may play it."""
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    identify(monkeypatch)
    spec = importlib.util.spec_from_file_location("numpy_app", NUMPY_APP)
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    return app


@pytest.mark.parametrize(("strategy", "holds"), [("fedavg", False), ("krum", True), ("fltrust", True)])
def test_one_line_saves_a_numpy_app(numpy_app, strategy, holds):
    grid = InProcess(numpy_app.client_app, range(1, 1 + numpy_app.N_CLIENTS))
    assert (numpy_app.play(grid, strategy) > 0.9) == holds
    assert grid.errors == []


@pytest.mark.xdist_group("processes")  # starts Ray, as only one test at a time does
def test_the_numpy_app_runs_by_its_command():
    command = [sys.executable, str(NUMPY_APP), "krum"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.strip().removeprefix("krum: accuracy ")) > 0.9


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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["aggregator"] == "trimmed_range"
    impossible = [*command, "--set", "aggregator.n_malicious=3"]
    refused = subprocess.run(impossible, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "f=3 and n_clients=5" in refused.stderr
    unknown = subprocess.run(command, capture_output=True, text=True)
    assert unknown.returncode == 2  # not installed here
    assert "trimmed_range" in unknown.stderr
