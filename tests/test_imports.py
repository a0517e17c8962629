"""No module imports itself through others, whether at run time, inside a function or for the types alone."""

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

grimp = pytest.importorskip("grimp")  # import-linter brings it
PACKAGES = [
    f"hauberk.{name}" for name in ("tasks", "strategies", "attacks", "clients", "server", "experiments")
]


def test_no_circle_of_imports():
    graph = grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=False)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 300
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize(
    ("code", "late"),
    [
        ("from hauberk.experiments.cli import _main; _main(['--help'])", "torch pydantic"),
        ("import hauberk.strategies", "pydantic"),
        ("import hauberk.experiments.runner.execute, hauberk.experiments.spec.loader", ""),
        ("import hauberk.experiments.engines.client_round, hauberk.experiments.engines.actor", "pydantic"),
    ],
    ids=["help", "strategies", "run", "worker"],
)
def test_what_takes_seconds_to_import_waits_until_it_is_needed(code, late):
    heavy = {
        "torch._dynamo",
        "transformers",
        "datasets",
        "sklearn",
        "scipy",
        "pandas",
        "matplotlib",
        "flwr",
        "ray",
    }
    heavy |= set(late.split())
    command = f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stderr.split())
