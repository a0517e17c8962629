"""A loss whose gradient is known by heart, for the plugins that own the step."""

from types import SimpleNamespace

import torch
from torch import nn


class Bowl(nn.Module):
    """L = 1/2 (sum of curvature * weight^2) + 1/2 sum of bias^2."""

    def __init__(self, weight, bias, curvature):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.bias = nn.Parameter(torch.tensor(bias))
        self.curvature = torch.tensor(curvature)

    def forward(self):
        """Returns L."""
        return (self.curvature * self.weight**2).sum() / 2 + (self.bias**2).sum() / 2


def one_step(plugin, weight=(3.0, 4.0), bias=(2.0,), curvature=(1.0, 2.0), lr=0.1):
    """Takes one step of plain SGD on a Bowl; returns it, the loss reported and the points where it looked."""
    model = Bowl(weight, bias, curvature)
    optimizer, points = torch.optim.SGD(model.parameters(), lr=lr), []

    def closure():
        points.append([*model.weight.tolist(), *model.bias.tolist()])
        optimizer.zero_grad()
        loss = model()
        loss.backward()
        return loss.detach()

    session = SimpleNamespace(model=model, optimizer=optimizer, scratch={})
    plugin.setup(session)
    return model, plugin.step(session, closure), points
