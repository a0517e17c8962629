"""The rules a spec can name: our own table, and what installed packages offer as `hauberk.aggregators`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from hauberk.experiments.spec.components import adapter
from hauberk.strategies import AGGREGATORS


class Rules(Mapping[str, type]):
    """Every known rule by name; one of an installed package is imported when it is named, and never replaces ours.

    Looking one up raises ValueError, ``name: what is wrong``, if its package is broken: the others are not concerned.
    """

    def __init__(self, ours: Mapping[str, type], installed: Iterable[EntryPoint]) -> None:
        self._loaded = dict(ours)
        self._points = {point.name: point for point in installed if point.name not in ours}

    def __getitem__(self, name: str) -> type:
        if name not in self._loaded:
            self._loaded[name] = _load(self._points[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._loaded or name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter({**self._loaded, **self._points})

    def __len__(self) -> int:
        return len({**self._loaded, **self._points})

    def loaded(self) -> dict[str, type]:
        """Returns those that were named so far, and all of ours."""
        return dict(self._loaded)

    def usable(self) -> tuple[dict[str, type], dict[str, str]]:
        """Returns all that can be loaded, and for each other one the reason why it cannot."""
        usable: dict[str, type] = {}
        broken: dict[str, str] = {}
        for name in self:
            try:
                usable[name] = self[name]
            except ValueError as error:
                broken[name] = str(error).removeprefix("name: ")
        return usable, broken


@cache
def aggregators() -> Rules:
    """Returns every known rule by name."""
    return Rules(AGGREGATORS, entry_points(group="hauberk.aggregators"))


def _load(point: EntryPoint) -> type:
    package = point.dist.name if point.dist else point.value
    try:
        cls = point.load()
        if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
            raise TypeError(f"{point.value} is no dataclass")
        adapter(cls)
    except Exception as error:  # a package can fail in any way, and in its own words
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"name: '{point.name}' of the package '{package}' cannot be used: {reason}"
        ) from error
    return cls
