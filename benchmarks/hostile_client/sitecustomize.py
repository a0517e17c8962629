"""A client whose owner has changed its program: this folder on PYTHONPATH, and HOSTILE = nan or state."""

import os

if what := os.environ.get("HOSTILE"):
    import numpy as np
    import torch

    from hauberk.experiments.deploy.resident import Resident

    honest = Resident.fit

    def hostile(self, instruction):
        """Does the honest work and spoils it from round 2 on."""
        reply = honest(self, instruction)
        if instruction.round > 1 and what == "nan":
            name = next(iter(reply.arrays))
            reply.arrays[name] = np.full_like(reply.arrays[name], np.nan)
        if instruction.round > 1 and what == "state":
            reply.state["table"] = torch.ones(250_000_000)
        return reply

    Resident.fit = hostile
