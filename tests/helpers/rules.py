"""What the battery of the rules needs to know of each: how it is built, what it is not asked, and all it may know."""

import json
from dataclasses import fields

import pytest
import torch

from hauberk.strategies import AGGREGATORS, NNM, PRE_AGGREGATORS, AggregationContext, chain, layout_of
from hauberk.strategies.base import last_rule

N, D, F = 11, 40, 2


# Parameters without a default, beside n_malicious.
REQUIRED = {"RobustLearningRate": {"threshold": 4}, "Clip": {"threshold": 50.0}}
# Rules that look at norms or signs mean something else around another origin.
BYZFL = repr(AGGREGATORS["rfa"](convention="byzfl"))
AROUND_ZERO = {BYZFL, "NormClip", "WeakDP", "CenteredClip", "RobustLearningRate", "SignMajority"}
# So do angles, angles of the models that the updates lead to, and the largest coordinates.
AROUND_ZERO |= {"FoolsGold", "FLTrust", "SignGuard", "CRFL", "FLAME", "FreqFed", "DeepSight", "SparseFed"}
AROUND_ZERO |= {"AlignIns", "MultiMetrics"}
# Rules that do not return what everyone sent: they add noise, or send signs,
NOT_IDEMPOTENT = {"WeakDP", "SignMajority"}
# or clip the model, take the length of the root update, keep most of it for later, or sum.
NOT_IDEMPOTENT |= {"CRFL", "FLAME", "FLTrust", "SparseFed", repr(AGGREGATORS["foolsgold"](divided=False))}
# Rules that measure distances and hand them on, and rules with a state.
MEASURES = ("Krum", "MultiKrum", "Bulyan", "RFA", "AutoGM", "MDA", "MoNNA", "DimKrum", "FLAME")
REMEMBERS = ("CenteredClip", "DimKrum", "FoolsGold", "CRFL", "SparseFed", "FLCert", "FLDetector", "Ledger")
# One parameter is no output layer.
MORE_THAN_ONE = {"DeepSight"}


def is_told_n_malicious(kind):
    return any(field.name == "n_malicious" for field in fields(kind))


def build(kind, n_malicious=F, **settings):
    if is_told_n_malicious(kind):
        settings["n_malicious"] = n_malicious
    return kind(**REQUIRED.get(kind.__name__, {}), **settings)


def measures(aggregate):
    """Whether a rule has a geometry: after NNM each has NNM's own."""
    pairwise = getattr(aggregate, "selection", "pairwise") == "pairwise"
    return aggregate is not last_rule(aggregate) or (pairwise and repr(aggregate).startswith(MEASURES))


def remembers(aggregate):
    return repr(last_rule(aggregate)).startswith(REMEMBERS)


def rules_that(do):
    return pytest.mark.parametrize("aggregate", filter(do, RULES), ids=repr)


def rules_but(names):
    """All rules, bare and in chains, but those whose text begins with one of these names."""
    kept = [rule for rule in RULES if not repr(last_rule(rule)).startswith(tuple(names))]
    return pytest.mark.parametrize("aggregate", kept, ids=repr)


def dumped(state):
    """A state as text; tensors as their values."""
    return json.dumps(state, default=lambda value: value.tolist())


RULES = [build(kind) for kind in AGGREGATORS.values()]
RULES += [
    AGGREGATORS["rfa"](convention="byzfl"),
    AGGREGATORS["krum"](n_malicious=F, convention="flpoison"),
    AGGREGATORS["multi_krum"](n_malicious=F, convention="byzfl"),
    AGGREGATORS["bulyan"](n_malicious=F, convention="garfield"),
    AGGREGATORS["fedavg"](weighting="examples"),
    AGGREGATORS["multi_krum"](n_malicious=F, n_selected=3),
    AGGREGATORS["dim_krum"](n_malicious=F, ratio=0.2),
    AGGREGATORS["dim_krum"](n_malicious=F, ratio=0.2, noise=1.0),
    *(
        AGGREGATORS["dim_krum"](n_malicious=F, ratio=0.2, selection=selection)
        for selection in ("global", "z", "per_tensor", "full")
    ),
    AGGREGATORS["foolsgold"](divided=False),
    AGGREGATORS["flame"](convention="zhmzm"),
    AGGREGATORS["sparse_fed"](clip=1.0, ratio=0.2),
    AGGREGATORS["ledger"](n_malicious=F, max_vectors=4, memory_mb=0),
]
RULES += [chain(NNM(n_malicious=F), rule) for rule in RULES]
every_rule = pytest.mark.parametrize("aggregate", RULES, ids=repr)
every_pre = pytest.mark.parametrize("pre", [build(kind) for kind in PRE_AGGREGATORS.values()], ids=repr)


OUTPUTS = {"head.weight": (3, 4), "head.bias": (3,)}  # the output layer of a model with D parameters
INPUTS = torch.randn(12, 4, generator=torch.Generator().manual_seed(2))


def layout(d):
    shapes = {"body": (d - 15,), **OUTPUTS} if d >= D else {"body": (d, 1)}
    return layout_of({name: torch.empty(shape) for name, shape in shapes.items()})


def logits(parameters):
    tensors = layout(len(parameters)).unflatten(parameters)
    return INPUTS @ tensors["head.weight"].float().T + tensors["head.bias"]


def context(order=range(N), d=D):
    """All that a rule may know."""
    return AggregationContext(
        client_ids=tuple(100 + 7 * k for k in order),
        n_examples=tuple(10.0 + k for k in order),
        parameters=torch.linspace(-1, 2, d),
        layout=layout(d),
        root_update=torch.linspace(2, -1, d),
        logits=logits,
        round=3,
    )
