"""Which client holds which rows: flwr-datasets' partitioners over rows that the seed has permuted.

The permutation is ours, since flwr-datasets' own IidPartitioner cuts the rows as they come and class-sorted
data would give clients of one class. Everything else about the cut is theirs.
"""

from __future__ import annotations

import numpy as np
import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.partition.base import Partition
from hauberk.tasks.partition.dirichlet import Dirichlet
from hauberk.tasks.partition.iid import Iid
from hauberk.tasks.partition.inner_dirichlet import InnerDirichlet
from hauberk.tasks.partition.lognormal import Lognormal
from hauberk.tasks.partition.natural_id import NaturalId
from hauberk.tasks.partition.pathological import Pathological
from hauberk.tasks.partition.shard import Shard
from hauberk.tasks.partition.size import Size
from hauberk.tasks.seeds import generator, integer

PARTITIONS: dict[str, type[Partition]] = {
    kind.name: kind
    for kind in (Iid, Dirichlet, Pathological, Shard, Size, Lognormal, InnerDirichlet, NaturalId)
}


def partition(labels: np.ndarray, n_clients: int, config: Partition, seed: int) -> list[np.ndarray]:
    """Deals the rows of ``labels`` [n] to clients; returns the rows of each, int64, no row twice.

    Raises:
        UserError: if there are more clients than rows, flwr-datasets refuses, or a client gets none.
    """
    if n_clients > len(labels):
        raise UserError(f"federation.n_clients = {n_clients} is more than {len(labels)} training rows.")
    order = torch.randperm(len(labels), generator=generator(seed, "partition")).numpy()
    try:
        parts = config.cut(labels[order], n_clients, integer(seed, "partition-library") % 2**31)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f"federation.partition = {config.described} needs {error.name}: pip install 'hauberk[simulation]'"
        ) from error
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UserError(
            f"federation.partition = {config.described}: {' '.join(str(error).split())}"
        ) from error
    empty = [client for client, part in enumerate(parts) if not len(part)]
    if empty:
        raise UserError(
            f"federation.partition = {config.described} leaves client {empty[0]} of {n_clients} without data."
        )
    return [order[part] for part in parts]
