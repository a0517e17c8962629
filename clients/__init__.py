"""What a client does with a round: it trains, with plugins, or as its attack wants."""

from hauberk.clients.client import ClientReply, Instruction, Worker
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.session import Session
from hauberk.clients.training import Training, train

__all__ = [
    "OPTIMIZERS",
    "PLUGINS",
    "ClientReply",
    "Instruction",
    "Session",
    "Training",
    "Worker",
    "train",
]
