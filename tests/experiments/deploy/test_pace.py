"""Flower's pauses are shortened where they are: a version that has them elsewhere shows here."""

from __future__ import annotations

import inspect
import threading
import time
from types import SimpleNamespace

from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectUnavailableError,
    pull_and_inflate_object_from_tree,
    pull_objects,
)
from flwr.supernode import start_client_internal

from hauberk.experiments.deploy import pace


def test_an_array_that_comes_late_is_asked_for_soon_again(monkeypatch):
    monkeypatch.setattr(start_client_internal, "time", time)
    for each in (pull_objects, pull_and_inflate_object_from_tree):
        known = dict(each.__kwdefaults__)
        assert {"initial_backoff", "backoff_cap", "max_tries_per_object"} <= set(known)
        monkeypatch.setattr(each, "__kwdefaults__", known)
    pace.quicken()
    assert pull_objects.__kwdefaults__["initial_backoff"] == pace.FIRST_S
    assert pull_and_inflate_object_from_tree.__kwdefaults__["initial_backoff"] == pace.FIRST_S
    asked: list[str] = []

    def pull(one: str) -> bytes:
        asked.append(one)
        if len(asked) < 4:
            raise ObjectUnavailableError(one)
        return b"there"

    pauses: list[float] = []

    class Recording(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return self.is_set()

    patched = SimpleNamespace(**{**vars(threading), "Event": Recording})
    monkeypatch.setattr(inflatable_utils, "threading", patched)
    assert pull_objects(["array"], pull) == {"array": b"there"}
    assert len(pauses) == 3
    assert sum(pauses) < 3  # by Flower's own pauses it were 7 s


def test_a_supernode_sleeps_by_its_modules_own_clock():
    source = inspect.getsource(start_client_internal)
    assert "time.sleep(3)" in source
    assert "import time" in source
