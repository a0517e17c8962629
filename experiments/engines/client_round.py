"""What a pool works at: what its processes keep, a client's round, and the answers to a part of the test split."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hauberk.clients.worker import ClientReply, Instruction, Worker, WorkerConfig
from hauberk.tasks.device import resolve_device


def warm_up(modules: Sequence[str] = ()) -> None:
    """Does what a process need do only once, and no client should wait for: it imports ``modules``, too."""
    for module in modules:
        with contextlib.suppress(ImportError):  # whoever needs it will say so
            importlib.import_module(module)
    # Arrays out of the object store are read-only, and nobody here writes into them.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


def make_worker(config: WorkerConfig, device: str) -> Worker:
    """Returns what a process keeps; ``device`` is the spec's, for a worker may have another than the driver."""
    return Worker(replace(config, device=resolve_device(device)))


def fit(worker: Worker, instruction: Instruction, parameters: Mapping[str, np.ndarray]) -> ClientReply:
    """Trains one client from ``parameters``, which its instruction does not carry; the reply is sent at once."""
    return worker.fit(replace(instruction, parameters=parameters), lent=True)


def predict(
    worker: Worker, parameters: Mapping[str, np.ndarray], examples: Any, precision: str, threads: int
) -> np.ndarray:
    """Returns the answers of the model of ``parameters`` to encoded ``examples``, [n, ...]."""
    return worker.predict(parameters, examples, precision, threads).numpy()
