"""``hadis-lightly-predict``: assigns new images to the clusters of a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from hadis_lightly.cli.command import run_command
from hadis_lightly.fields import setting
from hadis_lightly.own_output import NewFile, new_file
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.images import DOWNLOADED, SOURCE_NAMES
from hadis_lightly.settings.validate import check_exists, check_section

if TYPE_CHECKING:
    from torch import Tensor

    from hadis_lightly.cluster import ClusterTree
    from hadis_lightly.prediction import ClusterPredictor, OnnxPredictor
    from hadis_lightly.prediction.naming import Labelling
    from hadis_lightly.prediction.table import PredictionSummary


@dataclass
class ImagesToPredict:
    """The images to assign."""

    source: str = setting("folder", "Source of the images.", choices=SOURCE_NAMES)
    # A path or a list of paths; OmegaConf has no type for that.
    path: Any = setting(
        None,
        "A folder, with its sub-folders; several, '[a,b]'; a list of paths, .txt, "
        ".csv, .tsv or .jsonl, - for standard input; a .parquet or .arrow table of "
        "images; an image or npz file; the place of the set.",
        is_path=True,
    )
    follow_links: bool = setting(False, "Follow links that lead out of the folder.")


@dataclass
class PredictSettings:
    """Settings of ``hadis-lightly-predict``."""

    checkpoint: str = setting(
        MISSING,
        "Folder of a run, a checkpoint in it, or model.onnx of hadis-lightly-export.",
        is_path=True,
    )
    out: str = setting(
        "clusters.csv",
        "The table: file, cluster, confidence, distance, outlier. If there is such a "
        "file, a number is added to the name.",
        is_path=True,
    )
    embeddings: str | None = setting(
        None,
        "A .npy file for the embeddings, float16 (images, dimensions), in the order of "
        "the table. If it exists, a number is added to the name.",
        is_path=True,
    )
    sort_into: str | None = setting(
        None,
        "A new folder with a sub-folder of images for each cluster, or for each label.",
        is_path=True,
    )
    sort_by: str = setting(
        "link", "Link or copy the images into sort_into.", choices=("link", "copy")
    )
    level: int | None = setting(
        None,
        "Level of the tree over the clusters that the table is of: 1 is the coarsest, "
        "the last has each cluster of the run in two. null: the clusters of the run.",
    )
    names: str | None = setting(
        None,
        "A names.json downloaded from the report of the run: the table gets a column "
        "label beside cluster. null: that of a run that started from names.",
        is_path=True,
    )
    batch_size: int = setting(
        256, "Images at a time; answers differ by rounding at most.", low=1
    )
    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:1 or mps; auto: a CUDA GPU, else cpu."
    )
    quiet: bool = setting(False, "Print errors only.")
    data: ImagesToPredict = field(default_factory=ImagesToPredict)


_DESCRIPTION = """Assigns images to the clusters of a run.

  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos
  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos sort_into=sorted
  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos level=2
  hadis-lightly-predict checkpoint=runs/train/... data.path=new names=names.json
  hadis-lightly-predict checkpoint=last.ckpt data=npz data.path=images.npz out=a.csv
  hadis-lightly-predict checkpoint=model.onnx data.path=new_photos
  find . -name '*.jpg' | hadis-lightly-predict checkpoint=last.ckpt data.path=-

