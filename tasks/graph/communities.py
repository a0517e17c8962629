"""Communities of a graph: entities that have more to do with each other than with the rest.

Source: Blondel et al., "Fast Unfolding of Communities in Large Networks", 2008 (Louvain), as networkx has it.
"""

from __future__ import annotations

import numpy as np


def communities(triples: np.ndarray, n_entities: int, seed: int) -> np.ndarray:
    """Returns the community of each entity, the largest first, int64 [n_entities].

    Entities without a triple are in communities of their own.
    """
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(n_entities))
    graph.add_edges_from(triples[:, [0, 2]].tolist())
    found = networkx.algorithms.community.louvain_communities(graph, seed=seed)
    numbers = np.empty(n_entities, np.int64)
    for number, members in enumerate(sorted(found, key=lambda each: (-len(each), min(each)))):
        numbers[list(members)] = number
    return numbers
