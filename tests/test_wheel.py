"""The wheel holds the tree: a package that pyproject does not list would be silently absent."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("tasks", "strategies", "attacks", "clients", "server", "experiments")
CODE = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """A wheel built from a copy of the tree, so that nothing is left in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", CODE, str(out)], cwd=source, check=True, capture_output=True)
    return zipfile.ZipFile(next(out.glob("hauberk-*.whl")))


def test_the_wheel_holds_every_module_and_data_file(wheel):
    tree = {
        f"hauberk/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".toml", ".j2")
        or path.name == "py.typed"
        or path.parent.name == "templates"
    }
    assert {name for name in wheel.namelist() if name.startswith("hauberk/")} == tree


def test_the_wheel_has_a_command_and_no_bare_names(wheel):
    names = wheel.namelist()
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "hauberk = hauberk.experiments.cli:main" in wheel.read(entry_points).decode()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hauberk"}
