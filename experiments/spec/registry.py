"""The rules a spec can name: our own table, and what installed packages offer as `hauberk.aggregators`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from hauberk.strategies import AGGREGATORS


@cache
def aggregators() -> dict[str, type]:
    """Returns every known rule by name; an installed entry point never replaces one of ours."""
    installed = {point.name: point.load() for point in entry_points(group="hauberk.aggregators")}
    return {**installed, **AGGREGATORS}
