"""Skip connections: how what a sublayer reads and what it makes of it become its output.

Source: Liu, Ren, Zhang, Sun and Zou, "Rethinking Skip Connection with Layer Normalization in Transformers and ResNets",
COLING 2020 (arXiv 2105.07205); that each normalisation of rSkip has a gain and a bias of its own is reconstructed. The
default is Xiong et al.'s, "On Layer Normalization in the Transformer Architecture", ICML 2020.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from hauberk.tasks.errors import UserError

Sublayer = Callable[[Tensor], Tensor]  # F: hidden states [..., dim] to others of the same shape


class PreNorm(nn.LayerNorm):
    """x + F(LN(x))."""

    def around(self, hidden: Tensor, sublayer: Sublayer) -> Tensor:
        """Returns what becomes of ``hidden`` [..., dim]."""
        return hidden + sublayer(self(hidden))


class XSkip(nn.Module):
    """scale x + F(x): "plain" where the scale is 1."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def around(self, hidden: Tensor, sublayer: Sublayer) -> Tensor:
        """Returns what becomes of ``hidden`` [..., dim]."""
        return self.scale * hidden + sublayer(hidden)


class XSkipNorm(nn.LayerNorm):
    """LN(scale x + F(x))."""

    def __init__(self, dim: int, scale: float):
        super().__init__(dim)
        self.scale = scale

    def around(self, hidden: Tensor, sublayer: Sublayer) -> Tensor:
        """Returns what becomes of ``hidden`` [..., dim]."""
        return self(self.scale * hidden + sublayer(hidden))


class RSkipNorm(nn.ModuleList):
    """y_1 = LN(x + F(x)) and y_k = LN(x + y_(k-1)); the output is y_scale."""

    def __init__(self, dim: int, scale: int):
        super().__init__(nn.LayerNorm(dim) for _ in range(scale))

    def around(self, hidden: Tensor, sublayer: Sublayer) -> Tensor:
        """Returns what becomes of ``hidden`` [..., dim]."""
        made = sublayer(hidden)
        for norm in self:
            made = norm(hidden + made)
        return made


Skip = PreNorm | XSkip | XSkipNorm | RSkipNorm

SKIPS: dict[str, Callable[[int, float], Skip]] = {
    "pre_norm": lambda dim, scale: PreNorm(dim),
    "plain": lambda dim, scale: XSkip(1.0),
    "xskip": lambda dim, scale: XSkip(scale),
    "xskip_ln": XSkipNorm,
    "rskip_ln": lambda dim, scale: RSkipNorm(dim, int(scale)),
}
UNSCALED = ("pre_norm", "plain")


def check_skip(skip: str, scale: float) -> None:
    """Raises UserError if there is no such skip connection, or none of this scale."""
    if skip not in SKIPS:
        raise UserError(f"model.skip must be one of {', '.join(SKIPS)}, got '{skip}'.")
    if skip in UNSCALED and scale != 1:
        raise UserError(f"model.scale must be 1 with skip = '{skip}', got {scale:g}.")
    if skip == "rskip_ln" and (scale < 1 or scale != int(scale)):
        raise UserError(
            f"model.scale must be a whole number of at least 1 with skip = 'rskip_ln', got {scale:g}."
        )
    if not scale > 0:
        raise UserError(f"model.scale must be above 0, got {scale:g}.")
