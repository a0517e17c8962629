"""What follows a run: settings that a spec names, and what they open."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from hauberk.tasks.errors import UserError

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Followed:
    """The run that is followed.

    Attributes:
        name: the spec's.
        folder: the run's.
        settings: the resolved spec, by dotted keys.
        identity: what makes it this run.
        played: how many rounds were recorded before now.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    identity: Mapping[str, str]
    played: int = 0


class Tracker(Protocol):
    """One run at a tracker. What it raises costs the run nothing: it is then followed no longer."""

    @property
    def knows(self) -> int:
        """The last round that it has from an earlier start; 0 where it has none."""

    def log(self, number: int, values: Mapping[str, float]) -> None:
        """Takes the figures of round ``number``."""

    def finish(self, values: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Takes what the whole run came to."""

    def close(self, status: Status) -> None:
        """Ends."""


class Tracking(Protocol):
    """The settings of a tracker: a frozen dataclass."""

    def open(self, run: Followed) -> Tracker:
        """Begins to follow ``run``, or goes on with what it has of it.

        Raises:
            UserError: its library is not installed, or it cannot be reached.
        """


def library(name: str) -> Any:
    """Returns a library that the extra ``track`` installs; raises UserError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.rpartition(".")[2]
        raise UserError(
            f"tracking: {package} is not installed ({error}); pip install 'hauberk[track]'"
        ) from None


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns those of ``values`` that are finite numbers."""
    numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
