"""Weights of a backbone out of a file, whoever wrote it and whatever is around them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hadis_lightly.models.input_channels import first_convolution, fit_channels
from hadis_lightly.models.momentum_teacher import check_module
from hadis_lightly.models.weight_files import read_tables

# What torchvision has renamed since it published the files: in DenseNet and in vision
# transformers.
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.\w+)$"), r"\1\2"),
    (re.compile(r"mlp\.linear_1\.(\w+)$"), r"mlp.0.\1"),
    (re.compile(r"mlp\.linear_2\.(\w+)$"), r"mlp.3.\1"),
)
_OPTIONAL = "num_batches_tracked"
# How many names an error lists.
_MAX_NAMED = 3


class _Candidate(NamedTuple):
    """A place in a file where the weights may lie."""

    prefix: str
    """What stands before the names, dicts included."""
    tensors: dict[str, Tensor]
    """By the backbone's own names."""
    others: dict[str, str]
    """What else has the prefix: names without it, by the backbone's own children, to
    names in the file."""
    size: int
    """Number of tensors in the same dict."""


@torch.no_grad()
def load_backbone_weights(backbone: nn.Module, path: str | os.PathLike[str]) -> str:
    """Copies weights from a file into a backbone: all of them, or none.

    The file may be torchvision's or timm's, a checkpoint of lightly or any other of
    Lightning's, or one of our own runs, whose teacher is taken. What comes before the
    names, such as ``state_dict``, ``model.``, ``module.`` or ``backbone.``, is found
    out, and so are the numbers that ``nn.Sequential(*list(resnet.children())[:-1])``
    has in place of names. A first convolution over colours is summed for grey images.

    Args:
        backbone: The network, without its classifier.
        path: A file of ``torch.save``, or one of safetensors. Code in it is refused.

    Returns:
        What was loaded, such as ``resnet18.pth: 120 of 122 tensors``.

    Raises:
        TypeError: If the backbone is not a module.
        ValueError: If the file cannot be read, or does not have every weight of the
            backbone in its shape. The backbone is as it was then.

    Example:
        >>> import tempfile
        >>> from hadis_lightly.models import build_backbone
        >>> file = tempfile.NamedTemporaryFile(suffix=".pt")
        >>> torch.save({"model": build_backbone("small_convnet").state_dict()}, file)
        >>> load_backbone_weights(build_backbone("small_convnet"), file.name)
        "...pt: 24 of 24 tensors (prefix 'model.')"
    """
    check_module("backbone", backbone)
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be that of a file, got {path!r}.")
    file = Path(path)
    state = backbone.state_dict()
    wanted = {name: v for name, v in state.items() if isinstance(v, Tensor)}
    tables = read_tables(file)
    found = _best_candidate(backbone, wanted, tables)
    if found is None:
        raise ValueError(
            f"{str(path)!r} has no weights of this {type(backbone).__name__}: none of "
            f"{_listed(wanted)} is in it. It is of another architecture."
        )
    _check_complete(file, backbone, wanted, found)
    for name, value in found.tensors.items():
        wanted[name].copy_(value)
    where = f" (prefix {found.prefix!r})" if found.prefix else ""
    return f"{file.name}: {len(found.tensors)} of {found.size} tensors{where}"


def _best_candidate(
    backbone: nn.Module,
    wanted: Mapping[str, Tensor],
    tables: Mapping[str, dict[str, Tensor]],
) -> _Candidate | None:
    """Where most of the weights are, in their shapes; a teacher before its student."""
    best, best_rank = None, (0, 0, False, 0)
    for candidate in _candidates(backbone, wanted, tables):
        tensors = candidate.tensors
        num_fitting = sum(wanted[k].shape == v.shape for k, v in tensors.items())
        is_teacher = "teacher" in candidate.prefix
        rank = (num_fitting, len(tensors), is_teacher, -len(candidate.prefix))
        if rank > best_rank and len(tensors) > 0:
            best, best_rank = candidate, rank
    return best


def _candidates(
    backbone: nn.Module,
    wanted: Mapping[str, Tensor],
    tables: Mapping[str, dict[str, Tensor]],
) -> Iterator[_Candidate]:
    children = [name for name, _ in backbone.named_children()]
    numbered = {str(index): name for index, name in enumerate(children)}
    stem = first_convolution(backbone)
    for dicts, raw in tables.items():
        table = {_renamed(name): (name, value) for name, value in raw.items()}
        for names in ({}, numbered):
            for prefix in _prefixes(table, wanted, names):
                tensors, others = {}, {}
                for key, (name, value) in table.items():
                    if not key.startswith(prefix):
                        continue
                    ours = _translated(key[len(prefix) :], names)
                    if ours not in wanted:
                        others[ours] = name
                    elif ours == f"{stem}.weight":
                        tensors[ours] = _in_channels(value, wanted[ours])
                    else:
                        tensors[ours] = value
                yield _Candidate(dicts + prefix, tensors, others, len(raw))


