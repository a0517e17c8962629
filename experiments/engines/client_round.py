"""A client's round as work for a pool: what its processes keep, and what each does with an instruction."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from hauberk.clients.worker import ClientReply, Instruction, Worker, WorkerConfig
from hauberk.tasks.device import resolve_device


def warm_up() -> None:
    """Does what a process need do only once, and no client should wait for."""
    # Arrays out of the object store are read-only, and nobody here writes into them.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # its first use imports for a second


def make_worker(config: WorkerConfig, device: str) -> Worker:
    """Returns what a process keeps; ``device`` is the spec's, for a worker may have another than the driver."""
    return Worker(replace(config, device=resolve_device(device)))


def fit(worker: Worker, instruction: Instruction, parameters: Mapping[str, np.ndarray]) -> ClientReply:
    """Trains one client from ``parameters``, which its instruction does not carry."""
    return worker.fit(replace(instruction, parameters=parameters))
