"""Skip connections: what each computes, and what a deep stack of them does to gradients."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.batches import collate
from hauberk.tasks.text.models import Transformer
from hauberk.tasks.text.models._skips import SKIPS
from hauberk.tasks.text.models.transformer import Block

X = torch.tensor([[1.0, 3.0]])  # LN(x) is (-1, 1) but for the 1e-5 beside the variance


def doubled(hidden):
    return 2 * hidden


@pytest.mark.parametrize(
    ("skip", "scale", "expected"),
    [
        ("pre_norm", 1, [1 - 2, 3 + 2]),
        ("plain", 1, [3, 9]),
        ("xskip", 0.5, [2.5, 7.5]),
        ("xskip_ln", 0.5, [-1, 1]),
        ("rskip_ln", 1, [-1, 1]),
        ("rskip_ln", 2, [-1, 1]),  # LN of (1 - 1, 3 + 1)
    ],
)
def test_a_hand_calculation(skip, scale, expected):
    found = SKIPS[skip](2, scale).around(X, doubled)
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_each_norm_of_a_recursion_has_its_own_gain_and_bias():
    skip = SKIPS["rskip_ln"](2, 2)
    with torch.no_grad():
        skip[0].weight.mul_(10), skip[0].bias.add_(1)
        skip[1].weight.mul_(3)
    # y_1 = 10 (-1, 1) + 1 = (-9, 11), then LN(x + y_1) = LN(-8, 14) = (-1, 1), times 3.
    assert skip.around(X, doubled)[0].tolist() == pytest.approx([-3, 3], abs=1e-4)


def test_rskip_of_scale_one_is_the_post_norm_block_to_the_last_bit():
    config = Transformer(embedding_dim=16, hidden=32, skip="rskip_ln", dropout=0.0)
    torch.manual_seed(0)
    ours = Block(config)
    theirs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=False)
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(ours.project.weight)
        theirs.self_attn.in_proj_bias.copy_(ours.project.bias)
        for own, other in (
            (ours.mix, theirs.self_attn.out_proj),
            (ours.feedforward[0], theirs.linear1),
            (ours.feedforward[2], theirs.linear2),
        ):
            other.load_state_dict(own.state_dict())
    hidden, mask = torch.randn(3, 7, 16), torch.ones(3, 7, dtype=torch.bool)
    torch.testing.assert_close(ours(hidden, mask), theirs(hidden))
    attention, feedforward = nn.LayerNorm(16), nn.LayerNorm(16)
    middle = attention(hidden + ours._attention(hidden, mask))
    assert torch.equal(ours(hidden, mask), feedforward(middle + ours.feedforward(middle)))


def gradient_ratio(skip, scale, depth=12):
    """The gradient's norm at the words over that before the last block, in a new model."""
    config = Transformer(embedding_dim=16, hidden=32, n_layers=depth, dropout=0.0, skip=skip, scale=scale)
    model = config.build(2, generator(0))
    batch = collate(config.tokenizer().encode(["a fine film", "not so bad"], None, 16), np.arange(2))
    outputs = []
    for place in (0, depth - 1):
        model.blocks[place].register_forward_pre_hook(
            lambda _, read: (read[0].retain_grad(), outputs.append(read[0]))[0]
        )
    nn.functional.cross_entropy(model(batch), torch.tensor([0, 1])).backward()
    first, last = (float(output.grad.norm()) for output in outputs)
    return math.log10(first / last)


def test_without_a_norm_a_scale_makes_gradients_explode_or_vanish_with_depth_and_with_one_it_does_not():
    # 11 blocks of two sublayers each multiply by about the scale: 1.5^22 is 10^3.9, and .5^22 is 10^-6.6.
    assert gradient_ratio("xskip", 1.5) > 3
    assert gradient_ratio("xskip", 0.5) < -5
    assert all(abs(gradient_ratio("rskip_ln", scale)) < 0.5 for scale in (1, 2, 3))
    assert all(abs(gradient_ratio("xskip_ln", scale)) < 0.5 for scale in (0.5, 2))
    assert abs(gradient_ratio("pre_norm", 1)) < 0.5


@pytest.mark.parametrize(("skip", "scale"), [("plain", 1), ("xskip", 2), ("xskip_ln", 2), ("rskip_ln", 3)])
def test_every_parameter_of_a_model_with_it_learns(skip, scale):
    config = Transformer(embedding_dim=8, n_layers=2, hidden=8, skip=skip, scale=scale)
    model = copy.deepcopy(config.build(2, generator(0))).eval()
    seconds = ["a book", None]
    batch = collate(config.tokenizer().encode(["a film", "bad"], seconds, 16), np.arange(2))
    nn.functional.cross_entropy(model(batch), torch.tensor([0, 1])).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skip": "rskip"}, "skip must be one of pre_norm, plain, xskip, xskip_ln, rskip_ln, got 'rskip'"),
        ({"scale": 2}, "scale must be 1 with skip = 'pre_norm', got 2"),
        ({"skip": "rskip_ln", "scale": 1.5}, "a whole number of at least 1 with skip = 'rskip_ln', got 1.5"),
        ({"skip": "xskip", "scale": 0}, "scale must be above 0, got 0"),
    ],
)
def test_an_impossible_skip_is_refused_in_a_line(settings, message):
    with pytest.raises(UserError, match=message):
        Transformer(**settings)
