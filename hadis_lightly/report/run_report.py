"""The report of a run: from what its folder holds to what the page shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hadis_lightly.artifacts.fingerprint import gone_files, replaced_images
from hadis_lightly.artifacts.saved_run import SavedRun
from hadis_lightly.data import DataError, FolderSource, ImageSource, read_image
from hadis_lightly.data.files.reader import read_size
from hadis_lightly.methods.schedule import describe_schedule
from hadis_lightly.report.drawing import project_to_plane
from hadis_lightly.report.report_data import ReportData
from hadis_lightly.report.thumbnails import ReadSmall
from hadis_lightly.text import printable

_PACKAGES = ("hadis-lightly", "torch", "lightly", "pytorch-lightning")


def data_of_run(
    run: SavedRun,
    *,
    path: str | None = None,
    map_images: int = 3000,
    plane: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] | None = None,
) -> ReportData:
    """The data of the report of a run.

    Args:
        run: The run.
        path: Where its images are, if they have moved.
        map_images: Most images on the map, drawn at random. If the run's own map has
            as many, it is taken; else t-SNE takes a second for 200 of them.
        plane: Projects embeddings onto the map: ``(n, d)`` to ``(n, 2)``; by default
            t-SNE.

    Raises:
        DataError: If the images are gone.
    """
    source = run.source(path)  # before all that takes long
    table, n = run.assignments, len(run.assignments)
    _check_readable(source.read, n)
    points = run.map_points() if plane is None else None
    if points is None or np.isfinite(points[:, 0]).sum() != min(n, map_images):
        drawn = np.random.default_rng(0).permutation(n)[:map_images]
        points = np.full((n, 2), np.nan, dtype=np.float32)
        points[drawn] = (plane or project_to_plane)(run.embeddings[drawn])
    targets = table.targets
    return ReportData(
        title=f"{run.result['method']}, {len(run.prototypes)} clusters",
        summary=_summary(run),
        settings=_settings(run),
        scores=run.result["scores"],
        warnings=run.result.get("warnings", []),
        left_out=run.left_out,
        history=run.history,
        losses=run.losses,
        warmup_epochs=run.result.get("warmup_epochs", 0),
        keys=table.keys,
        labels=table.labels,
        confidence=table.confidence,
        distance=table.distance,
        isolation=table.isolation,
        targets=np.full(n, -1) if targets is None else targets,
        class_names=None if targets is None else run.class_names(),
        prototypes=run.prototypes,
        points=points,
        read=source.read,
        gone=gone_files(source),
        replaced=_describe_replaced(run, source),
        read_small=small_reader(source),
        tree=run.result.get("tree"),
        choice=run.result.get("n_clusters_choice"),
        outlier=None if table.outlier is None else table.outlier.astype(np.int64),
        names=run.names(),
        # The last level has clusters 2 c and 2 c + 1 for cluster c.
        halves=table.levels[-1] % 2 if table.levels else None,
    )


def _check_readable(read: Callable[[int], Image.Image], n: int) -> None:
    """Raises DataError if none of some images can be read."""
    tried = np.linspace(0, n - 1, min(n, 20)).astype(int).tolist()
    for row in tried:
        try:
            read(row)
            return
        except (OSError, DataError) as error:
            problem = error
    raise DataError(f"none of {len(tried)} images can be read: {problem}")


def _describe_replaced(run: SavedRun, source: ImageSource) -> str:
    """How many images are others now under the same names, in one line, if any."""
    if run.contents is None:
        return ""
    rows_of = {key: row for row, key in enumerate(source.keys)}
    clustered = [rows_of[key] for key in run.contents["keys"].split("\0")]
    if len(clustered) < len(source):  # copies were left out
        source = source.subset(np.array(clustered), "those clustered")
    rows = replaced_images(run.contents, source)
    if not rows:
        return ""
    count = "1 image is" if len(rows) == 1 else f"{len(rows):,} images are"
    return (
        f"at least {count} not what the run has clustered: "
        f"'{printable(source.keys[rows[0]])}' has been replaced since"
    )


def _summary(run: SavedRun) -> list[tuple[str, str]]:
    """What was run, in a few lines."""
    result, settings, model = run.result, run.settings, run.settings.model
    minutes, seconds = divmod(round(result["seconds"]), 60)
    trained = f"{result['epochs']} epochs, {minutes} min {seconds:02} s"
    if model.train == "nothing":
        trained = "nothing: k-means alone"
    elif model.train == "heads":
        trained = f"heads, {trained}"
    weights = f"weights of {model.weights}" if model.weights else "from scratch"
    if origin := result.get("weights"):
        known = [origin["name"], origin["license"], origin["origin"]]
        weights = f"weights {', '.join(filter(None, known))}"
    versions = result.get("versions", {})
    packages = ", ".join(f"{p} {versions[p]}" for p in _PACKAGES if p in versions)
    rows = [
        ("Images", result["description"]),
        ("Method", result["method"]),
        ("Trained", trained),
        ("Backbone", f"{model.backbone}, {weights}"),
        ("Views", f"{settings.views.size_px} x {settings.views.size_px} pixels"),
        ("Device", result.get("device", "")),
        ("Seed", str(settings.seed)),
        ("Versions", packages),
        ("Folder", str(run.folder)),
    ]
    outlier = run.assignments.outlier
    if outlier is not None:
        rows.insert(1, ("Outliers", f"{outlier.sum():,} images are like no others"))
    if result.get("num_resumed"):
        rows.insert(3, ("Resumed", f"{result['num_resumed']} times"))
    if (share := result.get("view_agreement")) is not None:
        text = f"two views of an image agree on {share:.0%} of its nearest neighbours"
        rows.insert(-4, ("Features", text))
    return rows


def _settings(run: SavedRun) -> dict[str, Any]:
    """All settings, and what the run has chosen where they left it open."""
    chosen = {
        "pipeline, as chosen": run.result.get("performance", ""),
        "warm-ups, as chosen": describe_schedule(run.result.get("schedule", {})),
    }
    return asdict(run.settings) | {name: text for name, text in chosen.items() if text}


def small_reader(source: ImageSource) -> ReadSmall | None:
    """Reads an image reduced, and its own size; None if images are small already."""
    if not isinstance(source, FolderSource):
        return None

    def read(row: int, min_side: int) -> tuple[Image.Image, tuple[int, int]]:
        path = source.path(row)
        return read_image(path, source.num_channels, min_side), read_size(path)

    return read
