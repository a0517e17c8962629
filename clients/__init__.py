"""What a client does with a round: it trains, with plugins, or as its attack wants."""

from hauberk.clients.loop import train
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.session import Session
from hauberk.clients.settings import Training
from hauberk.clients.worker import ClientReply, Instruction, Worker, WorkerConfig

__all__ = [
    "OPTIMIZERS",
    "PLUGINS",
    "ClientReply",
    "Instruction",
    "Session",
    "Training",
    "Worker",
    "WorkerConfig",
    "train",
]
