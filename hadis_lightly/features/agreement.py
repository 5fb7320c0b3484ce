"""How far features carry: whether two views of an image have the same neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.precision import full_precision

_NUM_NEIGHBOURS = 10
# Of fewer, chance alone gives more than 5 %.
_MIN_IMAGES = 200
_MAX_IMAGES = 2000


@full_precision()
def view_agreement(features: Tensor) -> float | None:
    """Share of the nearest neighbours that two views of an image agree on.

    It needs no labels: of the 10 plain images nearest to the first view by cosine, the
    fraction that is also among the 10 nearest to the second, as a mean over images. The
    image itself does not count. Chance gives ``10 / n``. Of more than 2,000 images,
    2,000 are taken, evenly spaced.

    Args:
        features: Of a bank, floating point ``(n, 1 + V, d)``: of the plain image first.

    Returns:
        From 0 to 1; None if there are fewer than two views, or so few images that
            chance alone gives 5 %.
    """
    n, width = features.shape[:2]
    if n < _MIN_IMAGES or width < 3:
        return None
    rows = torch.linspace(0, n - 1, min(n, _MAX_IMAGES)).long()
    plain, *views = F.normalize(features[rows, :3].float(), dim=2).unbind(1)
    is_near = []
    for view in views:
        cosines = (view @ plain.T).fill_diagonal_(-torch.inf)
        nearest = cosines.topk(_NUM_NEIGHBOURS, dim=1).indices
        is_near.append(torch.zeros_like(cosines, dtype=torch.bool))
        is_near[-1].scatter_(1, nearest, True)
    shared = (is_near[0] & is_near[1]).sum(dim=1)
    return float(shared.float().mean() / _NUM_NEIGHBOURS)
