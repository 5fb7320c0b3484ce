"""Reconstruction of masked patches (PISD): normalised pixels, masked ones alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.loss.inputs import check_tensors
from hadis_lightly.precision import at_least_float32

#: Added to the variance of a patch, as in masked autoencoders.
_EPS = 1e-6


def masked_patch_loss(prediction: Tensor, patches: Tensor) -> Tensor:
    """Mean squared error of the normalised pixels; see :class:`MaskedPatchLoss`.

    The patches receive no gradient.
    """
    with torch.autocast(device_type=prediction.device.type, enabled=False):
        prediction = at_least_float32(prediction)
        patches = at_least_float32(patches.detach())
        # As lightly's normalize_mean_var, whose import would load all its models.
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        return F.mse_loss(prediction, (patches - mean) / (variance + _EPS).sqrt())


def check_patches(**patches: Tensor) -> None:
    """Checks prediction and patches, given by the caller's argument names.

    Raises:
        TypeError: If one is not a floating point tensor, or only one is float64.
        ValueError: If one is not ``(n, m, p)`` with ``p >= 2``, or shapes differ.
    """
    check_tensors("(n, m, p)", **patches)
    for name, x in patches.items():
        if x.shape[2] < 2:
            raise ValueError(f"{name} must have patches of 2 pixels or more, got 1.")


class MaskedPatchLoss(nn.Module):
    r"""Reconstructs masked patches, the self-discrimination (PISD) of PICI [0].

    .. math::
        L_{PISD} = \frac{1}{n m p} \sum_{i, j, l} \Big(\hat{y}_{ijl} -
            \frac{y_{ijl} - \bar{y}_{ij}}{\sqrt{s_{ij}^2 + \epsilon}}\Big)^2

    :math:`y_{ijl}` is pixel l of masked patch j of image i, :math:`\bar{y}_{ij}` and
    :math:`s_{ij}^2` the mean and the (unbiased) variance of that patch,
    :math:`\epsilon` is 1e-6. It is the loss of a masked autoencoder [1].

    Shape: prediction ``(n, m, p)``, patches ``(n, m, p)``: m patches of p pixels, as
        they are; normalised inside.

    Returns: Scalar >= 0, mean over all pixels of the masked patches.

    Raises:
        TypeError: If an input is not a floating point tensor.
        ValueError: If an input is not ``(n, m, p)`` or the shapes differ.

    Example:
        >>> patches = torch.tensor([[[0.0, 2.0], [5.0, 5.0]]])
        >>> MaskedPatchLoss()(torch.zeros(1, 2, 2), patches)
        tensor(0.2500)

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    - [1]: Masked Autoencoder, 2021, https://arxiv.org/abs/2111.06377
    """

    def forward(self, prediction: Tensor, patches: Tensor) -> Tensor:
        """Returns the loss of one view."""
        check_patches(prediction=prediction, patches=patches)
        return masked_patch_loss(prediction, patches)
