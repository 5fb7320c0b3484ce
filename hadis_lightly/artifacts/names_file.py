"""``names.json``: what a person has decided in a report.

The page itself writes it, and so does a run that started from such names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hadis_lightly.atomic import atomic_write

_FORMAT = "hadis-lightly names 1"
_FILE = "names.json"


class MovedImage(NamedTuple):
    """An image that was moved by hand, and where its run had put it."""

    label: str | None
    """Its new label; None if it is excluded."""
    cluster: int
    confidence: float
    distance: float


@dataclass(frozen=True)
class Names:
    """Names of the clusters of a run, and images that were moved by hand."""

    run: str
    """See :func:`clusters_id`."""
    n_clusters: int
    names: Mapping[str, str]
    """Names of clusters (``"5"``) and of halves of clusters (``"5a"``, ``"5b"``)."""
    split: frozenset[int]
    """Clusters that are split in two halves."""
    rejected: frozenset[int]
    """Clusters whose images are excluded."""
    images: Mapping[str, MovedImage]
    """Images that were moved or excluded, by file."""
    rejected_images: frozenset[str] = frozenset()
    """Files of the images in rejected clusters, for a training that finds other ones;
    of large sets those that the report shows."""

    def label(self, cluster: int, half: int = 0) -> str | None:
        """Label of the images of a cluster; None if they are excluded.

        Args:
            cluster: Number of the cluster.
            half: 0 or 1; counts only where the cluster is split.
        """
        if cluster in self.rejected:
            return None
        unit = f"{cluster}{'ab'[half]}" if cluster in self.split else str(cluster)
        return self.names.get(unit, f"cluster {unit}")

    def check_run(self, run: str, n_clusters: int, *, has_halves: bool) -> None:
        """Raises ValueError if these are not names of the clusters of a run.

        Args:
            run: Its :func:`clusters_id`.
            n_clusters: Its number of clusters.
            has_halves: Whether it knows the halves of its clusters.
        """
        if self.n_clusters != n_clusters:
            raise ValueError(
                f"names are of a run with {self.n_clusters} clusters, but this one "
                f"has {n_clusters}."
            )
        if self.run != run:
            raise ValueError(
                "names are of another run: download names.json from the report of "
                "this one."
            )
        if self.split and not has_halves:
            raise ValueError(
                f"names split cluster {min(self.split)}, but this checkpoint has no "
                "levels."
            )

    @property
    def labels(self) -> list[str]:
        """All labels that images can get, sorted."""
        clusters = [
            self.label(c, half) for c in range(self.n_clusters) for half in (0, 1)
        ]
        moved = [image.label for image in self.images.values()]
        return sorted({label for label in clusters + moved if label is not None})


def clusters_id(prototypes: ArrayLike) -> str:
    """Tells the clusters of one run from those of another.

    Args:
        prototypes: Prototypes of the run, ``(k, d)``.

    Example:
        >>> clusters_id([[1.0, 0.0], [0.0, 1.0]])
        'a666c95f0822c64e'
    """
    values = np.ascontiguousarray(prototypes, dtype="<f4")
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def names_of_run(checkpoint: str | Path, run: str) -> Path | None:
    """The ``names.json`` of a run that started from names; None if it did not.

    A file of other clusters is not it, such as one beside the copy of a checkpoint.

    Args:
        checkpoint: Folder of the run, or a checkpoint in it.
        run: :func:`clusters_id` of its clusters.
    """
    folder = Path(os.path.abspath(os.path.expanduser(checkpoint)))
    for inside in (".ckpt", "checkpoints"):
        if folder.name.endswith(inside):
            folder = folder.parent
    path = folder / _FILE
    with suppress(ValueError):  # there is none, or it is anything else of that name
        if read_content(path).get("run") == run:
            return path
    return None


def write_names(folder: Path, names: Names) -> None:
    """Writes ``names.json`` as a report does.

    Images whose label is the name of their cluster are examples of that name.
    """
    content = {
        "format": _FORMAT,
        "run": names.run,
        "n_clusters": names.n_clusters,
        "names": dict(names.names),
        "split": sorted(names.split),
        "accepted": [],
        "rejected": sorted(names.rejected),
        "images": {
            file: image._asdict()
            | {"example": image.label == names.names.get(str(image.cluster))}
            for file, image in names.images.items()
        },
    }
    with atomic_write(folder / _FILE) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_names(path: str | Path) -> Names:
    """Reads a ``names.json`` that was downloaded from a report.

    Raises:
        ValueError: If it cannot be read, or says what does not fit.
    """
    content = read_content(path)
    try:
        return _names_of(content)
    except (KeyError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
        reason = (
            f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        )
        raise ValueError(f"names {str(path)!r} is damaged: {reason}.") from None


def read_content(path: str | Path) -> dict[str, Any]:
    """What a ``names.json`` says, as a report loads it.

    Raises:
        ValueError: If it cannot be read, or is another file.
    """
    if is_label_table(path):
        raise ValueError(
            f"names {str(path)!r} is a table of labels, but new images are labelled by "
            "names of clusters: download names.json from the report."
        )
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"names {str(path)!r} cannot be read: {error}") from None
    if not is_of_report(content):
        raise ValueError(
            f"names {str(path)!r} is no names.json of a report: its format must be "
            f"{_FORMAT!r}."
        )
    return dict(content)


def is_label_table(path: str | Path) -> bool:
    """Whether that is a table of labels by its suffix, such as ``labels.csv``."""
    return Path(path).suffix.lower() in (".csv", ".tsv")


def is_of_report(content: Any) -> bool:
    """Whether that is what a report's ``names.json`` says, or a run's."""
    return isinstance(content, dict) and content.get("format") == _FORMAT


def _names_of(content: dict[str, Any]) -> Names:
    k = int(content["n_clusters"])
    known = {f"{cluster}{half}" for cluster in range(k) for half in ("", "a", "b")}
    for unit, name in content["names"].items():
        if unit not in known or not isinstance(name, str) or not name:
            raise ValueError(f"the name of cluster {unit!r} is {name!r}")
    for kind in ("split", "rejected"):
        for cluster in content[kind]:
            if not isinstance(cluster, int) or not 0 <= cluster < k:
                raise ValueError(f"{kind} has cluster {cluster!r}, of {k} clusters")
    rejected_images = content.get("rejected_images", [])
    if not all(isinstance(file, str) for file in rejected_images):
        raise ValueError("rejected_images must be names of files")
    images = {}
    for file, image in content["images"].items():
        label = image["label"]
        if not (label is None or (isinstance(label, str) and label)):
            raise ValueError(f"the label of {file!r} is {label!r}")
        place = int(image["cluster"]), float(image["confidence"])
        images[file] = MovedImage(label, *place, float(image["distance"]))
    return Names(
        run=str(content["run"]),
        n_clusters=k,
        names=dict(content["names"]),
        split=frozenset(content["split"]),
        rejected=frozenset(content["rejected"]),
        images=images,
        rejected_images=frozenset(rejected_images),
    )
