import pytest
import torch

from hauberk.tasks.seeds import generator, integer, seeded


@pytest.mark.parametrize(
    "other", [(8, 3, "train"), (7, 4, "train"), (7, 3, "poison"), (7, 3), (7, "train", 3)]
)
def test_another_key_gives_another_stream(other):
    mine = torch.rand(4, generator=generator(7, 3, "train"))
    assert not torch.equal(mine, torch.rand(4, generator=generator(*other)))


def test_streams_are_pinned_so_that_old_results_can_be_repeated():
    assert integer(0, "model") == 6345307993427180246
    assert torch.randint(0, 1000, (3,), generator=generator(0, "model")).tolist() == [139, 936, 854]


def test_seeded_is_a_function_of_its_generator_and_leaves_the_global_one_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(generator(0, "model")):
            draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeded_restores_the_global_generator_after_an_error():
    before = torch.random.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(generator(0)):
        torch.rand(1 // 0)
    assert torch.equal(torch.random.get_rng_state(), before)
