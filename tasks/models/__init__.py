"""The models, by the names that an experiment uses."""

from hauberk.tasks.models.base import ModelConfig, TextModel
from hauberk.tasks.models.pretrained import Pretrained
from hauberk.tasks.models.recurrent import Gru, Lstm
from hauberk.tasks.models.text_cnn import TextCNN
from hauberk.tasks.models.transformer import Transformer

MODELS: dict[str, type] = {
    "text_cnn": TextCNN,
    "gru": Gru,
    "lstm": Lstm,
    "transformer": Transformer,
    "pretrained": Pretrained,
}

__all__ = ["MODELS", "Gru", "Lstm", "ModelConfig", "Pretrained", "TextCNN", "TextModel", "Transformer"]
