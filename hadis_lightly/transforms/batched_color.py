"""Colour jitter, grey, blur and solarization of a batch, each image its own way.

Images are planes, ``(c, m, h, w)``, of floats in 0..1: with the channel first, every
operation runs over contiguous memory. As in torchvision on floats, nothing is rounded
on the way. Arithmetic replaces masks over pixels, which are an order of magnitude
slower on a CPU. Only tensors made in this package are changed in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hadis_lightly.transforms.batched_geometry import sandwich

# torchvision's numbers for the four parts of a colour jitter.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def runs_on_host(x: Tensor) -> bool:
    """Whether values can be read without waiting: on a CPU, not compiled."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def jitter(x: Tensor, factors: Tensor, order: Tensor, active: Sequence[bool]) -> Tensor:
    """Brightness, contrast, saturation and hue, each image in its own order.

    The first three are affine in the colours of a pixel. They run in rounds, one
    operation per image and round, before and after the hue. On a CPU images sorted by
    :func:`num_before_hue` take half as long: a round skips those without one.

    Args:
        x: Planes ``(c, m, h, w)``; changed in place.
        factors: Factors of the four, ``(m, 4)``; 1, 1, 1, 0 changes nothing.
        order: Order of the four, ``(m, 4)``: a permutation of 0..3.
        active: Whether any image has each of the four; the others are skipped.
    """
    place = order.argsort(dim=1).unbind(dim=1)
    ops = [op for op in (BRIGHTNESS, CONTRAST, SATURATION) if active[op]]
    if len(x) == 1 and SATURATION in ops:  # grey images have none, and no hue
        ops.remove(SATURATION)

    # The round of each operation: how many others come before it.
    round_of = {
        op: torch.stack([place[other] < place[op] for other in ops]).sum(dim=0)
        for op in ops
    }

    def run_round(number: int, rows: slice, chosen: Tensor | bool = True) -> None:
        masks = {op: ((round_of[op] == number) & chosen)[rows] for op in ops}
        _affine_round(x[:, rows], factors[rows], masks)

    if not active[HUE] or len(x) == 1:
        for number in range(len(ops)):
            run_round(number, slice(None))
        return x
    before = num_before_hue(factors, order, active)
    ends = _ends(before, len(ops))
    for number in range(len(ops)):
        run_round(number, slice(ends[number], ends[-1]), number < before)
    jittered = slice(0, ends[-1])
    adjust_hue(x[:, jittered], factors[jittered, HUE])
    for number in range(len(ops)):
        run_round(number, slice(0, ends[number]), number >= before)
    return x


def num_before_hue(factors: Tensor, order: Tensor, active: Sequence[bool]) -> Tensor:
    """How many of brightness, contrast, saturation come before the hue, ``(m,)``.

    4 for images that are not jittered at all. Arguments as in :func:`jitter`.
    """
    place = order.argsort(dim=1)  # the inverse permutation
    count = torch.zeros_like(place[:, HUE])
    for op in (BRIGHTNESS, CONTRAST, SATURATION):
        if active[op]:
            count = count + (place[:, op] < place[:, HUE])
    changed = (factors[:, :HUE] != 1).any(dim=1) | (factors[:, HUE] != 0)
    return torch.where(changed, count, 4)


def _ends(before: Tensor, num_rounds: int) -> list[int | None]:
    """How many of the sorted images have at most 0, 1, ... rounds before their hue.

    None, an open slice, if images are not sorted or the host would have to wait.
    """
    rounds = range(num_rounds + 1)
    if runs_on_host(before):
        counts = before.numpy()
        if (counts[1:] >= counts[:-1]).all():
            return [int(end) for end in counts.searchsorted(rounds, "right")]
    return [None for _ in rounds]


def _affine_round(x: Tensor, factors: Tensor, masks: dict[int, Tensor]) -> None:
    """Turns ``x`` into ``f * x + (1 - f) * g``, cut to 0..1.

    ``g`` is 0 for brightness, the pixel's grey for saturation and the image's mean grey
    for contrast.
    """
    own = torch.ones_like(factors[:, 0])
    for op, mask in masks.items():
        own = torch.where(mask, factors[:, op], own)
    own = own[:, None, None]
    if CONTRAST not in masks and SATURATION not in masks:
        x.mul_(own).clamp_(0, 1)
        return
    other = luma(x)
    mean = other.mean(dim=(1, 2), keepdim=True)
    if SATURATION in masks:
        other.mul_(masks[SATURATION][:, None, None].to(x.dtype))
    else:
        other.zero_()
    if CONTRAST in masks:
        other.add_(mean * masks[CONTRAST][:, None, None])
    torch.lerp(other, x, own, out=x).clamp_(0, 1)


