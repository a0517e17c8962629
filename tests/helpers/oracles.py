"""Independent implementations to compare with: loaded where they are installed, never a dependency.

byzfl (MIT) imports torchvision when its package is imported; only its aggregators are loaded here.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def byzfl(module: str) -> ModuleType | None:
    """Returns ``byzfl.aggregators.<module>`` without byzfl's own ``__init__``; None where it is not installed."""
    if "byzfl" not in sys.modules:
        spec = find_spec("byzfl")
        if spec is None or spec.origin is None:
            return None
        bare = ModuleType("byzfl")
        bare.__path__ = [str(Path(spec.origin).parent)]
        sys.modules["byzfl"] = bare
    return importlib.import_module(f"byzfl.aggregators.{module}")
