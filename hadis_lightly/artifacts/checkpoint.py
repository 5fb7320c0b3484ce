"""Checkpoints: written whole or not at all, read as plain data, checked for fit."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import nn

from hadis_lightly import __version__
from hadis_lightly.atomic import atomic_write
from hadis_lightly.data import ImageSource
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans

#: Under this key a checkpoint of Lightning's has what is ours.
KEY = "hadis_lightly"
#: Raised by one whenever older versions could not read the checkpoint rightly.
FORMAT = 1
# What every checkpoint of a run says of itself.
_STAMPED = {"format", "version", "settings", "description", "fingerprint"}
# Where methods without a teacher have their backbone.
_ONLY_NETWORK = ("model.backbone.", "model.autoencoder.encoder.vit.")
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit."""


class CheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints, written atomically and read with ``weights_only``.

    A checkpoint that is there already is kept as ``previous.ckpt`` until the next one.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Writes a checkpoint; until it is complete the last one stays in place."""
        path = Path(path)
        with atomic_write(path.with_name(".next.ckpt"), "wb") as file:
            torch.save(checkpoint, file)
        if path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(path.with_name(".next.ckpt"), path)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = "cpu",
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads a checkpoint as plain data, whatever ``weights_only``."""
        return read_checkpoint(path)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of a run; code in it is refused, not run.

    Args:
        path: The file.

    Returns:
        The checkpoint of Lightning's; what is ours lies under :data:`KEY`.

    Raises:
        CheckpointError: If it cannot be read, is no checkpoint of this package, or was
            made by a later version.
    """
    if not Path(path).exists():
        raise CheckpointError(f"there is no checkpoint {str(path)!r}.")
    if not _is_whole(path):
        raise CheckpointError(
            f"checkpoint {str(path)!r} cannot be read: it is damaged, or no checkpoint."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"checkpoint {str(path)!r} holds more than tensors and plain data. It was "
            "not loaded, since that can run anybody's code."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"checkpoint {str(path)!r} cannot be read: {reason}"
        ) from None
    if not isinstance(content, dict) or KEY not in content:
        kind = "no checkpoint of a run"
        if isinstance(content, dict) and "pytorch-lightning_version" in content:
            kind = "a checkpoint of Lightning's, but not of a run of hadis-lightly"
        raise CheckpointError(f"{str(path)!r} is {kind}.")
    made = content[KEY]
    if not isinstance(made, dict) or not made.keys() >= _STAMPED:
        raise CheckpointError(f"{str(path)!r} is no checkpoint of a run.")
    if made["format"] > FORMAT:
        raise CheckpointError(
            f"checkpoint {str(path)!r} was made by hadis-lightly {made['version']}, "
            f"which is later than this {__version__}."
        )
    return content


def _is_whole(path: str | Path) -> bool:
    """Whether a file is an archive, as torch.save writes them, with all its bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile):
        return False


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The newest whole checkpoint of a run's folder; None if there is none.

    Args:
        folder: Folder of the run.

    Raises:
        CheckpointError: If there are some, but none that can be read.
    """
    problem: CheckpointError | None = None
    for name in (LAST, PREVIOUS):
        path = Path(folder) / "checkpoints" / name
        if path.exists():
            try:
                read_checkpoint(path)
            except CheckpointError as error:
                problem = problem or error
            else:
                return path
    if problem is not None:
        raise problem
    return None


def stamp(settings: Mapping[str, Any], source: ImageSource) -> dict[str, Any]:
    """What says, within a checkpoint, what it was made with.

    Args:
        settings: All settings as plain data.
        source: The images.
    """
    return {
        "format": FORMAT,
        "version": __version__,
        "settings": dict(settings),
        "images": len(source),
        "description": source.description,
        "fingerprint": _fingerprint(source),
    }


def check_fits(
    checkpoint: Mapping[str, Any],
    path: str | Path,
    settings: Settings,
    source: ImageSource,
    model: nn.Module,
) -> None:
    """Checks that a checkpoint is of this run: these images, networks and settings.

    Settings may differ in what makes the same run faster or slower.

    Raises:
        CheckpointError: Says what does not fit.
    """
    made = checkpoint[KEY]
    problems = []
    if made["fingerprint"] != _fingerprint(source):
        problems.append(
            f"it was made of other images ({made['description']}; here "
            f"{source.description})"
        )
    theirs = {name: tuple(v.shape) for name, v in checkpoint["state_dict"].items()}
    ours = {f"model.{k}": tuple(v.shape) for k, v in model.state_dict().items()}
    changes = different_settings(made["settings"], settings)
    problems += changes
    for name in ours:
        if name not in theirs:
            problems.append(f"it has no {name}")
        elif theirs[name] != ours[name]:
            problems.append(f"its {name} is {theirs[name]}, here {ours[name]}")
    problems += [f"its {name} is not in this model" for name in theirs.keys() - ours]
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise CheckpointError(
            f"checkpoint {str(path)!r} does not fit: {'; '.join(problems[:5])}{more}."
        )


def backbone_state_dict(
    path: str | Path, network: str = "teacher"
) -> dict[str, torch.Tensor]:
    """Weights of the backbone alone, out of a checkpoint.

    Names are the backbone's own, so that a network of torchvision's takes them, and
    with it lightly's modules around it: ``resnet18().load_state_dict(...,
    strict=False)`` misses nothing but the classifier, ``fc``.

    Args:
        path: Checkpoint of a run.
        network: ``"teacher"``, whose embeddings are clustered, or ``"student"``; CC
            and PICI have one network, which is both. PICI's is timm's transformer.

    Raises:
        ValueError: If there is no such network.
        CheckpointError: If the checkpoint cannot be read.
    """
    prefixes = {"teacher": "model.teacher.module.", "student": "model.student."}
    if network not in prefixes:
        raise ValueError(f"network must be teacher or student, got {network!r}.")
    weights = read_checkpoint(path)["state_dict"]
    for prefix in (prefixes[network] + "backbone.", *_ONLY_NETWORK):
        found = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
        if found:
            return found
    raise CheckpointError(f"checkpoint {str(path)!r} has no backbone.")


def _fingerprint(source: ImageSource) -> str:
    """Tells one set of images from another by their names and classes."""
    digest = hashlib.sha256(source.targets.tobytes())
    for key in source.keys:
        digest.update(key.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a path means: the file, or the newest one of a run's folder.

    Raises:
        CheckpointError: If there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(f"there is no checkpoint and no run at {str(path)!r}.")
    found = newest_checkpoint(path.parent if path.name == "checkpoints" else path)
    if found is None:
        raise CheckpointError(f"{str(path)!r} is no folder of a run: no checkpoint.")
    return found


def clusters_of(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What the callback that clusters has left in a checkpoint.

    Raises:
        CheckpointError: If it has not clustered yet.
    """
    for callback in (PrototypeKMeans, ClusterHeadAssignment):
        state: dict[str, Any] = checkpoint["callbacks"].get(callback.__name__, {})
        if state:
            return state
    raise CheckpointError(f"checkpoint {str(path)!r} has no clusters yet.")