def _prefixes(
    table: Mapping[str, object], wanted: Mapping[str, object], names: Mapping[str, str]
) -> list[str]:
    """The few prefixes under which most names of the backbone are found."""
    counts: Counter[str] = Counter()
    for key in table:
        start = 0
        while True:
            if _translated(key[start:], names) in wanted:
                counts[key[:start]] += 1
            start = key.find(".", start) + 1
            if start == 0:
                break
    most = max(counts.values(), default=0)
    return [prefix for prefix, count in counts.items() if count == most]


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _translated(name: str, names: Mapping[str, str]) -> str:
    """A name with its first part replaced, if there is another for it."""
    first, dot, rest = name.partition(".")
    return names.get(first, first) + dot + rest


def _in_channels(value: Tensor, wanted: Tensor) -> Tensor:
    """Weights over colours, in as many channels as are wanted."""
    is_colour = value.ndim == 4 and value.shape[1] == 3
    if is_colour and wanted.ndim == 4 and wanted.shape[1] == 1:
        return fit_channels(value, 1)
    return value


def _check_complete(
    path: Path, backbone: nn.Module, wanted: Mapping[str, Tensor], found: _Candidate
) -> None:
    """Raises unless everything is there, in its shape, and nothing of a larger one."""
    problems = []
    missing = [
        name
        for name in wanted
        if name not in found.tensors and not name.endswith(_OPTIONAL)
    ]
    if missing:
        problems.append(f"{len(missing)} of {len(wanted)} are missing: ")
        problems[-1] += _listed(missing)
    shapes = [
        f"{name} is {_sides(value)}, here {_sides(wanted[name])}"
        for name, value in found.tensors.items()
        if value.shape != wanted[name].shape
    ]
    if shapes:
        problems.append(f"{len(shapes)} differ in shape: {_listed(shapes)}")
    larger = [found.others[name] for name in found.others if _is_beyond(backbone, name)]
    if larger:
        problems.append(f"it has {len(larger)} more in the same parts: ")
        problems[-1] += _listed(larger)
    if not problems:
        problems = [
            f"{name} is not finite"
            for name, value in found.tensors.items()
            if value.is_floating_point() and not value.float().isfinite().all()
        ][:1]
    if problems:
        where = f", prefix {found.prefix!r}" if found.prefix else ""
        hint = _hint(backbone, wanted, found.tensors)
        raise ValueError(
            f"{str(path)!r} does not fit this {type(backbone).__name__} "
            f"({len(wanted)} tensors{where}): {'; '.join(problems)}.{hint}"
        )


def _is_beyond(backbone: nn.Module, name: str) -> bool:
    """Whether a tensor belongs to a layer that a part of the backbone lacks.

    So a ResNet-34 has all that a ResNet-18 needs, but is no ResNet-18. A classifier
    that was taken off is no such layer, nor is what lies outside the backbone's parts.
    """
    part, parents = backbone, name.split(".")[:-1]
    for depth, parent in enumerate(parents):
        child = getattr(part, parent, None)
        if not isinstance(child, nn.Module):
            return depth > 0 and len(part.state_dict()) > 0
        part = child
        if isinstance(part, nn.Identity):
            return False
    return False


def _hint(
    backbone: nn.Module, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> str:
    """What to do about weights that differ in one respect."""
    differ = [name for name in given if given[name].shape != wanted[name].shape]
    stem = f"{first_convolution(backbone)}.weight"
    if stem in differ:
        theirs, ours = given[stem], wanted[stem]
        if theirs.ndim != 4 or theirs.shape[1] != ours.shape[1]:
            return " They are for images of another number of channels."
        if theirs.shape[-1] == 7 and ours.shape[-1] == 3:
            return (
                " The file's network begins with a 7 x 7 convolution, for large images:"
                " choose such a backbone, resnet18 in place of small_resnet18."
            )
        return " The file's network begins with a convolution of another size."
    if differ and all("pos_embed" in name for name in differ):
        return " They are for images of another size."
    if 2 * len(given) < len(wanted):
        return " It is of another architecture."
    return ""


def _sides(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "one number"


def _listed(names: Mapping[str, object] | list[str]) -> str:
    """The first few, and how many there are besides."""
    first = ", ".join(list(names)[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{first}, and {more} more" if more > 0 else first
