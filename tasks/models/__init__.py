"""The models, by the names that an experiment uses."""

from hauberk.tasks.models.base import ModelConfig, TextModel
from hauberk.tasks.models.text_cnn import TextCNN

MODELS: dict[str, type] = {
    "text_cnn": TextCNN,
}

__all__ = ["MODELS", "ModelConfig", "TextModel", "TextCNN"]