def adjust_hue(x: Tensor, shift: Tensor) -> Tensor:
    r"""Shifts the hue of RGB planes ``(3, m, h, w)`` by fractions of a turn ``(m,)``.

    In place. The largest and the smallest channel of a pixel keep their values. With
    channels scaled so that these are 1 and 0, a colour lies :math:`1 + g + b - r`
    sixths of a turn from red, towards green where :math:`g \ge b`, else towards blue.
    """
    red, green, blue = x.unbind(dim=0)
    high = torch.maximum(red, green)
    torch.maximum(high, blue, out=high)
    low = torch.minimum(red, green)
    torch.minimum(low, blue, out=low)
    chroma = high - low
    hue = (green + blue).sub_(red).sub_(low)
    scratch = chroma.clamp(min=1e-12)  # grey has no chroma, any hue will do for it
    hue.div_(scratch).add_(1)
    hue.copysign_(torch.sub(green, blue, out=scratch)).add_(6 * shift[:, None, None])
    hue.sub_(torch.div(hue, 6, out=scratch).floor_(), alpha=6)  # in [0, 6)
    # Each channel is a trapezoid over the hue: largest for two sixths around its
    # colour, smallest for the opposite two.
    for plane, centre, start, sign in (
        (red, 3, low, 1),
        (green, 2, high, -1),
        (blue, 4, high, -1),
    ):
        torch.sub(hue, centre, out=scratch).abs_().sub_(1).clamp_(0, 1)
        torch.addcmul(start, chroma, scratch, value=sign, out=plane)
    return x


def luma(x: Tensor) -> Tensor:
    """Grey of RGB planes, ``(3, m, h, w)`` to ``(m, h, w)``, or a copy of a grey plane.

    The weights are torchvision's; those of ITU-R 601 begin with 0.299.
    """
    if len(x) == 1:
        return x[0].clone()
    red, green, blue = x.unbind(dim=0)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(x: Tensor, mask: Tensor) -> Tensor:
    """Turns some of the planes ``(c, m, h, w)`` grey, in place."""
    if len(x) == 1:
        return x
    return _change_some(x, mask, lambda some: luma(some).expand_as(some))


def blur(x: Tensor, sigma: Tensor, max_sigma: float) -> Tensor:
    """Gaussian blur, in place, images mirrored at their borders.

    One matrix for rows and columns. The kernel spans four standard deviations either
    way, beyond which lies less than 1e-4 of it. A Gaussian sampled at whole pixels
    varies less than ``sigma**2`` if ``sigma`` is small (at 0.3 by nine tenths): what
    is missing is moved from its middle to the two pixels beside. From 1 upwards that
    is nothing but rounding.

    Args:
        x: Square planes ``(c, m, size, size)``.
        sigma: Standard deviation in pixels, ``(m,)``; 0 leaves an image as it is.
        max_sigma: Upper bound of ``sigma``.
    """
    size = x.shape[-1]
    radius = min(math.ceil(4 * max_sigma), size - 1)  # no more can be mirrored
    if radius == 0:
        return x
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    pixels = torch.arange(size, device=x.device)
    mirrored = (pixels + offsets.unsqueeze(1)).abs()
    mirrored = (size - 1) - ((size - 1) - mirrored).abs()  # (2 * radius + 1, size)
    takes = (mirrored.unsqueeze(2) == pixels).to(x.dtype).flatten(1)
    # Added to a kernel it adds 1 to the variance, nothing to sum and mean.
    spread = (offsets.abs() == 1).to(x.dtype) / 2 - (offsets == 0).to(x.dtype)

    def apply(x: Tensor, sigma: Tensor) -> Tensor:
        exponent = -0.5 * (offsets / sigma.clamp(min=0.05).unsqueeze(1)).square()
        kernel = exponent.softmax(dim=1)  # (m, 2 * radius + 1)
        # A CPU is slow at subnormal numbers.
        kernel = torch.where(kernel > 1e-9, kernel, 0.0)
        kernel = kernel + _missing_variance(sigma).unsqueeze(1) * spread
        matrix = (kernel @ takes).reshape(-1, size, size)
        return sandwich(matrix, x, matrix, out=x if runs_on_host(x) else None)

    return _change_some(x, sigma > 0, apply, sigma)


def _missing_variance(sigma: Tensor) -> Tensor:
    """``sigma**2`` less the variance of a Gaussian sampled at integers, ``(m,)``.

    Values of ``sigma`` above 1 count as 1, where it is 2e-7.
    """
    variance = sigma.clamp(max=1.0).square().unsqueeze(1)
    squares = torch.arange(1, 7, device=sigma.device).square()
    weights = (-0.5 * (squares / variance)).exp()  # at 1..6, relative to that at 0
    sampled = 2 * (squares * weights).sum(dim=1) / (1 + 2 * weights.sum(dim=1))
    return variance.squeeze(1) - sampled


def solarize(x: Tensor, solarize_from: Tensor) -> Tensor:
    """Inverts pixels of planes ``(c, m, h, w)`` from a value upwards, in place.

    Each image has its own value, ``(m,)``; one above 1 leaves it as it is.
    """

    def invert(x: Tensor, limit: Tensor) -> Tensor:
        return torch.where(x >= limit[:, None, None], 1 - x, x)

    return _change_some(x, solarize_from <= 1, invert, solarize_from)


def normalize_channels(
    x: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Tensor:
    """``(x - mean) / std`` for each of the planes ``(c, n, h, w)``, in place."""
    if mean and std:
        for plane, m, s in zip(x.unbind(dim=0), mean, std, strict=True):
            plane.sub_(m).div_(s)
    return x


def _change_some(
    x: Tensor, mask: Tensor, change: Callable[..., Tensor], *rows: Tensor
) -> Tensor:
    """Changes the images under the mask; ``rows`` are selected with them."""
    if runs_on_host(x):
        chosen = mask.nonzero().squeeze(1)
        if len(chosen) > 0:
            some = x.index_select(1, chosen)
            some = change(some, *(row[chosen] for row in rows))
            x.index_copy_(1, chosen, some)
        return x
    # Elsewhere the host would have to wait for their number.
    return torch.where(mask[:, None, None], change(x, *rows), x)
