"""Detectors of poisoned inputs by name: a new one is one file, one line here, and one test."""

from hauberk.server.detectors.base import Detector, State
from hauberk.server.detectors.dan import DAN
from hauberk.server.detectors.onion import ONION
from hauberk.server.detectors.rap import RAP
from hauberk.server.detectors.strip import STRIP
from hauberk.server.model_view import View

DETECTORS: dict[str, type[Detector]] = {
    "dan": DAN,
    "onion": ONION,
    "rap": RAP,
    "strip": STRIP,
}

__all__ = ["DAN", "DETECTORS", "ONION", "RAP", "STRIP", "Detector", "State", "View"]
