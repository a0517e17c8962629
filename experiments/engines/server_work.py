"""The server's own work on a pool: pieces that need nothing of each other, such as the folds of a repair's search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.clients.settings import Training
from hauberk.clients.worker import Worker, threads_set
from hauberk.experiments.engines.cluster import ray
from hauberk.experiments.engines.pool import NoWorkersError, Pool, WorkFailed
from hauberk.server.assets import ServerAssets, Work, in_turn
from hauberk.strategies.layout import Layout

POLL_S = 0.1


def done_on(
    pool: Pool,
    threads: int,
    check: Callable[[], None],
    work: Work,
    assets: ServerAssets,
    parameters: Tensor,
    pieces: Sequence[tuple[Any, ...]],
) -> list[Any]:
    """Returns what `in_turn` returns, done by the workers of ``pool``; done here where they cannot.

    Args:
        pool: of processes that keep a `Worker`.
        threads: that each piece is done with.
        check: raises what ends the run, or the pool.
        work: as `in_turn` takes it.
        assets: likewise.
        parameters: likewise.
        pieces: likewise.
    """
    reference = ray.put(parameters.numpy())
    given = work, assets.layout, assets.training, threads
    futures = [pool.submit(piece_done, reference, *given, piece) for piece in pieces]
    try:
        while wait(futures, timeout=POLL_S).not_done:
            check()
        return [future.result() for future in futures]
    except (WorkFailed, NoWorkersError):
        return in_turn(work, assets, parameters, pieces)


def piece_done(
    worker: Worker,
    parameters: np.ndarray,
    work: Work,
    layout: Layout,
    training: Training,
    threads: int,
    piece: tuple[Any, ...],
) -> Any:
    """Returns what a piece comes to, in the worker's own model."""
    vector = torch.from_numpy(parameters)
    with threads_set(threads):
        worker.receive(vector)
        return work(_assets_of(worker, vector, layout, training), vector, *piece)


def _assets_of(worker: Worker, parameters: Tensor, layout: Layout, training: Training) -> ServerAssets:
    """Returns the assets that a piece may use."""
    return ServerAssets(
        task=worker.config.task,
        model=worker.model,
        layout=layout,
        reference=parameters,
        clean=(),
        training=training,
        rng=torch.Generator(),
        device=worker.config.device,
    )
