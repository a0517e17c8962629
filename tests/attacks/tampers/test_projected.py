import pytest
import torch
from torch import nn

from hauberk.attacks import BadWord, Projected, Tamper
from hauberk.attacks.tampers._balls import distance, into_cube, into_sphere
from hauberk.tasks.masks import learned
from hauberk.tasks.parameters import flatten

POISON = BadWord(words=("cf",), target=1)


@pytest.fixture
def point():
    return {"a": nn.Parameter(torch.tensor([3.0, 0.0])), "b": nn.Parameter(torch.tensor([[4.0]]))}


CENTRE = {"a": torch.zeros(2), "b": torch.zeros(1, 1)}


def test_a_point_outside_the_sphere_comes_straight_back_to_its_edge(point):
    into_sphere(point, CENTRE, 2.5)
    assert flatten(point).tolist() == [1.5, 0.0, 2.0]


def test_a_point_inside_stays(point):
    into_sphere(point, CENTRE, 5.1)
    into_cube(point, CENTRE, 4.1)
    assert flatten(point).tolist() == [3.0, 0.0, 4.0]


def test_a_cube_clips_every_coordinate_by_itself(point):
    into_cube(point, {"a": torch.tensor([1.0, 1.0]), "b": torch.zeros(1, 1)}, 0.5)
    assert flatten(point).tolist() == [1.5, 0.5, 0.5]


def test_the_distance_has_a_gradient_also_at_the_centre():
    value = {"a": nn.Parameter(torch.zeros(2))}
    distance(value, CENTRE).backward()
    assert value["a"].grad.tolist() == [0.0, 0.0]


def test_the_distance_is_that_of_all_tensors_together(point):
    assert distance(point, CENTRE).item() == 5.0


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_ball_is_never_left_and_its_edge_is_reached(norm, arena):
    eps, order = 0.02, {"l2": 2, "linf": float("inf")}[norm]
    session, seen = arena.session(POISON), []

    def watch(*_):
        now = flatten({name: value.detach() for name, value in learned(session.model).items()})
        seen.append(float(torch.linalg.vector_norm(now - flatten(session.reference), order)))

    tamper = Projected(eps=eps, norm=norm)
    train = session.train
    session.train = lambda: (session.optimizer.register_step_post_hook(watch), train())[1]
    arena.run(tamper, session)
    assert max(seen) <= eps * (1 + 1e-4)
    assert max(seen) >= eps * (1 - 1e-4)
    assert len(seen) > 3


def test_a_large_ball_changes_nothing(arena):
    honest, wide = (arena.run(each, arena.session(POISON))[1] for each in (Tamper(), Projected(eps=1e6)))
    assert torch.equal(honest, wide)


def test_the_radius_shrinks_from_round_to_round():
    assert Projected(eps=2.0, decay=0.5).radius(1) == 2.0
    assert Projected(eps=2.0, decay=0.5).radius(3) == 0.5
