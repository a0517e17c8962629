"""How odd each word of a text is to a language model: the perplexity of the text less that of the text without it.

Source: Qi et al., "ONION: A Simple and Effective Defense Against Textual Backdoor Attacks", EMNLP 2021, eq. (1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.trigram import Trigram

TOKENS = 2048  # of a batch: with GPT-2's vocabulary, 400 MB of logits


class LanguageModel(Protocol):
    """What can be surprised by a text."""

    def suspicions(self, words: Sequence[str]) -> list[float]:
        """Returns the perplexity of a text less that of the text without each of its ``words`` in turn, [n]."""

    def passes(self, words: Sequence[str]) -> int:
        """Returns how many texts go through a network for that."""


@dataclass(frozen=True, eq=False)
class WordTrigram:
    """Counts of the server's clean texts: no network at all."""

    counts: Trigram

    def suspicions(self, words: Sequence[str]) -> list[float]:
        """Returns the suspicion of each of ``words``, [n]."""
        whole = self.counts.perplexity([" ".join(words)])
        return [whole - without for without in self.counts.perplexities_without(words)]

    def passes(self, words: Sequence[str]) -> int:
        """Returns 0."""
        return 0


@dataclass(frozen=True, eq=False)
class CausalNetwork:
    """A causal language model of transformers, such as GPT-2."""

    network: Any
    tokenizer: Any
    device: str = "cpu"

    def suspicions(self, words: Sequence[str]) -> list[float]:
        """Returns the suspicion of each of ``words``, [n]."""
        shorter = [[*words[:place], *words[place + 1 :]] for place in range(len(words))]
        whole, *without = self.perplexities([" ".join(one) for one in (words, *shorter)])
        return [whole - one for one in without]

    def passes(self, words: Sequence[str]) -> int:
        """Returns one for the text and one for each of ``words``."""
        return len(words) + 1

    def perplexities(self, texts: Sequence[str]) -> list[float]:
        """Returns the perplexity of a token of each of ``texts``, whose first follows the token that begins a text."""
        begin = self.tokenizer.bos_token_id
        begin = self.tokenizer.eos_token_id if begin is None else begin
        longest = getattr(self.network.config, "max_position_embeddings", 1024)
        ids = [[begin, *self.tokenizer.encode(text, add_special_tokens=False)][:longest] for text in texts]
        size = max(1, TOKENS // max(map(len, ids)))
        return [one for start in range(0, len(ids), size) for one in self._batch(ids[start : start + size])]

    @torch.no_grad()
    def _batch(self, ids: Sequence[Sequence[int]]) -> list[float]:
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in ids], batch_first=True)
        lengths = torch.tensor([len(one) for one in ids])
        mask = (torch.arange(padded.shape[1]) < lengths[:, None]).to(self.device)
        padded = padded.to(self.device)
        logits: Tensor = self.network(input_ids=padded, attention_mask=mask.long()).logits
        losses = cross_entropy(logits[:, :-1].transpose(1, 2).double(), padded[:, 1:], reduction="none")
        real = mask[:, 1:]
        means = (losses * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        return means.exp().tolist()


def load_network(path: str, revision: str | None, device: str) -> CausalNetwork:
    """Returns the causal language model at ``path``, a folder or a name on the hub; HF_HUB_OFFLINE is honoured.

    Raises:
        UserError: if it cannot be loaded.
    """
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, revision=revision)
        network: Any = transformers.AutoModelForCausalLM.from_pretrained(path, revision=revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"detectors: ONION: model: cannot load '{path}': {reason}") from error
    return CausalNetwork(network.to(device).eval(), tokenizer, device)
