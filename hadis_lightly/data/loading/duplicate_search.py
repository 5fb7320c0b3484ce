"""Finds the images of a set that are there twice, or nearly."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hadis_lightly.data.duplicates import Duplicates
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.files.reader import open_file
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.loading.all_images import image_digest
from hadis_lightly.data.thread_map import Progress, thread_map
from hadis_lightly.precision import full_precision

# Sides in pixels: of thumbnails, as two of them are compared, and as they are sought.
_SIDE, _COMPARED, _COARSE = 32, 16, 8
# A copy has such a cosine, and a distance below this share of that of the tenth nearest
# image. Chosen on images of CIFAR-10: docs/results/oddities.md.
_NEIGHBOUR, _COARSE_RATIO, _RATIO, _LEAST_COSINE = 10, 0.5, 0.35, 0.95
# Standard deviation, in levels of 255, below which there is little to compare.
_LEAST_CONTRAST = 2.0
# Side of the windows, 94 %, that a crop of a copy is sought in, and where they start.
_WINDOW, _STARTS = 30, (0, 1, 2)
_BLOCK = 512


def find_duplicates(
    source: ImageSource, num_threads: int = 4, progress: Progress | None = None
) -> Duplicates:
    """Finds images that are the same, or the same photo in another form.

    Every image becomes a thumbnail of 32 pixels. Two of them are copies if one, perhaps
    mirrored or cropped by up to 6 %, correlates with the other by 0.95 or more, and is
    much closer to it than the tenth nearest image of each: less than 0.35 of that
    distance. So in a set whose images are all alike, such as digits, being alike makes
    no copies. Images of one colour are copies only if all pixels agree.

    Of more than ten near copies of one image none may be found, unless their
    thumbnails agree. All pairs are compared: ``400 n**2`` multiplications.

    Args:
        source: The images; those in large files are decoded reduced.
        num_threads: Threads that read and decode.
        progress: Called with the number of images read and the number of all.

    Raises:
        ImageReadError: If an image cannot be read.
    """
    n, channels = len(source), source.num_channels
    small = _reduced(source)

    def thumbnail(row: int) -> NDArray[np.uint8]:
        image = small[row][0].resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        return np.asarray(image)

    stacked = np.stack([*thread_map(thumbnail, n, num_threads, progress)])
    images = torch.from_numpy(stacked.reshape(n, _SIDE, _SIDE, channels))
    images = images.permute(0, 3, 1, 2)
    is_plain = _contrast(images) < _LEAST_CONTRAST
    rows: dict[bytes, int] = {}  # the first that looks so
    same = []
    for row, has_little in enumerate(is_plain.tolist()):
        look = stacked[row].tobytes()
        look += image_digest(source, row) if has_little else b""
        same.append([row, rows.setdefault(look, row)])
    distinct = torch.tensor(list(rows.values()))
    distinct = distinct[~is_plain[distinct]]
    near = distinct[_near_pairs(images[distinct])]
    first = _first_of_group(n, np.concatenate([same, near.numpy()]))
    kinds = [
        _kind(source, row, other) if row != other else ""
        for row, other in enumerate(first.tolist())
    ]
    return Duplicates(source.keys, source.targets, first, kinds)


def _reduced(source: ImageSource) -> ImageSource:
    """The source, its files read no larger than needed; patient by index."""
    if not isinstance(source, FolderSource) or source.decoded is not None:
        return source
    side = 2 * _SIDE
    return replace(source, min_side=min(side, source.min_side or side))


def _kind(source: ImageSource, row: int, other: int) -> str:
    """What two images have in common, see :class:`Duplicates`."""
    if image_digest(source, row) != image_digest(source, other):
        return "near"
    if not isinstance(source, FolderSource):
        return "pixels"
    return (
        "file" if _file_digest(source, row) == _file_digest(source, other) else "pixels"
    )


def _file_digest(source: FolderSource, row: int) -> bytes:
    with open_file(source.path(row)) as file:
        return hashlib.blake2b(file.read()).digest()


def _contrast(images: Tensor) -> Tensor:
    """Standard deviation of the pixels about the mean of their channel, ``(n,)``."""
    spreads = []
    for i in range(0, len(images), _BLOCK):
        block = images[i : i + _BLOCK].float()
        coarse = F.interpolate(block, (_COARSE, _COARSE), mode="area")
        centered = coarse - coarse.mean((2, 3), keepdim=True)
        spreads.append(centered.flatten(1).std(dim=1))
    return torch.cat(spreads)


def _directions(images: Tensor, side: int) -> Tensor:
    """Images ``(m, c, h, w)`` reduced, without their colour, as unit vectors."""
    if images.shape[-1] % side == 0:
        reduced = F.interpolate(images, (side, side), mode="area")
    else:
        reduced = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    centered = reduced - reduced.mean((2, 3), keepdim=True)
    return F.normalize(centered.flatten(1), dim=1)


@full_precision()
def _near_pairs(images: Tensor) -> Tensor:
    """Pairs of thumbnails ``(m, c, h, w)`` that show the same, int64 ``(p, 2)``."""
    m = len(images)
    k = min(_NEIGHBOUR, m - 1)
    if k < 1:
        return torch.empty(0, 2, dtype=torch.long)
    blocks = [images[i : i + _BLOCK] for i in range(0, m, _BLOCK)]
    rows = torch.cat([_directions(block.float(), _COARSE) for block in blocks])
    turned = torch.cat([_directions(b.float().flip(3), _COARSE) for b in blocks])
    largest, neighbours = [], []
    for start in range(0, m, _BLOCK):
        block = rows[start : start + _BLOCK]
        both = torch.maximum(block @ rows.T, block @ turned.T)  # (b, m)
        both.diagonal(start).fill_(-1)  # the images themselves
        values, columns = both.topk(k, dim=1)
        largest.append(values)
        neighbours.append(columns)
    apart = _distance(torch.cat(largest))  # (m, k)
    tenth = apart[:, -1]
    others = torch.cat(neighbours)
    scale = torch.minimum(tenth.unsqueeze(1), tenth[others])
    pairs = (apart < _COARSE_RATIO * scale).nonzero()
    scale = scale[pairs[:, 0], pairs[:, 1]]
    pairs = torch.stack([pairs[:, 0], others[pairs[:, 0], pairs[:, 1]]], dim=1)
    found = torch.ones(len(pairs), dtype=torch.bool)
    for i in range(0, len(pairs), _BLOCK):
        part = slice(i, i + _BLOCK)
        a, b = (images[rows].float() for rows in pairs[part].T)
        cosines = _best_cosine(a, b)
        is_close = _distance(cosines) < _RATIO * scale[part]
        found[part] = is_close & (cosines >= _LEAST_COSINE)
    return pairs[found]


def _best_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Largest cosine ``(p,)`` of images ``(p, c, h, w)``, mirrored or cropped."""
    best = torch.full((len(a),), -1.0)
    for whole, part in ((a, b), (b, a)):
        target = _directions(whole, _COMPARED)
        for turned in (part, part.flip(3)):
            windows = [turned] + [
                turned[:, :, y : y + _WINDOW, x : x + _WINDOW]
                for y in _STARTS
                for x in _STARTS
            ]
            for window in windows:
                cosine = (_directions(window, _COMPARED) * target).sum(dim=1)
                best = torch.maximum(best, cosine)
    return best


def _distance(cosines: Tensor) -> Tensor:
    return (2 - 2 * cosines).clamp_min(0).sqrt()


def _first_of_group(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first row ``(n,)`` of those that each is connected to by pairs ``(p, 2)``."""
    first, before = np.arange(n), np.full(n, -1)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    while (first != before).any():
        before = first.copy()
        np.minimum.at(first, both[:, 0], before[both[:, 1]])
        first = first[first]
    return first
