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


HEAVY = {
    "torch._dynamo", "transformers", "datasets", "flwr_datasets", "sklearn", "scipy", "pandas", "matplotlib", "flwr",
    "ray",
}  # fmt: skip
OPTIMIZERS = """
import torch
from hauberk.clients.optimizers import OPTIMIZERS
for settings in OPTIMIZERS.values():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = settings().build([weight])
    weight.square().sum().backward()
    optimizer.step(), optimizer.zero_grad(), optimizer.state_dict()
"""
# What one process does after another, a module that it has then, and what it must not have yet.
STAGES = {
    "the rules": ("import hauberk.strategies", "hauberk.strategies", HEAVY | {"pydantic"}),
    "a worker": (
        "import hauberk.experiments.engines.client_round, hauberk.experiments.engines.actor",
        "hauberk.experiments.engines.actor",
        HEAVY | {"pydantic"},
    ),
    "a worker's tokenizer": (
        "from hauberk.tasks import MODELS; MODELS['text_cnn']().tokenizer().encode(['a'], None, 64)",
        "hauberk.tasks.text.models",
        HEAVY | {"pydantic"},
    ),
    "the optimizers": (OPTIMIZERS, "hauberk.clients.optimizers", HEAVY | {"pydantic"}),
    "a run": (
        "import hauberk.experiments.runner.execute, hauberk.experiments.spec.loader",
        "hauberk.experiments.runner.execute",
        HEAVY,
    ),
}


def modules_after(*codes):
    """Returns the names of all modules that a new process has after each of ``codes``."""
    lines = ["import sys", *(f"{code}\nprint(*sys.modules, file=sys.stderr)" for code in codes)]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [set(line.split()) for line in done.stderr.splitlines()]


def test_what_takes_seconds_to_import_waits_until_it_is_needed():
    found = modules_after(*(code for code, _, _ in STAGES.values()))
    for (stage, (_, own, late)), modules in zip(STAGES.items(), found, strict=True):
        assert own in modules, stage
        assert not late & modules, f"{stage} imports {late & modules}"


def test_help_needs_neither_torch_nor_pydantic():
    (modules,) = modules_after("from hauberk.experiments.cli import _main; _main(['--help'])")
    assert "hauberk.experiments.cli" in modules
    assert not (HEAVY | {"torch", "pydantic"}) & modules