The table has a row per image: file, cluster, confidence (softmax over the clusters, or
the probability from the cluster head, 0 to 1) and distance from the embedding to the
middle of the cluster (at least 0; 1.41 for unrelated images). Images are streamed: a
million take no more memory than a thousand. Unreadable files are skipped and listed
beside the table."""


def check(settings: PredictSettings) -> None:
    """Checks what can be known before anything is read.

    Raises:
        SettingsError: Names the setting and its value.
    """
    check_section(settings)
    if not re.fullmatch(r"auto|cpu|(cuda|mps)(:\d+)?", settings.device):
        raise SettingsError(
            f"device must be auto, cpu, cuda or mps, got {settings.device!r}."
        )
    for name in ("level", "names"):
        value = getattr(settings, name)
        if value is not None and _is_exported(settings):
            raise SettingsError(
                f"{name} is {value}, but an exported model has no {name.rstrip('s')}s: "
                "set checkpoint to the run that it was exported from."
            )
    if Path(settings.out).is_dir():
        raise SettingsError(f"out is {settings.out!r}, which is a folder.")
    arrays = settings.embeddings
    if arrays is not None and not arrays.endswith(".npy"):
        raise SettingsError(f"embeddings must end in .npy, got {arrays!r}.")
    if settings.names is not None and settings.level is not None:
        raise SettingsError(
            f"names cannot be combined with level={settings.level}: they are names of "
            "the clusters of the run."
        )
    source, path, into = settings.data.source, settings.data.path, settings.sort_into
    if source == "folder" and not path:
        raise SettingsError("data.path is needed: the folder of the images.")
    if into is None:
        return
    if source != "folder" or str(path).lower().endswith(".npz"):
        kind = "npz" if source == "folder" else source
        raise SettingsError(f"sort_into needs files, but data is {kind!r}.")
    for folder in [path] if isinstance(path, str) else path:
        if Path(into).resolve().is_relative_to(Path(folder).expanduser().resolve()):
            raise SettingsError(
                f"sort_into is {into!r}, which lies below data.path: the sorted images "
                "would be found again."
            )


def predict_images(settings: PredictSettings) -> PredictionSummary:
    """Writes the table, and sorts the files if asked to.

    Raises:
        SettingsError: If a setting is wrong.
        CheckpointError: If the checkpoint cannot be read.
        DataError: If the images cannot be found.
        ValueError: If there are none.
    """
    check(settings)
    data = settings.data
    check_exists("checkpoint", settings.checkpoint)
    check_exists("names", settings.names)
    if data.source not in DOWNLOADED:
        check_exists("data.path", data.path)
    # Only now: it takes seconds.
    from hadis_lightly.data import describe_problems
    from hadis_lightly.prediction import load_predictor
    from hadis_lightly.prediction.sorting import SortIntoFolders
    from hadis_lightly.prediction.table import images_to_predict, predict_to_table

    predictor = load_predictor(settings.checkpoint, settings.device)
    labelling = _labelling(settings, predictor)
    n_clusters, relabel = _at_level(predictor, settings.level)
    images, total, found, pixels, lines = images_to_predict(
        predictor, data.source, data.path, follow_links=data.follow_links
    )
    if not settings.quiet:
        print(found, *(f"WARNING: {line}" for line in lines), sep="\n")
    sort, out = None, Path(settings.out)
    arrays: AbstractContextManager[NewFile | None] = nullcontext()
    if settings.embeddings is not None:
        arrays = new_file(Path(settings.embeddings))
    with new_file(out) as left_out:
        with (
            new_file(out) as table,
            arrays as embeddings,
            StepProgress("predicting", not settings.quiet) as progress,
        ):
            if settings.sort_into is not None:
                into, labels = Path(settings.sort_into), labelling and labelling.labels
                sort = SortIntoFolders(into, n_clusters, settings.sort_by, labels or ())
            summary = predict_to_table(
                predictor,
                images,
                table.unfinished,
                batch_size=settings.batch_size,
                relabel=relabel,
                labelling=labelling,
                embeddings=embeddings.unfinished if embeddings else None,
                left_out=left_out.unfinished,
                sort=sort,
                progress=lambda done: progress(min(done, total), total),
            )
        left_out.path = table.path.with_name(f"{table.path.stem}.left_out.txt")
        if not summary.num_left_out:
            left_out.unfinished.unlink()
    if summary.num_left_out:
        summary.left_out = left_out.path
    if not settings.quiet:
        print(_describe(summary, n_clusters), table.path, sep="\n")
        if embeddings is not None:
            print(embeddings.path)
        if labelling is not None:
            print(labelling.describe())
        if warning := pixels.describe():
            print(f"WARNING: {warning}")
        if summary.num_left_out:
            num_problems = summary.num_left_out
            print(describe_problems(summary.problems, num_problems=num_problems))
            print(f"(see {summary.left_out})")
        if sort is not None:
            copies = f"  (copied, not linked: {sort.no_links})" if sort.no_links else ""
            print(f"{sort.folder}/{copies}")
    return summary


def _labelling(settings: PredictSettings, predictor: Any) -> Labelling | None:
    """Labels by names from the report, or else those that the run started from."""
    if settings.level is not None or _is_exported(settings):
        return None
    from hadis_lightly.artifacts.names_file import names_of_run, read_names
    from hadis_lightly.prediction.naming import Labelling

    names = settings.names or names_of_run(settings.checkpoint, predictor.clusters_id)
    return None if names is None else Labelling(predictor, read_names(names))


def _is_exported(settings: PredictSettings) -> bool:
    """Whether the checkpoint is a file of ``hadis-lightly-export``."""
    return settings.checkpoint.endswith(".onnx")


def _at_level(
    predictor: ClusterPredictor | OnnxPredictor, level: int | None
) -> tuple[int, Callable[[Tensor, Tensor], Tensor] | None]:
    """Number of clusters at a level, and what makes its labels."""
    if level is None:
        return predictor.n_clusters, None
    tree: ClusterTree | None = getattr(predictor, "tree", None)
    if tree is None:
        raise ValueError(
            f"level is {level}, but this checkpoint has no levels: they are found at "
            "the end of a run, by this version or a later one."
        )
    tree.check_level(level)
    return tree.levels[level - 1], partial(tree.assign, level=level)


def _describe(summary: PredictionSummary, n_clusters: int) -> str:
    """The number of images and the sizes of the largest clusters."""
    lines = [
        f"{summary.num_images:,} images in {len(summary.sizes)} of {n_clusters} "
        f"clusters, mean confidence {summary.mean_confidence:.3f}"
    ]
    for label, size in summary.sizes.most_common(20):
        share = size / summary.num_images
        lines.append(f"  cluster {label:>3}  {size:>9,}  {share:6.1%}")
    if len(summary.sizes) > 20:
        lines.append(f"  and {len(summary.sizes) - 20} more")
    return "\n".join(lines)


def main() -> None:
    """Runs the command."""
    sources = {name: {"data": ImagesToPredict(source=name)} for name in SOURCE_NAMES}
    groups = {"data": ("folder", sources)}
    run_command("predict", PredictSettings(), predict_images, _DESCRIPTION, groups)


if __name__ == "__main__":
    main()
