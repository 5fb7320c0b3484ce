"""Weights of a backbone from files by torchvision, timm, lightly or a run of ours."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hadis_lightly.models.backbones import build_backbone
from hadis_lightly.models.checks import check_module
from hadis_lightly.models.input_channels import first_convolution, fit_channels
from hadis_lightly.models.weight_files import read_weights

# Names that torchvision has changed since it published the files: of DenseNet and of
# vision transformers.
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.\w+)$"), r"\1\2"),
    (re.compile(r"mlp\.linear_1\.(\w+)$"), r"mlp.0.\1"),
    (re.compile(r"mlp\.linear_2\.(\w+)$"), r"mlp.3.\1"),
)
_OPTIONAL = "num_batches_tracked"
# Backbones that are recognised by their weights; no other fits any of these.
_COMMON = (
    *("small_resnet18", "small_resnet34", "small_resnet50"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
)
# How many names an error lists.
_MAX_NAMED = 3


class _Candidate(NamedTuple):
    """A place in a file where the weights may lie."""

    prefix: str
    """The beginning of the names, dicts included."""
    tensors: dict[str, Tensor]
    """By the backbone's own names."""
    others: dict[str, str]
    """The other names with this prefix: by the backbone's own children, and as in the
    file."""
    table: dict[str, Tensor]
    """All tensors of the same dict."""


@torch.no_grad()
def load_backbone_weights(
    backbone: nn.Module, path: str | os.PathLike[str], name: str | None = None
) -> str:
    """Copies weights from a file into a backbone: all of them, or none.

    The file may be torchvision's or timm's, a checkpoint of lightly or any other of
    Lightning's, or of one of our own runs, from which the teacher is taken. Prefixes
    such as ``state_dict``, ``model.``, ``module.`` or ``backbone.`` are recognised, and
    so are the numbers of ``nn.Sequential(*list(resnet.children())[:-1])``. A first
    convolution over colours is summed for grey images. What timm converts for a model
    of its own, such as position embeddings for images of another size, is converted.

    Args:
        backbone: The network, without its classifier.
        path: A file of ``torch.save`` or of safetensors, or the folder of a run, from
            which comes the last checkpoint. Code in it is refused.
        name: What the backbone is called, for errors.

    Returns:
        What was loaded, such as ``resnet18.pth: 120 of 122 tensors``.

    Raises:
        TypeError: If the backbone is not a module.
        ValueError: If the file cannot be read, or lacks a weight of the backbone in its
            shape. The backbone is left as it was.

    Example:
        >>> import tempfile
        >>> from hadis_lightly.models import build_backbone
        >>> file = tempfile.NamedTemporaryFile(suffix=".pt")
        >>> torch.save({"model": build_backbone("small_convnet").state_dict()}, file)
        >>> load_backbone_weights(build_backbone("small_convnet"), file.name)
        "...pt: 24 of 24 tensors (prefix 'model.')"
    """
    check_module("backbone", backbone)
    file = read_weights(Path(path).expanduser())
    wanted: dict[str, Tensor] = backbone.state_dict()

    def rank(candidate: _Candidate) -> tuple[int, int, bool, int]:
        """Most tensors, in their shapes first; a teacher before its student."""
        prefix, tensors, *_ = candidate
        fitting = sum(wanted[k].shape == v.shape for k, v in tensors.items())
        return fitting, len(tensors), "teacher" in prefix, -len(prefix)

    found = max(_candidates(backbone, wanted, file.tables), key=rank)
    problems = _problems(backbone, wanted, found)
    if problems and (adapted := _adapted_by_timm(backbone, found)) is not None:
        again = max(_candidates(backbone, wanted, {"": adapted}), key=rank)
        if not _problems(backbone, wanted, again):
            found, problems = found._replace(tensors=again.tensors), []
    where = f" (prefix {found.prefix!r})" if found.prefix else ""
    if problems:
        ours = name or f"this {type(backbone).__name__}"
        theirs = file.backbone or _recognise(file.tables)
        kind = f"is a file of {theirs} and " if theirs and theirs != name else ""
        raise ValueError(
            f"{str(file.path)!r} {kind}does not fit {ours} of "
            f"{len(wanted)} tensors{where}: {'; '.join(problems)}."
            f"{_hint(backbone, wanted, found.tensors)}"
        )
    for name, value in found.tensors.items():
        wanted[name].copy_(value)
    return (
        f"{file.path.name}: {len(found.tensors)} of {len(found.table)} tensors{where}"
    )


def _recognise(tables: Mapping[str, dict[str, Tensor]]) -> str | None:
    """Which of the commonest backbones the weights fit, if any."""
    for name in _COMMON:
        with torch.device("meta"):
            backbone = build_backbone(name)
        wanted = backbone.state_dict()
        for candidate in _candidates(backbone, wanted, tables):
            if not _problems(backbone, wanted, candidate):
                return name
    return None


