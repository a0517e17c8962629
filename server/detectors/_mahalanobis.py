"""How far features lie from clean classes: one Gaussian for each class and layer, all with one covariance.

Source: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018, eq. (1)-(2);
the shrunk covariance as in the code of DAN (github.com/lancopku/DAN).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussians:
    """What clean features look like.

    Attributes:
        means: of each layer and class, float64 [n_layers, n_classes, h].
        precisions: the inverse of each layer's covariance, float64 [n_layers, h, h].
    """

    means: Tensor
    precisions: Tensor

    def distances(self, features: Tensor) -> Tensor:
        """Returns min_c (x - mu_c)^T P (x - mu_c), float64 [n_layers, n], of features [n_layers, n, h]."""
        layers = zip(features, self.means, self.precisions, strict=True)
        return torch.stack([_nearest(*layer) for layer in layers])


def fit_gaussians(features: Tensor, labels: np.ndarray, shrinkage: float = 0.1) -> Gaussians:
    """Returns the Gaussians of clean features [n_layers, n, h], whose classes are ``labels`` [n].

    The covariance is that of the features less the mean of their class, S, shrunk towards a multiple of the identity:
    (1 - shrinkage) S + shrinkage * (trace S / h) I.
    """
    features = features.double()
    classes, which = np.unique(labels, return_inverse=True)
    means = torch.stack([features[:, labels == c].mean(dim=1) for c in classes], dim=1)
    centred = features - means[:, torch.as_tensor(which)]
    return Gaussians(means=means, precisions=torch.stack([_precision(one, shrinkage) for one in centred]))


def _nearest(features: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    away = [features.double() - mean for mean in means]
    return torch.stack([((each @ precision) * each).sum(dim=1) for each in away]).amin(dim=0)


def _precision(centred: Tensor, shrinkage: float) -> Tensor:
    from sklearn.covariance import ShrunkCovariance  # an import of more than a second

    return torch.as_tensor(ShrunkCovariance(shrinkage=shrinkage).fit(centred.numpy()).precision_)
