"""A run's checkpoint: written whole or not at all, read as plain data, checked."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor, nn

from hadis_lightly import __version__
from hadis_lightly.artifacts.fingerprint import (
    fingerprint,
    first_difference,
    sample_contents,
)
from hadis_lightly.atomic import atomic_write
from hadis_lightly.data import DatasetSource, FolderSource, ImageSource
from hadis_lightly.methods.registry import prolonged
from hadis_lightly.models.weight_files import PREVIOUS, checkpoint_files, is_whole
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.loading import settings_of
from hadis_lightly.settings.sections import Settings
from hadis_lightly.text import first_line
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans

#: Lightning's checkpoint holds our stamp under this key.
KEY = "hadis_lightly"
#: Raised by one whenever older versions would misread the checkpoint.
FORMAT = 1
_STAMPED = {"format", "version", "settings", "description", "fingerprint"}
# Methods without a teacher have their only backbone here.
_ONLY_BACKBONE = ("model.backbone.", "model.autoencoder.encoder.vit.")


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run, found, read and validated by :func:`load_checkpoint`."""

    path: Path
    content: dict[str, Any]
    """Lightning's checkpoint."""
    stamp: dict[str, Any]
    """Version, settings and images of the run, and how far it had come."""
    settings: Settings
    """Settings of the run; those that it did not know have their defaults."""

    @property
    def clusters(self) -> dict[str, Any]:
        """State of the callback that clusters.

        Raises:
            CheckpointError: If the run had no clusters yet.
        """
        for callback in (PrototypeKMeans, ClusterHeadAssignment):
            state = self.content.get("callbacks", {}).get(callback.__name__)
            if isinstance(state, dict) and state:
                return state
        raise CheckpointError(f"checkpoint {str(self.path)!r} has no clusters yet.")

    def weights(self, prefix: str = "model.") -> dict[str, Tensor]:
        """Weights whose names start with a prefix, without the prefix."""
        return {
            name.removeprefix(prefix): value
            for name, value in self.content["state_dict"].items()
            if name.startswith(prefix)
        }

    def check_fits(
        self,
        settings: Settings,
        source: ImageSource,
        model: nn.Module,
        examples: str | None = None,
    ) -> None:
        """Checks that the checkpoint has these settings, images, networks and examples.

        Settings may differ if they only make the same run faster or slower, and
        ``trainer.max_epochs`` may be larger: the run is prolonged. ``examples`` is the
        digest of those by hand, None without.

        Raises:
            CheckpointError: Says what does not fit, or that there are no clusters.
            SettingsError: If it can be prolonged with other warm-ups only.
        """
        _ = self.clusters  # which all that follows needs
        problems = [*self._other_images(source), *self._other_pixels(source)]
        before = prolonged(
            self.stamp["settings"], self.stamp.get("schedule", {}), settings
        )
        problems += different_settings(before, settings)
        theirs = {name: tuple(value.shape) for name, value in self.weights().items()}
        ours = {name: tuple(v.shape) for name, v in model.state_dict().items()}
        problems += [
            f"its {name} is {theirs.get(name)}, here {ours.get(name)}"
            for name in sorted(theirs.keys() | ours)
            if theirs.get(name) != ours.get(name)
        ]
        if self.stamp.get("examples") not in (None, examples):
            problems.append(
                f"names {settings.names!r} has other examples now; without "
                "trainer.resume a new run begins from them"
            )
        if problems:
            more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
            raise CheckpointError(
                f"checkpoint {str(self.path)!r} does not fit: "
                f"{'; '.join(problems[:5])}{more}."
            )

    def _other_pixels(self, source: ImageSource) -> list[str]:
        """Whether an earlier version decoded in full what is reduced now."""
        if "decode_size" in self.stamp or not isinstance(source, FolderSource):
            return []
        sizes, min_side = source.sizes, source.min_side
        is_reduced = sizes is not None and bool((sizes.min(axis=1) == min_side).any())
        if not (min_side and is_reduced):
            return []
        return ["it was made from images in full size: set data.decode_size=0"]

    def _other_images(self, source: ImageSource) -> list[str]:
        """What tells a set from that of the checkpoint; empty if nothing does."""
        # Earlier versions looked at names and classes alone.
        contents = self.stamp.get("contents")
        difference = first_difference(contents, source) if contents else ""
        if not difference and self.stamp["fingerprint"] == fingerprint(source):
            return []
        made, here = self.stamp["description"], source.description
        details = [difference or "other names or classes"]
        details += [f"{made}; here {here}"] * (made != here)
        return [f"it was made from other images ({'; '.join(details)})"]


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Finds, reads and validates a checkpoint; code in it is refused, not run.

    Args:
        path: A checkpoint, the folder of a run, or the folder of its checkpoints. From
            a folder comes the last checkpoint, or the one before if it is damaged.

    Raises:
        CheckpointError: If there is none, if it cannot be read or is foreign, or if a
            later version made it.
    """
    path = Path(path).expanduser()
    files = checkpoint_files(path) if path.is_dir() else [path]
    if not files:
        raise CheckpointError(
            f"{str(path)!r} is not the folder of a run: it has no checkpoint."
        )
    newest, *earlier = files
    try:
        return _read(newest)
    except CheckpointError as error:
        for file in earlier:
            with suppress(CheckpointError):
                return _read(file)
        raise error


def _read(path: Path) -> Checkpoint:
    shown = str(path)
    if not path.exists():
        raise CheckpointError(f"there is no checkpoint and no run at {shown!r}.")
    if not is_whole(path):
        raise CheckpointError(
            f"checkpoint {shown!r} cannot be read: it is damaged, or not a checkpoint."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"checkpoint {shown!r} holds more than tensors and plain data. It was not "
            "loaded, because that could run anybody's code."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"checkpoint {shown!r} cannot be read: {first_line(error)}"
        ) from None
    stamp = content.get(KEY) if isinstance(content, dict) else None
    if not isinstance(stamp, dict) or not stamp.keys() >= _STAMPED:
        kind = "not a checkpoint of a run"
        if isinstance(stamp, dict) and "settings" in stamp:
            kind = "a checkpoint of an earlier version, which this one cannot read"
        elif isinstance(content, dict) and "pytorch-lightning_version" in content:
            kind = "a checkpoint of Lightning, but not of a run of hadis-lightly"
        raise CheckpointError(f"{shown!r} is {kind}.")
    if stamp["format"] > FORMAT:
        raise CheckpointError(
            f"checkpoint {shown!r} was made by hadis-lightly {stamp['version']}, which "
            f"is later than this {__version__}."
        )
    return Checkpoint(path, content, stamp, settings_of(stamp["settings"]))


class CheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints atomically, and reads them as plain data.

    The checkpoint that was there stays as ``previous.ckpt`` until the next one.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Writes a checkpoint; until it is complete the last one stays in place."""
        path = Path(path)
        complete = path.with_name(".next.ckpt")
        with atomic_write(complete, "wb") as file:
            torch.save(checkpoint, file)
        if path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(complete, path)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = "cpu",
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads a checkpoint as plain data, whatever ``weights_only`` says."""
        return load_checkpoint(path).content


def stamp(
    settings: Settings,
    source: ImageSource,
    plain_transform: str,
    precision: str,
    schedule: Mapping[str, int],
    weights: Mapping[str, Any] | None = None,
    feature_dtype: str = "float16",
    examples: str | None = None,
) -> dict[str, Any]:
    """What a checkpoint says of the run that made it; ``examples`` is their digest."""
    decode_size = 0
    if isinstance(source, (DatasetSource, FolderSource)):
        decode_size = source.min_side
    return {
        "format": FORMAT,
        "version": __version__,
        "settings": asdict(settings),
        "images": len(source),
        "description": source.description,
        "fingerprint": fingerprint(source),
        "contents": sample_contents(source),
        "plain_transform": plain_transform,
        "decode_size": decode_size,
        "precision": precision,
        "feature_dtype": feature_dtype,
        "schedule": dict(schedule),
        "weights": weights and dict(weights),
        "examples": examples,
    }


def backbone_state_dict(
    path: str | Path | Checkpoint, network: str = "teacher"
) -> dict[str, Tensor]:
    """Weights of the backbone alone, from a checkpoint.

    Names are the backbone's own: ``resnet18().load_state_dict(..., strict=False)`` of
    torchvision misses only the classifier, ``fc``.

    Args:
        path: A checkpoint, or the folder of a run.
        network: ``"teacher"``, whose embeddings are clustered, or ``"student"``; CC
            and PICI have one network, which is both. PICI's is timm's transformer.

    Raises:
        ValueError: If there is no such network.
        CheckpointError: If the checkpoint cannot be read.
    """
    prefixes = {"teacher": "model.teacher.module.", "student": "model.student."}
    if network not in prefixes:
        raise ValueError(f"network must be teacher or student, got {network!r}.")
    checkpoint = path if isinstance(path, Checkpoint) else load_checkpoint(path)
    for prefix in (prefixes[network] + "backbone.", *_ONLY_BACKBONE):
        found = checkpoint.weights(prefix)
        if found and checkpoint.settings.model.train != "all":
            return checkpoint.weights(f"{prefix}module.")
        if found:
            return found
    raise CheckpointError(f"checkpoint {str(checkpoint.path)!r} has no backbone.")