def _candidates(
    backbone: nn.Module,
    wanted: Mapping[str, Tensor],
    tables: Mapping[str, dict[str, Tensor]],
) -> Iterator[_Candidate]:
    stem = f"{first_convolution(backbone)}.weight"
    children = [name for name, _ in backbone.named_children()]
    numbered = {str(index): name for index, name in enumerate(children)}
    for dicts, table in tables.items():
        current = _in_order(table, wanted) or {name: _renamed(name) for name in table}
        for names in ({}, numbered):
            for prefix in _prefixes(current.values(), wanted, names):
                tensors, others = {}, {}
                for name, key in current.items():
                    if not key.startswith(prefix):
                        continue
                    ours = _translated(key.removeprefix(prefix), names)
                    if ours not in wanted:
                        others[ours] = name
                    elif ours == stem:
                        tensors[ours] = _in_channels(table[name], wanted[ours])
                    else:
                        tensors[ours] = table[name]
                yield _Candidate(dicts + prefix, tensors, others, table)


def _in_order(
    table: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, str] | None:
    """Names of the package efficientnet_pytorch to timm's, which have its order."""
    if "_conv_stem.weight" not in table:
        return None
    theirs = [name for name in table if not name.startswith("_fc.")]
    kinds = [[name.rpartition(".")[2] for name in names] for names in (theirs, wanted)]
    if kinds[0] != kinds[1]:
        return None
    return dict(zip(theirs, wanted, strict=True))


def _adapted_by_timm(
    backbone: nn.Module, found: _Candidate
) -> dict[str, Tensor] | None:
    """The tensors as timm converts them for a model of its own, if it does.

    Its create_model does the same to a file, but leaves at random what it lacks.
    """
    module = sys.modules[type(backbone).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None or not module.__name__.startswith("timm."):
        return None
    others = {ours: found.table[name] for ours, name in found.others.items()}
    try:
        adapted: dict[str, Tensor] = convert({**found.tensors, **others}, backbone)
    # A file that it is not made for fails anywhere.
    except Exception:
        return None
    return adapted


def _prefixes(
    keys: Iterable[str], wanted: Mapping[str, object], names: Mapping[str, str]
) -> list[str]:
    """The few prefixes under which most names of the backbone are found."""
    counts: Counter[str] = Counter()
    for key in keys:
        parts = key.split(".")
        for i in range(len(parts)):
            if _translated(".".join(parts[i:]), names) in wanted:
                counts["".join(part + "." for part in parts[:i])] += 1
    most = max(counts.values(), default=0)
    return [prefix for prefix, count in counts.items() if count == most] or [""]


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _translated(name: str, names: Mapping[str, str]) -> str:
    """A name with its first part replaced, if there is another for it."""
    first, dot, rest = name.partition(".")
    return names.get(first, first) + dot + rest


def _in_channels(value: Tensor, wanted: Tensor) -> Tensor:
    """Weights over colours, summed where those of grey images are wanted."""
    if value.ndim == wanted.ndim == 4 and value.shape[1] == 3 and wanted.shape[1] == 1:
        return fit_channels(value, 1)
    return value


def _problems(
    backbone: nn.Module, wanted: Mapping[str, Tensor], found: _Candidate
) -> list[str]:
    """What is missing, of another shape, or beyond the backbone's layers."""
    missing = [name for name in wanted if name not in found.tensors]
    missing = [name for name in missing if not name.endswith(_OPTIONAL)]
    shapes = [
        f"{name} is {_sides(value)}, here {_sides(wanted[name])}"
        for name, value in found.tensors.items()
        if value.shape != wanted[name].shape
    ]
    larger = [found.others[name] for name in found.others if _is_beyond(backbone, name)]
    kinds = (
        ("are missing", missing),
        ("differ in shape", shapes),
        ("belong to layers that this network lacks", larger),
    )
    return [f"{len(x)} {kind}: {_listed(x)}" for kind, x in kinds if x]


def _is_beyond(backbone: nn.Module, name: str) -> bool:
    """Whether a tensor belongs to a layer that a part of the backbone lacks.

    So a ResNet-34 has all that a ResNet-18 needs, but is not a ResNet-18. A classifier
    that was taken off is not such a layer, nor is anything outside the backbone's
    parts.
    """
    part = backbone
    for depth, parent in enumerate(name.split(".")[:-1]):
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
    if stem in differ and given[stem].shape[-1] == 7 and wanted[stem].shape[-1] == 3:
        return (
            " The file's network begins with a 7 x 7 convolution, for large images:"
            " choose such a backbone, resnet18 in place of small_resnet18."
        )
    if differ and all("pos_embed" in name for name in differ):
        return " They are for images of another size."
    if 2 * len(given) < len(wanted):
        return " It is of another architecture."
    return ""


def _sides(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "one number"


def _listed(names: list[str]) -> str:
    """The first few, and how many there are besides."""
    first = ", ".join(names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{first}, and {more} more" if more > 0 else first
