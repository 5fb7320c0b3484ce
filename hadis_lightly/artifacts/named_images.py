"""Images with a name given by hand: what a run starts from, and what it writes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from hadis_lightly.artifacts.assignments import Assignments
from hadis_lightly.artifacts.image_labels import read_label_table
from hadis_lightly.artifacts.names_file import (
    MovedImage,
    Names,
    clusters_id,
    is_label_table,
    read_names,
    write_names,
)
from hadis_lightly.data import ImageSource
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.text import in_utf8, printable
from hadis_lightly.training.clustering_callback import ClusteringCallback

# What labels.csv has for a cluster without a name.
_UNNAMED = re.compile(r"cluster \d+[ab]?")


@final
@dataclass(frozen=True)
class NamedImages:
    """Examples among the ``n`` images of a run."""

    names: list[str]
    """Names of the first clusters, from 0, sorted."""
    examples: Tensor
    """Name of each image, int64 ``(n,)``; -1 for most."""
    labels: Mapping[str, str | None]
    """Label of each image that was decided on, by its file; None if it is excluded."""
    description: str
    """What was found, and what was not."""

    @property
    def digest(self) -> str:
        """Tells the examples from others, whatever the names are called."""
        return hashlib.sha256(self.examples.numpy().tobytes()).hexdigest()[:16]

    def n_clusters(self, settings: Settings) -> int | str:
        """``n_clusters`` of the settings; a range becomes one that can be had.

        It starts at the number of names. Each cluster without a name needs an image
        without one.

        Raises:
            SettingsError: If there are more names than clusters, or fewer images
                without a name than clusters without one.
        """
        low, high = settings.n_clusters_range()
        least, n_free = len(self.names), int((self.examples < 0).sum())
        if least > high:
            raise SettingsError(
                f"n_clusters is {settings.n_clusters}, but names has {least} names "
                f"({', '.join(map(printable, self.names))}): give at least {least}."
            )
        if low > least + n_free:
            raise SettingsError(
                f"n_clusters is {settings.n_clusters}, but names leaves too few images "
                f"without a label ({n_free}) for clusters without a name: give at most "
                f"{least + n_free}."
            )
        bounds = max(low, least), min(high, least + n_free)
        if bounds == (low, high):
            return settings.n_clusters
        return bounds[1] if bounds[0] == bounds[1] else "-".join(map(str, bounds))

    def write(
        self, folder: Path, callback: ClusteringCallback[Any], table: Assignments
    ) -> None:
        """Writes ``names.json`` of the run: its clusters, and the images by hand."""
        rows = {in_utf8(key): row for row, key in enumerate(table.keys)}
        images = {}
        for file, label in self.labels.items():
            cluster, confidence, distance = (
                column[rows[file]].item()
                for column in (table.labels, table.confidence, table.distance)
            )
            images[file] = MovedImage(label, cluster, confidence, distance)
        prototypes = callback.prototypes_.float().cpu().numpy()
        write_names(
            folder,
            Names(
                run=clusters_id(prototypes),
                n_clusters=len(prototypes),
                names={str(cluster): name for cluster, name in enumerate(self.names)},
                split=frozenset(),
                rejected=frozenset(),
                images=images,
            ),
        )


def named_images(settings: Settings, source: ImageSource) -> NamedImages | None:
    """The images that ``names`` gives a label by hand; None without ``names``.

    Raises:
        SettingsError: If the file cannot be read, or none of the images is in it.
    """
    if settings.names is None:
        return None
    try:
        by_hand, known = _decisions(settings.names)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if not any(by_hand.values()):
        raise SettingsError(
            f"names {settings.names!r} has no image with a label given by hand: mark "
            "some in the report as examples of their names, or move some."
        )
    rows = _rows(source)
    labels = {file: label for file, label in by_hand.items() if file in rows}
    names = sorted({label for label in labels.values() if label})
    missing = [file for file in by_hand if file not in rows]
    if not names:
        raise SettingsError(
            f"names {settings.names!r}: none of its {len(by_hand):,} images is here, "
            f"such as {printable(missing[0])!r}; data.path has images such as "
            f"{printable(source.keys[0])!r}."
        )
    examples = torch.full((len(source),), -1)
    twice = []
    for file, label in labels.items():
        if label:
            row, name = rows[file], names.index(label)
            if examples[row] not in (-1, name):
                twice.append(file)
            else:
                examples[row] = name
    lines = [
        f"names: {', '.join(map(printable, names))}; examples: "
        f"{int((examples >= 0).sum()):,} images"
    ]
    if n_excluded := list(labels.values()).count(None):
        lines[0] += f"; excluded: {n_excluded:,}"
    if missing:
        lines.append(
            f"WARNING: {len(missing):,} of the {len(by_hand):,} images decided by hand "
            f"are not here ('{printable(missing[0])}')"
        )
    if twice:
        lines.append(
            f"WARNING: {len(twice):,} examples are copies of one with another name "
            f"('{printable(twice[0])}')"
        )
    if lost := sorted(known - set(names)):
        lines.append(
            "WARNING: without an example, and so unknown to this run: "
            + ", ".join(map(printable, lost))
        )
    named = NamedImages(names, examples, labels, "\n".join(lines))
    named.n_clusters(settings)  # known before there is a folder
    return named


def _decisions(path: str) -> tuple[dict[str, str | None], set[str]]:
    """Labels of the images that were decided on, by file, and all names of clusters."""
    if is_label_table(path):
        table = read_label_table(path)
        labels = {image.label for image in table.values() if image.label}
        known = {label for label in labels if not _UNNAMED.fullmatch(label)}
        return {
            file: image.label
            for file, image in table.items()
            if image.by_hand or image.label is None
        }, known
    names = read_names(path)
    by_hand = dict.fromkeys(names.rejected_images)
    by_hand |= {file: image.label for file, image in names.images.items()}
    return by_hand, set(names.names.values())


def _rows(source: ImageSource) -> dict[str, int]:
    """Row of every file; that of a copy which was left out is its first image's."""
    copies = source.folded
    if copies is None:
        return {in_utf8(key): row for row, key in enumerate(source.keys)}
    rows = copies.unfold(np.arange(len(source))).tolist()
    return {in_utf8(key): row for key, row in zip(copies.keys, rows, strict=True)}
