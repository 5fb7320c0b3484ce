"""``hadis-lightly-predict``: which cluster new images belong to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hadis_lightly.cli.command import Command
from hadis_lightly.prediction import ClusterPredictor
from hadis_lightly.prediction.predictor import check_device
from hadis_lightly.prediction.table import (
    SOURCES,
    PredictionSummary,
    SortIntoFolders,
    images_to_predict,
    predict_to_table,
)
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.environment import check_path
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.help import describe_settings
from hadis_lightly.settings.validate import check_types
from hadis_lightly.system import unique_path


@dataclass
class ImagesToPredict:
    """Which images."""

    source: str = "folder"
    """folder, npz, or a public set: digits, cifar10, cifar20, stl10, imagenet10,
    imagenet_dogs."""
    path: str | None = None
    """The folder, with all its sub-folders; the npz file; where the set lies."""


@dataclass
class PredictSettings:
    """Settings of ``hadis-lightly-predict``."""

    checkpoint: str | None = None
    """The folder of a run, or a checkpoint in it."""
    out: str = "clusters.csv"
    """The table: file, cluster, confidence, distance. A number is added to the name if
    there is such a file already."""
    sort_into: str | None = None
    """A new folder, in which every cluster gets one, with its images."""
    sort_by: str = "link"
    """link or copy: how images come into these folders."""
    batch_size: int = 256
    """Images at a time. It does not change the answers."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps; auto: a GPU if there is one."""
    quiet: bool = False
    """Say nothing but errors."""
    data: ImagesToPredict = field(default_factory=ImagesToPredict)


_HELP = """Tells which cluster of a run each image belongs to.

  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos
  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos sort_into=sorted
  hadis-lightly-predict checkpoint=last.ckpt data=npz data.path=images.npz out=a.csv

The table has a row for every image: file, cluster, confidence (share of the cluster in
a softmax over all prototypes, or its probability by a cluster head, 0 to 1) and
distance (of the embedding to the prototype, 0 to 2). Images are read as they are
needed, so that a million take no more memory than a thousand. Files that cannot be read
are left out and listed beside the table.

{settings}"""


def check(settings: PredictSettings) -> None:
    """Checks what can be known before anything is read.

    Raises:
        SettingsError: Names the setting and its value.
    """
    check_types(settings)
    if settings.checkpoint is None:
        raise SettingsError(
            "checkpoint is needed: the folder of a run, such as runs/x."
        )
    for name in ("checkpoint", "out", "sort_into"):
        check_path(name, getattr(settings, name))
    check_device(settings.device)
    if settings.batch_size < 1:
        raise SettingsError(f"batch_size must be >= 1, got {settings.batch_size}.")
    if settings.sort_by not in ("link", "copy"):
        raise SettingsError(f"sort_by must be link or copy, got {settings.sort_by!r}.")
    source = settings.data.source
    if source not in SOURCES:
        names = ", ".join(SOURCES)
        raise SettingsError(f"data.source must be one of {names}, got {source!r}.")
    if source == "folder" and not settings.data.path:
        raise SettingsError("data.path is needed: the folder of the images.")
    if settings.sort_into is not None and source != "folder":
        raise SettingsError(f"sort_into needs files, but data is {source!r}.")
    if settings.sort_into is not None and settings.data.path is not None:
        images = Path(os.path.realpath(os.path.expanduser(settings.data.path)))
        if Path(os.path.realpath(settings.sort_into)).is_relative_to(images):
            raise SettingsError(
                f"sort_into is {settings.sort_into!r}, which lies below data.path: "
                "what is sorted would be found there again."
            )
    if Path(settings.out).is_dir():
        raise SettingsError(f"out is {settings.out!r}, which is a folder.")


def predict(settings: PredictSettings) -> PredictionSummary:
    """Writes the table, and sorts the files if asked to.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        DataError: If the images cannot be found.
        ValueError: If there are none.
    """
    check(settings)
    predictor = ClusterPredictor.from_checkpoint(
        str(settings.checkpoint), settings.device
    )
    data = settings.data
    images, total = images_to_predict(predictor, data.source, data.path)
    n_clusters = predictor.partition.n_clusters
    sort = None
    if settings.sort_into is not None:
        sort = SortIntoFolders(Path(settings.sort_into), n_clusters, settings.sort_by)
    out = unique_path(Path(settings.out))
    left_out = unique_path(out.with_name(f"{out.stem}.left_out.txt"))
    with StepProgress("predicting", not settings.quiet) as progress:
        summary = predict_to_table(
            predictor,
            images,
            out,
            batch_size=settings.batch_size,
            left_out=left_out,
            sort=sort,
            progress=lambda done: progress(min(done, total), total),
        )
    if not settings.quiet:
        print(_words(summary, n_clusters, out, left_out, settings.sort_into))
    return summary


def _words(
    summary: PredictionSummary,
    n_clusters: int,
    out: Path,
    left_out: Path,
    sorted_into: str | None,
) -> str:
    lines = [
        f"{summary.num_images:,} images in {len(summary.sizes)} of {n_clusters} "
        f"clusters, mean confidence {summary.mean_confidence:.3f}",
        *(
            f"  cluster {label:>3}  {size:>9,}  {size / summary.num_images:6.1%}"
            for label, size in summary.sizes.most_common(20)
        ),
    ]
    if len(summary.sizes) > 20:
        lines.append(f"  and {len(summary.sizes) - 20} more")
    lines.append(str(out))
    if summary.num_left_out:
        files = "file" if summary.num_left_out == 1 else "files"
        lines.append(f"{left_out}: {summary.num_left_out:,} {files} left out")
    if sorted_into is not None:
        lines.append(f"{sorted_into}/")
    return "\n".join(lines)


def command() -> Command[PredictSettings]:
    """The command, not yet run."""
    defaults = PredictSettings()
    return Command(
        name="predict",
        defaults=defaults,
        help=_HELP.format(settings=describe_settings(defaults)),
        task=lambda settings, _: predict(settings),
        check=check,
        groups={"data": {name: ImagesToPredict(source=name) for name in SOURCES}},
        chosen={"data": "folder"},
    )


def main() -> None:
    """Runs the command."""
    command()()


if __name__ == "__main__":
    main()
