"""Which Ray cluster a run uses, and how many workers of what size it has there."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # no call may start another Ray behind our back
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own 15 starves a run beside any other busy process
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.errors import UserError


def connect(address: str | None = None) -> bool:
    """Connects to a Ray cluster and returns whether this call did: a session that was open stays so.

    Args:
        address: ``auto`` (the cluster that ``ray start`` started here), ``host:port`` or ``ray://host:port``; by
            default RAY_ADDRESS, and where that is not set, either, a new Ray of this process's own.

    Raises:
        UserError: no cluster answers there, or this process is connected already.
    """
    if ray.is_initialized():
        if address is not None:
            raise UserError(
                f"address: this process has a Ray session already, got {address!r}; ray.shutdown() ends it"
            )
        return False
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = (
        {"include_dashboard": False, "num_cpus": default_workers()} if where == "local" else {}
    )
    quieten()
    try:
        _knock(where)
        ray.init(where, logging_level=logging.ERROR, log_to_driver=False, configure_logging=False, **own)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"address: no Ray cluster answers at {where!r}: {' '.join(str(error).split())}"
        ) from None
    return True


def disconnect() -> None:
    """Ends a Ray that is this process's own; nobody else may use it meanwhile.

    A reference that is dropped while Ray goes ends the process, whoever drops it, the garbage collector included,
    which runs in any thread.
    """
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if enabled:
            gc.enable()


def _knock(address: str) -> None:
    """Raises OSError where ``host:port`` takes no connection: Ray itself would try for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()


def quieten() -> None:
    """Keeps Ray's paragraphs off the terminal: a lost worker is reported by its client's id, which they would bury."""
    ray._private.worker.print_to_stdstream = lambda *_args, **_kwargs: None
    logging.getLogger("ray").setLevel(logging.ERROR)


def reclaim_signals() -> None:
    """Takes back the signals that Ray's core has put handlers of its own on."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.getsignal(number))


CONNECT_S = 0.5  # that a node of the cluster may take to accept a connection


@dataclass(frozen=True)
class Workers:
    """How many workers, and what each takes of the cluster."""

    number: int
    cpus: float = 1.0
    gpus: float = 0.0


def workers_of(spec: Spec) -> Workers:
    """Returns the workers for ``spec`` on the cluster as it is now: as many as can be busy."""
    cpus, gpus = (ray.cluster_resources().get(kind, 0.0) for kind in ("CPU", "GPU"))
    threads = spec.engine.threads_per_client
    number = min(spec.engine.workers or max(1, int(cpus) // threads), spec.federation.cohort_size)
    # Shares, so that a cluster spreads its workers and more workers than cores still start.
    share = min(float(threads), _share(cpus, number))
    return Workers(number, share, min(1.0, _share(gpus, number)) if spec.device != "cpu" else 0.0)


def _share(total: float, number: int) -> float:
    return int(1e4 * total / number) / 1e4  # Ray counts in ten-thousandths


def default_workers() -> int:
    """Returns how many clients run at once on this machine where the spec does not say: one a core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def node_lives(node_id: str) -> bool:
    """Returns whether the cluster has this node and its Ray still listens.

    The cluster itself needs a quarter of a minute to see that a node has gone; a closed port says so at once.
    """
    found = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] == node_id]
    try:
        for node in found:
            address = node["NodeManagerAddress"], node["NodeManagerPort"]
            socket.create_connection(address, CONNECT_S).close()
    except TimeoutError:  # a driver that is outside of the cluster may not reach its nodes
        return True
    except OSError:
        return False
    return bool(found)
