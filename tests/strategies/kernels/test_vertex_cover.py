from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels.vertex_cover import coverable

PAIRS = list(combinations(range(9), 2))


def graph(pairs, n=9):
    edges = [0] * n
    for a, b in pairs:
        edges[a] |= 1 << b
        edges[b] |= 1 << a
    return edges


def smallest_cover(pairs, vertices):
    """Every set of vertices, the small ones first."""
    left = [(a, b) for a, b in pairs if a in vertices and b in vertices]
    return next(
        size
        for size in range(len(vertices) + 1)
        for cover in combinations(vertices, size)
        if all(a in cover or b in cover for a, b in left)
    )


@given(st.sets(st.sampled_from(PAIRS)), st.sets(st.integers(0, 8)))
def test_agrees_with_all_sets_of_vertices(pairs, vertices):
    bits = sum(1 << v for v in vertices)
    size = smallest_cover(pairs, sorted(vertices))
    found = [budget for budget in range(-1, 10) if coverable(graph(pairs), bits, budget)]
    assert found == list(range(size, 10))


def test_a_cycle_of_five_needs_three():
    five = graph([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)], n=5)
    assert not coverable(five, 0b11111, 2)
    assert coverable(five, 0b11111, 3)


def test_thirty_triangles_need_two_each():
    triangles = graph([p for t in range(30) for p in combinations((3 * t, 3 * t + 1, 3 * t + 2), 2)], n=90)
    assert not coverable(triangles, (1 << 90) - 1, 59)
    assert coverable(triangles, (1 << 90) - 1, 60)
