import pytest
import torch
from torch import nn

from hauberk.tasks.seeds import generator
from hauberk.tasks.text.models._windows import inside, strongest

MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]], dtype=torch.bool)


@pytest.fixture
def case():
    torch.manual_seed(0)
    filters = [nn.Conv1d(4, 3, width).double() for width in (2, 3, 5)]
    words = torch.randn(3, 6, 4, dtype=torch.float64)
    words[1, 2:] = 0
    return words, filters


def by_hand(words, mask, filters):
    """The definition: the largest answer over windows that hold real tokens only, or over the first one."""
    outputs = []
    for text, real in zip(words, mask, strict=True):
        n = int(real.sum())
        for each in filters:
            width = each.kernel_size[0]
            answers = [
                (text[start : start + width].T * each.weight).sum(dim=(1, 2)) + each.bias
                for start in range(max(1, n - width + 1))
            ]
            outputs.append(torch.stack(answers).amax(dim=0))
    return torch.cat(outputs).view(len(words), -1)


def test_the_first_window_always_counts():
    assert inside(MASK, 3).tolist() == [[True] * 4, [True, False, False, False], [True, True, False, False]]


def test_answers_and_gradients_are_those_of_the_definition(case):
    words, filters = case
    words.requires_grad_()
    weight = torch.randn(3, 9, dtype=torch.float64, generator=generator(1))
    found = []
    for compute in (strongest, by_hand):
        values = compute(words, MASK, filters)
        inputs = [words, *[p for each in filters for p in each.parameters()]]
        found.append([values, *torch.autograd.grad((values * weight).sum(), inputs)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_it_can_be_differentiated_twice(case):
    words, filters = case
    parameters = [p for each in filters for p in (each.weight, each.bias)]

    def compute(words, *_):
        return strongest(words, MASK, filters)

    assert torch.autograd.gradcheck(compute, (words.requires_grad_(), *parameters))
    assert torch.autograd.gradgradcheck(compute, (words, *parameters))


def test_frozen_words_get_no_gradient_and_filters_still_learn(case):
    words, filters = case
    strongest(words, MASK, filters).sum().backward()
    assert words.grad is None
    assert all(each.weight.grad.any() for each in filters)


def test_bfloat16_answers_still_give_float32_gradients():
    filters = [nn.Conv1d(4, 3, 2)]
    words = torch.randn(3, 6, 4, generator=generator(0)).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = strongest(words, MASK, filters)
    answers.sum().backward()
    assert words.grad.dtype == filters[0].weight.grad.dtype == torch.float32
