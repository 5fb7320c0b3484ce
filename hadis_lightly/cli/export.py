"""``hadis-lightly-export``: a trained run as one file, for programs without PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from omegaconf import MISSING

from hadis_lightly.cli.command import run_command
from hadis_lightly.fields import setting
from hadis_lightly.own_output import new_file
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.validate import check_exists, check_section

_NEEDED = ("onnx", "onnxruntime", "onnxscript")


@dataclass
class ExportSettings:
    """Settings of ``hadis-lightly-export``."""

    checkpoint: str = setting(
        MISSING, "Folder of a run, or a checkpoint in it.", is_path=True
    )
    out: str = setting(
        "model.onnx",
        "The file, .onnx or .pt2 (torch.export); beside it lies model.onnx.json, which "
        "describes it. If it exists, a number is added to the name.",
        is_path=True,
    )
    quiet: bool = setting(False, "Print errors only.")


_DESCRIPTION = """Writes a run, networks and clusters, as one file for other programs.

  hadis-lightly-export checkpoint=runs/train/... out=model.onnx
  hadis-lightly-export checkpoint=runs/train/... out=model.pt2
  hadis-lightly-predict checkpoint=model.onnx data.path=new_photos

Input is images, float32 (n, channels, size, size) in [0, 1], any n; the normalisation
lies inside. Outputs are cluster, confidence, embedding and distance. The JSON file
beside it says how to scale images, and gives the names of the clusters, where known,
and licence and origin of the weights. The file is kept only if it gives the clusters
that the checkpoint gives. ONNX needs: pip install onnx onnxruntime onnxscript"""


def export_to_file(settings: ExportSettings) -> Path:
    """Writes the file and its description, and prints where they are.

    Returns:
        The file.

    Raises:
        SettingsError: If a setting is wrong, or a package is missing.
        CheckpointError: If the checkpoint cannot be read.
        ExportError: If the networks cannot be exported, or give other clusters then.
    """
    check_section(settings)
    check_exists("checkpoint", settings.checkpoint)
    out = Path(settings.out)
    if out.suffix not in (".onnx", ".pt2"):
        raise SettingsError(f"out must end in .onnx or .pt2, got {settings.out!r}.")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if out.suffix == ".onnx" and missing:
        raise SettingsError(
            f"out={settings.out} needs {', '.join(missing)}: "
            f"pip install {' '.join(_NEEDED)}"
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
