"""Fine-tuning a pretrained language model: the embedded BERT, or any that transformers can load.

The embedded one is MiniLM-L6 (Wang et al., NeurIPS 2020): six layers of width 384, 22.7 million parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hauberk.tasks.errors import UserError, nearest
from hauberk.tasks.package_data import checked_file
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.any_tokenizer import AnyTokenizer
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.models import _embeddings as embeddings
from hauberk.tasks.text.models._lora import Lora, merged
from hauberk.tasks.text.models.base import TextModel
from hauberk.tasks.text.tokenizer import Tokenizer, WordPiece

EMBEDDED = "embedded:minilm-l6"
CONFIG = "model/config.json"
CONFIG_SHA256 = "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"


class PretrainedModel(TextModel):
    """A classifier of transformers behind the contract of ``TextModel``; ``network`` is the classifier."""

    def __init__(self, network: nn.Module, config: Pretrained):
        super().__init__()
        self.network: Any = network
        self.config = config
        base = network.base_model_prefix
        heads = [name for name, part in network.named_children() if name != base and list(part.parameters())]
        self.head_names = tuple(f"network.{name}." for name in heads)

    @property
    def embedding(self) -> nn.Embedding:
        """The word table, one row for each token of the vocabulary."""
        return self.network.get_input_embeddings()

    def layers(self, batch: Batch) -> list[Tensor]:
        """Returns the output of every layer, each [b, L, h]."""
        found = self.network.base_model(**_inputs(batch), output_hidden_states=True)
        return list(found.hidden_states[1:])

    def features(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the state of the first token, [b, h], where encoders gather what they know of a text."""
        return hidden[:, 0]

    def head(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes].

        Raises:
            UserError: if the network is of a family whose head is not known to read a layer by itself.
        """
        return _head_of(self.network)(hidden)

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes]."""
        return self.network(**_inputs(batch)).logits

    def save_pretrained(self, folder: Path, labels: Sequence[str]) -> None:
        """Writes a folder that transformers can load: network, tokenizer and the names of the classes.

        Adapters become part of the weights, so that nobody needs peft to read it.
        """
        network = self.network if self.config.lora is None else merged(self.network)
        settings = network.config
        settings.id2label = dict(enumerate(labels))
        settings.label2id = {label: number for number, label in enumerate(labels)}
        with _quiet_transformers() as transformers:
            network.save_pretrained(folder)
            source = transformers.AutoTokenizer.from_pretrained(
                self.config.folder(), revision=self.config.revision
            )
            source.save_pretrained(folder)


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pretrained classifier; HF_HUB_OFFLINE and the cache are honoured.

    Args:
        path: "embedded:minilm-l6", a folder, or a name on the Hugging Face hub.
        revision: its version on the hub; pin one, so that a figure always means the same weights.
        lora: where only adapters and the head are to learn.
    """

    slow_imports: ClassVar[tuple[str, ...]] = ("transformers.modeling_utils", "transformers.modeling_layers")

    path: str = EMBEDDED
    revision: str | None = None
    lora: Lora | None = None

    def __post_init__(self) -> None:
        """Refuses an embedded model that does not exist."""
        if self.path.startswith("embedded:") and self.path != EMBEDDED:
            raise UserError(f"path: unknown '{self.path}'; {nearest(self.path, [EMBEDDED])}")

    def tokenizer(self) -> Tokenizer:
        """Returns the tokenizer that the model was trained with."""
        if self.path == EMBEDDED:
            return WordPiece(specials=True, longest=512)
        return AnyTokenizer(path=self.path, revision=self.revision)

    def build(self, n_classes: int, rng: torch.Generator) -> PretrainedModel:
        """Returns the pretrained network with a new head of ``n_classes``, in float32.

        Raises:
            UserError: if it cannot be loaded, is another one than was pinned, or cannot be adapted.
        """
        with seeded(rng), _quiet_transformers() as transformers:
            try:
                network = transformers.AutoModelForSequenceClassification.from_pretrained(
                    self.folder(), num_labels=n_classes, revision=self.revision, ignore_mismatched_sizes=True
                )
            except (OSError, ValueError) as error:
                if isinstance(error, UserError):
                    raise
                reason = " ".join(str(error).split())[:300]
                raise UserError(f"model.path: cannot load '{self.path}': {reason}") from error
            return self._adapted(PretrainedModel(network.float(), self))

    def _adapted(self, model: PretrainedModel) -> PretrainedModel:
        if self.lora is not None:
            self.lora.adapt(model.network, tuple(name.removeprefix("network.") for name in model.head_names))
        return model

    def folder(self) -> str:
        """Returns what transformers calls the model's name or path; embedded weights are checked first."""
        if self.path != EMBEDDED:
            return self.path
        checked_file(embeddings.PACKAGE, embeddings.WEIGHTS, embeddings.SHA256)
        return str(checked_file(embeddings.PACKAGE, CONFIG, CONFIG_SHA256).parent)


def _inputs(batch: Batch) -> dict[str, Tensor]:
    inputs = {"input_ids": batch.tokens, "attention_mask": batch.mask.long()}
    return inputs if batch.segments is None else inputs | {"token_type_ids": batch.segments}


def _head_of(network: Any) -> Callable[[Tensor], Tensor]:
    """Returns what turns the hidden states of a layer into logits, for the families that have it."""
    classifier: Any = getattr(network, "classifier", None)
    pooler: Any = getattr(network, "pooler", None) or getattr(network.base_model, "pooler", None)
    if hasattr(classifier, "out_proj"):  # RoBERTa, ELECTRA
        return classifier
    if hasattr(network, "pre_classifier"):  # DistilBERT
        return lambda hidden: classifier(network.dropout(network.pre_classifier(hidden[:, 0]).relu()))
    if hasattr(pooler, "dense"):  # BERT, DeBERTa
        return lambda hidden: classifier(network.dropout(pooler(hidden)))
    raise UserError(f"The head of {type(network).__name__} cannot read the hidden states of a single layer.")


@contextmanager
def _quiet_transformers() -> Iterator[Any]:
    """Gives the library for a block in which it neither warns that the head is new nor draws a bar."""
    import transformers
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
