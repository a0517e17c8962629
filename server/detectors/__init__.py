"""Detectors of poisoned inputs by name: a new one is one file, one line here, and one test."""

from hauberk.server.detectors.base import Detector, State
from hauberk.server.detectors.dan import DAN
from hauberk.server.detectors.view import View

DETECTORS: dict[str, type[Detector]] = {
    "dan": DAN,
}

__all__ = ["DAN", "DETECTORS", "Detector", "State", "View"]
