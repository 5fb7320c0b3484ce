"""``hadis-lightly-export``: a run for programs without PyTorch, or for other tools."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from omegaconf import MISSING

from hadis_lightly.cli.command import run_command
from hadis_lightly.fields import setting
from hadis_lightly.own_output import new_file
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.validate import check_exists, check_section

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
# hadis_lightly.formats.FORMATS, which takes seconds to import.
_FORMATS = ("fiftyone", "label-studio", "imagefolder", "tensorboard", "parquet")


@dataclass
class ExportedImages:
    """Images of the run."""

    path: str | None = setting(
        None, "With to=: where the images are, if they have moved.", is_path=True
    )


@dataclass
class ExportSettings:
    """Settings of ``hadis-lightly-export``."""

    checkpoint: str = setting(
        MISSING, "Folder of a run, or a checkpoint in it.", is_path=True
    )
    out: str | None = setting(
        None,
        "The file, .onnx or .pt2 (torch.export); beside it lies model.onnx.json, which "
        "describes it. Null is model.onnx. With to=, a folder; null is the tool's "
        "name. If it exists, a number is added to the name.",
        is_path=True,
    )
    to: str | None = setting(
        None,
        "The tool that is to open the images with their clusters; null exports the "
        "networks.",
        choices=_FORMATS,
    )
    names: str | None = setting(
        None,
        "With to=: names.json or labels.csv of the report; or names of clusters in a "
        'JSON file, {"0": "cats"}, or a table with columns file and label.',
        is_path=True,
    )
    level: int | None = setting(
        None,
        "With to=: level of the tree over the clusters, for cluster and label; see "
        "hadis-lightly-predict. null: the clusters of the run.",
    )
    quiet: bool = setting(False, "Print errors only.")
    data: ExportedImages = field(default_factory=ExportedImages)


_DESCRIPTION = """Writes a run as one file, or its clustered images for other tools.

  hadis-lightly-export checkpoint=runs/train/... out=model.onnx
  hadis-lightly-export checkpoint=runs/train/... out=model.pt2
  hadis-lightly-predict checkpoint=model.onnx data.path=new_photos
  hadis-lightly-export checkpoint=runs/train/... to=fiftyone names=names.json

Input is images, float32 (n, channels, size, size) in [0, 1], any n; the normalisation
lies inside. Outputs are cluster, confidence, embedding and distance. The JSON file
beside it says how to scale images, and gives the names of the clusters, where known,
and licence and origin of the weights. The file is kept only if it gives the clusters
that the checkpoint gives. ONNX needs: pip install onnx onnxruntime onnxscript

With to=fiftyone, label-studio, imagefolder, tensorboard or parquet, the images of the
run, their clusters and embeddings are written for that tool. Images stay where they
are; the folder has their paths, or links to them."""


def export_to_file(settings: ExportSettings) -> Path:
    """Writes the file and its description, or a tool's folder, and prints where.

    Returns:
        The file, or the main file of the folder.

    Raises:
        SettingsError: If a setting is wrong, or a package is missing.
        CheckpointError: If the checkpoint cannot be read.
        ExportError: If the networks cannot be exported, or give other clusters then.
        DataError: If the images are gone.
    """
    check_section(settings)
    check_exists("checkpoint", settings.checkpoint)
    check_exists("names", settings.names)
    check_exists("data.path", settings.data.path)
    if settings.to is not None:
        return _export_images(settings, settings.to)
    for_tools = {
        "names": settings.names,
        "level": settings.level,
        "data.path": settings.data.path,
    }
    for name, value in for_tools.items():
        if value is not None:
            raise SettingsError(f"{name} needs to=, one of {', '.join(_FORMATS)}.")
    return _export_networks(settings, Path(settings.out or "model.onnx"))


def _export_images(settings: ExportSettings, to: str) -> Path:
    # Only now: it takes seconds.
    from hadis_lightly.artifacts.names_file import is_label_table
    from hadis_lightly.artifacts.saved_run import load_run
    from hadis_lightly.formats import export_clusters, images_of_run

    run = load_run(settings.checkpoint)
    images = images_of_run(
        run, path=settings.data.path, names=settings.names, level=settings.level
    )
    with StepProgress("writing images", not settings.quiet) as progress:
        path = export_clusters(images, to, settings.out or to, progress=progress)
    if not settings.quiet:
        if images.num_excluded:
            is_table = settings.names and is_label_table(settings.names)
            missing = f", or not in {settings.names}" if is_table else ""
            print(f"{images.num_excluded:,} images are left out: excluded{missing}")
        if images.num_gone:
            print(
                f"WARNING: {images.num_gone:,} images have no file any more and are "
                "left out; data.path=FOLDER reads them from another folder."
            )
        print(path)
    return path


def _export_networks(settings: ExportSettings, out: Path) -> Path:
    if out.suffix not in (".onnx", ".pt2"):
        raise SettingsError(f"out must end in .onnx or .pt2, got {str(out)!r}.")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if out.suffix == ".onnx" and missing:
        raise SettingsError(
            f"out={out} needs {', '.join(missing)}: pip install {' '.join(_NEEDED)}"
        )
    # Only now: it takes seconds.
    from hadis_lightly.prediction.export import export_run

    with new_file(_described(out)) as description:
        with new_file(out) as file:
            exported = export_run(settings.checkpoint, file.unfinished)
        description.path = _described(file.path)
        text = json.dumps(exported.description, indent=2, ensure_ascii=False)
        description.unfinished.write_text(f"{text}\n", encoding="utf-8")
    if not settings.quiet:
        megabytes = file.path.stat().st_size / 1e6
        print(
            f"{file.path}  ({megabytes:.1f} MB)",
            description.path,
            f"agrees with the checkpoint to {exported.difference:.1g}",
            sep="\n",
        )
    return file.path


def _described(file: Path) -> Path:
    """Where the description of a file lies."""
    return file.with_name(f"{file.name}.json")


def main() -> None:
    """Runs the command."""
    run_command("export", ExportSettings(), export_to_file, _DESCRIPTION)


if __name__ == "__main__":
    main()
