"""Client plugins by name: a new one is one file, one line here, and one test."""

from hauberk.clients.plugins.base import Plugin, check_plugins, step_of
from hauberk.clients.plugins.fedprox import FedProx
from hauberk.clients.plugins.gradient_clip import GradientClip

PLUGINS: dict[str, type[Plugin]] = {"fedprox": FedProx, "gradient_clip": GradientClip}

__all__ = ["PLUGINS", "FedProx", "GradientClip", "Plugin", "check_plugins", "step_of"]
