"""The scores in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from hadis_lightly.artifacts.results import EXTERNAL_SCORES, describe_labelled

# Name: title, explanation.
_SCORES = {
    "nmi": (
        "NMI",
        "How much the clusters tell about the known classes: 0 is nothing, 1 is all.",
    ),
    "acc": (
        "Accuracy",
        "Share of images whose cluster stands for their class, each cluster standing "
        "for one class at most: 1 is perfect.",
    ),
    "ari": (
        "ARI",
        "How far pairs of images are together or apart as in the known classes: "
        "0 is what chance would give, 1 is perfect.",
    ),
    "silhouette": (
        "Silhouette",
        "How much closer images are to their own cluster than to the next one: "
        "1 is clearly apart, 0 is touching, below 0 is mixed up.",
    ),
    "size_entropy": (
        "Evenness of sizes",
        "1 if all clusters are equally large, 0 if one holds every image.",
    ),
    "prototype_cosine": (
        "Closeness to prototype",
        "Mean cosine of an image to the mean of its cluster: 1 is identical. Read it "
        "beside the others: it is also high after a collapse.",
    ),
    "size_min": ("Smallest cluster", "Images in the smallest cluster."),
    "size_max": ("Largest cluster", "Images in the largest cluster."),
}


def explain_score(name: str, value: float) -> dict[str, str]:
    """A score with its title, its value as text, and what it means.

    Example:
        >>> explain_score("nmi", 0.81234)["text"]
        '0.812'
        >>> explain_score("size_min", 1234.0)["text"]
        '1,234'
    """
    title, words = _SCORES.get(name, (title_of(name), ""))
    if not math.isfinite(value):
        text = "not defined"
    elif name.startswith("size_") and name != "size_entropy":
        text = f"{round(value):,}"
    else:
        text = f"{value:.3f}"
    return {"title": title, "text": text, "words": words}


def explain_scores(
    scores: Mapping[str, float], num_labelled: int, num_images: int
) -> list[dict[str, str]]:
    """All scores, explained: first those of most images.

    Those against classes come first, unless less than half of the images have one; they
    say of how many images they are, if not of all.
    """
    names = in_order(scores)
    if 2 * num_labelled < num_images:
        names.sort(key=EXTERNAL_SCORES.__contains__)
    note = describe_labelled(num_labelled, num_images)
    return [
        explain_score(name, scores[name]) | {"title": title_of(name, note)}
        for name in names
    ]


def in_order(names: Iterable[str]) -> list[str]:
    """Names of scores, those against classes first, unknown ones last.

    Example:
        >>> in_order(["my_score", "silhouette", "acc"])
        ['acc', 'silhouette', 'my_score']
    """
    places = {name: place for place, name in enumerate(_SCORES)}
    return sorted(names, key=lambda name: places.get(name, len(places)))


def title_of(name: str, note: str = "") -> str:
    """What a score or a loss is called in a figure.

    Args:
        name: Its name.
        note: Words that follow the title of a score against classes.

    Example:
        >>> title_of("loss_hsd"), title_of("ari")
        ('HSD loss', 'ARI')
    """
    if name in _SCORES:
        title = _SCORES[name][0]
        return f"{title} {note}" if note and name in EXTERNAL_SCORES else title
    if name.startswith("loss_"):
        return f"{name[5:].upper()} loss"
    return "Total loss" if name == "loss" else name.replace("_", " ")
