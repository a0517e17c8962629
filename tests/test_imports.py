"""No module imports itself through others, whether at run time, inside a function or for the types alone."""

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
