"""The loss of two views in both directions."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.loss import HaDisLoss, HaDisLossTerms
from hadis_lightly.models import HaDisModel


def symmetric_terms(
    model: HaDisModel,
    criterion: HaDisLoss,
    x0: Tensor,
    x1: Tensor,
    labels: Tensor | None,
    *,
    diffuse: bool,
    concatenate_views: bool = False,
) -> HaDisLossTerms:
    """The terms of the loss of two views, averaged over both directions.

    Args:
        model: Student, predictor and teacher.
        criterion: The loss.
        x0: One view of each image, ``(n, c, h, w)``.
        x1: The other view.
        labels: Pseudo-labels ``(n,)``; None leaves PCL out.
        diffuse: Whether projections are diffused before they are predicted.
        concatenate_views: Whether both views pass the networks as one batch.
    """
    if concatenate_views:
        x = torch.cat([x0, x1])
        z, p = model.forward_student(x, diffuse=diffuse)
        (z0, z1), (p0, p1) = z.chunk(2), p.chunk(2)
        t0, t1 = model.forward_teacher(x).chunk(2)
    else:
        z0, p0 = model.forward_student(x0, diffuse=diffuse)
        z1, p1 = model.forward_student(x1, diffuse=diffuse)
        t0, t1 = model.forward_teacher(x0), model.forward_teacher(x1)
    terms_01 = criterion(student=z0, prediction=p0, teacher=t1, labels=labels)
    terms_10 = criterion(student=z1, prediction=p1, teacher=t0, labels=labels)
    return HaDisLossTerms(
        *(0.5 * (a + b) for a, b in zip(terms_01, terms_10, strict=True))
    )
