"""The central square of an image, scaled: what is embedded and clustered."""

from __future__ import annotations

from PIL import Image

# Of an image that is longer than this, only the part that is kept is scaled: the whole
# of 2 x 60,000 pixels would take gigabytes.
_LONGEST_ASPECT = 8


def scaled_side(size: int, crop: float) -> int:
    """Shorter side of the whole image from which a square is cut.

    Args:
        size: Side of the square in pixels.
        crop: The same as a fraction of the shorter side, in (0, 1].

    Example:
        >>> scaled_side(224, crop=0.875)
        256
    """
    # Rounded down as timm does; of 231.999 it is 232.
    return int(size / crop + 1e-6)


def central_square(
    image: Image.Image, size: int, scaled: int, interpolation: str
) -> Image.Image:
    """Scales an image and cuts out its centre, exactly as torchvision does.

    An image that already is that square is returned as it is.

    Args:
        image: The image, of mode ``RGB`` or ``L``.
        size: Side of the square in pixels.
        scaled: Shorter side of the whole image that it is cut from, in pixels.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
    """
    if image.size == (size, size) and size == scaled:
        return image
    resampling = Image.Resampling[interpolation.upper()]
    shorter = min(image.size)
    sides = [scaled * length // shorter for length in image.size]
    if not is_long(*image.size):
        # Half a pixel is rounded to the even one.
        left, top = (round((side - size) / 2) for side in sides)
        whole = image.resize((sides[0], sides[1]), resampling)
        return whole.crop((left, top, left + size, top + size))
    box: list[float] = []
    for length, side in zip(image.size, sides, strict=True):
        start = round((side - size) / 2)
        box += [start * length / side, (start + size) * length / side]
    x0, x1, y0, y1 = box
    return image.resize((size, size), resampling, box=(x0, y0, x1, y1))


def is_long(height: int, width: int) -> bool:
    """Whether of an image only the part that is kept is scaled."""
    return max(height, width) > _LONGEST_ASPECT * min(height, width)
