"""Client plugins by name: a new one is one file, one line here, and one test."""

from hauberk.clients.plugins.asam import Asam
from hauberk.clients.plugins.base import Plugin, check_plugins, step_of
from hauberk.clients.plugins.child_tuning_d import ChildTuningD
from hauberk.clients.plugins.child_tuning_f import ChildTuningF
from hauberk.clients.plugins.differential_privacy import DifferentialPrivacy
from hauberk.clients.plugins.fedprox import FedProx
from hauberk.clients.plugins.ga_sam import GaSam
from hauberk.clients.plugins.gradient_clip import GradientClip
from hauberk.clients.plugins.sam import Sam
from hauberk.clients.plugins.surgery import Surgery

PLUGINS: dict[str, type[Plugin]] = {
    "fedprox": FedProx,
    "gradient_clip": GradientClip,
    "sam": Sam,
    "asam": Asam,
    "ga_sam": GaSam,
    "child_tuning_f": ChildTuningF,
    "child_tuning_d": ChildTuningD,
    "surgery": Surgery,
    "differential_privacy": DifferentialPrivacy,
}

__all__ = [
    "PLUGINS",
    "Asam",
    "ChildTuningD",
    "ChildTuningF",
    "DifferentialPrivacy",
    "FedProx",
    "GaSam",
    "GradientClip",
    "Plugin",
    "Sam",
    "Surgery",
    "check_plugins",
    "step_of",
]
