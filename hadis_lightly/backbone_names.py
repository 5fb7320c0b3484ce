"""Names of backbones, checked without importing those who build them: that is slow."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

#: The backbone without weights: its features are the pixels.
PIXELS = "pixels"
OWN_BACKBONES = (
    PIXELS,
    "small_convnet",
    "small_pooled_convnet",
    "small_resnet18",
    "small_resnet34",
    "small_resnet50",
)
#: Comes before the name of a model of timm's.
TIMM = "timm/"
#: The backbone of pici, whose section of settings describes it.
MASKED_VIT = "masked_vit"
# How torchvision and timm define a model that has a name.
_MODEL = re.compile(r"^@register_model\b.*\n(?:[@ )].*\n)*def (\w+)", re.MULTILINE)


def check_backbone_name(name: str) -> None:
    """Raises where torchvision and timm cannot have a model of that name.

    Their files are only searched for the word, so one that passes may still not be a
    model: :func:`hadis_lightly.models.backbones.check_backbone` asks them.

    Raises:
        ValueError: If the word is in none of their files; names similar models.
    """
    if name in (*OWN_BACKBONES, MASKED_VIT):
        return
    sources = {"": _source("torchvision"), TIMM: _source("timm")}
    prefix = TIMM if name.startswith(TIMM) else ""
    # Behind a dot, timm's names have a tag that tells weights apart.
    word, text = name.removeprefix(prefix).partition(".")[0], sources[prefix]
    if text and re.fullmatch(r"\w+", word) and not re.search(rf"\b{word}\b", text):
        others = [
            before + model
            for before, text in sources.items()
            for model in _MODEL.findall(text)
        ]
        raise unknown_backbone(name, others)


def unknown_backbone(name: str, others: Iterable[str]) -> ValueError:
    """The error for a name that is none of a backbone.

    Args:
        name: The name.
        others: Names of backbones that are not ours, to suggest from.
    """
    near = difflib.get_close_matches(name, [*OWN_BACKBONES, *others], n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ValueError(
        f"backbone {name!r} is neither one of {', '.join(OWN_BACKBONES)} nor a "
        f"classification model of torchvision, nor timm/ and one of timm's.{hint}"
    )


def _source(package: str) -> str:
    """Source text of the models of a package; empty if it is not installed as files."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    files = sorted(Path(spec.origin).parent.glob("models/*.py"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
