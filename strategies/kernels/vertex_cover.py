"""Whether few vertices of a graph touch all of its edges: a search cut short by a bound from cliques.

A set of vertices is the bits of a number; ``edges[v]`` is the set of v's neighbours. Source: branching on a vertex of
the highest degree, as in Downey and Fellows, "Parameterized Complexity", 1999; the bound is that of maximum clique
solvers turned round (Tomita and Seki, DMTCS 2003): a cover leaves out at most one vertex of each clique.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def coverable(edges: Sequence[int], vertices: int, budget: int) -> bool:
    """Returns whether at most ``budget`` of ``vertices`` touch every edge among them.

    Args:
        edges: for each vertex the set of its neighbours, symmetric, none its own.
        vertices: the set of those that are left.
        budget: how many may be taken.
    """
    while True:
        if budget < 0:
            return False
        degrees = {v: k for v in _members(vertices) if (k := (edges[v] & vertices).bit_count())}
        if not degrees:
            return True
        top = max(degrees, key=degrees.__getitem__)
        leaf = next((v for v, degree in degrees.items() if degree == 1), None)
        if degrees[top] > budget:  # without it all its neighbours would be needed
            vertices &= ~(1 << top)
        elif leaf is not None:  # its one neighbour touches what it does and more
            vertices &= ~(edges[leaf] & vertices | 1 << leaf)
        else:
            break
        budget -= 1
    touched = sum(1 << v for v in degrees)
    if _at_least(edges, touched, degrees) > budget:
        return False
    without, neighbours = touched & ~(1 << top), edges[top] & touched
    return coverable(edges, without, budget - 1) or coverable(
        edges, without & ~neighbours, budget - degrees[top]
    )


def _at_least(edges: Sequence[int], vertices: int, degrees: Mapping[int, int]) -> int:
    """Returns a lower bound on the size of a cover: the vertices minus the number of disjoint cliques they fall into.

    Cliques grow from the vertices of low degree, those with the fewest ways to belong to one.
    """
    size = 0
    for vertex in sorted(degrees, key=degrees.__getitem__):
        if not vertices >> vertex & 1:
            continue
        vertices &= ~(1 << vertex)
        common = edges[vertex] & vertices
        while common:
            other = min(_members(common), key=degrees.__getitem__)
            vertices &= ~(1 << other)
            common &= edges[other]
            size += 1
    return size


def _members(vertices: int) -> Iterator[int]:
    while vertices:
        lowest = vertices & -vertices
        yield lowest.bit_length() - 1
        vertices ^= lowest
