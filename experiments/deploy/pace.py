"""Flower's pauses, shortened: they are most of what a round of a small model takes.

A message's header comes before its arrays, and whoever has the header asks for each array until it is there, after 1 s,
then 2, 4, 8 and 10; there are three such hops in a round. An idle SuperNode asks for work every 3 s.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

from flwr.supercore.inflatable import inflatable_utils
from flwr.supernode import start_client_internal

# Between two questions for an array, each of which costs a SuperLink milliseconds.
FIRST_S, MOST_S = 0.25, 1.0
TRIES = 3600  # as long in all as Flower's own 500 at up to 10 s
FASTER = 3  # times as often does a SuperNode ask its SuperLink for work, and its executor for a reply


def quicken() -> None:
    """Shortens the pauses of Flower in this process and those that it forks."""
    ours = {"initial_backoff": FIRST_S, "backoff_cap": MOST_S, "max_tries_per_object": TRIES}
    for pull in (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree):
        (pull.__kwdefaults__ or {}).update(ours)
    vars(start_client_internal)["time"] = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / FASTER))
