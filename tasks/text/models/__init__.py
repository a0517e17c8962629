"""The models, by the names that an experiment uses."""

from hauberk.tasks.text.models.base import ModelConfig, TextModel
from hauberk.tasks.text.models.gru import Gru
from hauberk.tasks.text.models.lstm import Lstm
from hauberk.tasks.text.models.pretrained import Pretrained
from hauberk.tasks.text.models.text_cnn import TextCNN
from hauberk.tasks.text.models.transformer import Transformer

MODELS: dict[str, type] = {
    "text_cnn": TextCNN,
    "gru": Gru,
    "lstm": Lstm,
    "transformer": Transformer,
    "pretrained": Pretrained,
}

__all__ = ["MODELS", "Gru", "Lstm", "ModelConfig", "Pretrained", "TextCNN", "TextModel", "Transformer"]
