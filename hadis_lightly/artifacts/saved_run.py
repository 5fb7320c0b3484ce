"""A finished run, read back from its folder for reports and figures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from hadis_lightly.artifacts.assignments import (
    Assignments,
    has_classes,
    read_assignments,
)
from hadis_lightly.artifacts.checkpoint import CheckpointError, load_checkpoint
from hadis_lightly.artifacts.metrics_file import losses
from hadis_lightly.artifacts.names_file import clusters_id, names_of_run, read_content
from hadis_lightly.artifacts.results import EMBEDDINGS, MAP
from hadis_lightly.artifacts.snapshots import Snapshot, read_snapshots
from hadis_lightly.cluster import match_clusters
from hadis_lightly.data import (
    IMAGENET_SUBSETS,
    DataError,
    FolderSource,
    ImageSource,
    load_source,
)
from hadis_lightly.settings.sections import Settings

# A byte of a name that is not UTF-8, as in_utf8 writes it.
_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SavedRun:
    """A finished run."""

    folder: Path
    settings: Settings
    result: dict[str, Any]
    """Content of ``results.json``: scores, time, versions, ..."""
    assignments: Assignments
    embeddings: FloatArray
    """L2-normalised, ``(n, d)``."""
    prototypes: FloatArray
    """L2-normalised, ``(k, d)``."""
    history: list[dict[str, float]]
    """One dictionary per clustering: epoch, seconds and scores."""
    losses: dict[str, tuple[list[float], list[float]]]
    """Name of a loss to epochs and values."""
    left_out: list[str]
    """Files that could not be read, each as ``name: reason``."""
    contents: Mapping[str, Any] | None
    """What :func:`sample_contents` said of the images; earlier versions did not ask."""

    def snapshots(self) -> list[Snapshot]:
        """Embeddings of some images at a few epochs."""
        return list(read_snapshots(self.folder))

    def class_names(self) -> list[str] | None:
        """Names of the classes by number, where they have names."""
        return self.result.get("class_names")

    def names(self) -> dict[str, Any] | None:
        """The ``names.json`` that the run has written, if it started from names.

        Raises:
            ValueError: If it cannot be read.
        """
        path = names_of_run(self.folder, clusters_id(self.prototypes))
        return None if path is None else read_content(path)

    def confusion(
        self,
    ) -> tuple[list[str], dict[int, int], npt.NDArray[np.int64]] | None:
        """Class names, and the matching and table of :func:`match_clusters`.

        None if fewer than two classes are known.
        """
        targets = self.assignments.targets
        if targets is None or not has_classes(targets):
            return None
        matching, table = match_clusters(targets, self.assignments.labels)
        names = self.class_names() or [str(number) for number in range(len(table))]
        return names[: len(table)], matching, table

    def map_points(self) -> npt.NDArray[np.float32] | None:
        """The points of ``map.png``, ``(n, 2)``; NaN for images not on the map.

        None of a run by an earlier version, which did not keep them.
        """
        try:
            points: npt.NDArray[np.float32] = np.load(self.folder / MAP)
        except (OSError, ValueError, EOFError):
            return None
        is_whole = points.shape == (len(self.assignments), 2)
        return points if is_whole and points.dtype.kind == "f" else None

    def source(self, path: str | None = None) -> ImageSource:
        """The images, in the order of the assignments; files may be gone one by one.

        Args:
            path: Where the images are now, if they have moved.

        Raises:
            DataError: If the images are gone.
        """
        data, keys = self.settings.data, self.assignments.keys
        where = path or self.result.get("images_root") or data.path
        is_folder = data.source == "folder" or data.source in IMAGENET_SUBSETS
        if is_folder and where is None:
            raise DataError(
                "the images of this run were in memory; set data.path to an npz file "
                "of them"
            )
        root = Path(str(where)).expanduser()
        if is_folder and not root.is_file():  # which would be an npz file
            if not root.is_dir():
                raise DataError(
                    f"the images are no longer in {str(where)!r}; set data.path to "
                    "their folder"
                )
            return _files_below(root, keys, self.settings.views.num_channels)
        source = load_source(
            data.source, where, download=False, unlabelled=data.unlabelled
        )
        rows = {key: row for row, key in enumerate(source.keys)}
        missing = sum(key not in rows for key in keys)
        if missing:
            raise DataError(f"{where!r} lacks {missing:,} of the images of the run")
        return source.subset(np.array([rows[key] for key in keys]), "those of the run")


def _files_below(root: Path, keys: list[str], num_channels: int) -> FolderSource:
    """The images below a folder by their keys, and nothing outside it."""
    files = list(keys)
    for row, key in enumerate(keys):
        parts = PurePosixPath(key)
        if parts.is_absolute() or ".." in parts.parts:
            raise DataError(f"{key!r} is not a path below the folder of the images")
        if "\\" in key and not (root / key).exists():
            files[row] = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), key)
    return FolderSource(
        name="folder",
        class_names=None,
        targets=np.full(len(keys), -1, np.int64),
        keys=keys,
        description="",
        num_channels=num_channels,
        root=str(root),
        files=files,
    )


def load_run(path: str | Path) -> SavedRun:
    """Reads the folder of a finished run.

    Args:
        path: The folder, or a checkpoint in it.

    Raises:
        CheckpointError: If there is no checkpoint, it cannot be read, or the run has
            not finished.
    """
    checkpoint = load_checkpoint(path)
    folder = checkpoint.path.parent.parent
    if checkpoint.path.parent.name != "checkpoints":
        raise CheckpointError(
            f"{str(path)!r} lies outside the folder of its run, which a report needs."
        )
    if not (folder / "results.json").is_file():
        raise CheckpointError(
            f"{str(folder)!r} has no results: the run has not finished. The same "
            "command with trainer.resume=auto continues it."
        )
    clusters, left_out = checkpoint.clusters, []
    try:
        if (folder / "left_out.txt").exists():
            text = (folder / "left_out.txt").read_text(encoding="utf-8")
            left_out = text.splitlines()
        result = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        result["scores"] = {
            name: math.nan if value is None else value  # not defined
            for name, value in result["scores"].items()
        }
        embeddings = np.load(folder / EMBEDDINGS).astype(np.float32)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(folder)!r} cannot be read: {error}") from None
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return SavedRun(
        folder=folder,
        settings=checkpoint.settings,
        result=result,
        assignments=read_assignments(folder),
        embeddings=embeddings,
        prototypes=clusters["partition"]["prototypes"].float().cpu().numpy(),
        history=clusters["history"],
        losses=losses(folder),
        left_out=[line.strip() for line in left_out[1:]],
        contents=checkpoint.stamp.get("contents"),
    )
