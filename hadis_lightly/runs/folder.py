"""The folder of a run: a new one, or that of a run which was interrupted."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.artifacts.checkpoint import (
    Checkpoint,
    load_checkpoint,
)
from hadis_lightly.atomic import disk_full_error, remove_unfinished
from hadis_lightly.models.weight_files import checkpoint_files
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings

# Tells the processes that Lightning starts what the first one has chosen.
_VARIABLE = "HADIS_LIGHTLY_RUN"


class ResumePoint(NamedTuple):
    """How far an interrupted run had come: plain data, for all processes."""

    path: str
    """The checkpoint."""
    epoch: int
    batches_done: int
    """Batches done in this epoch."""
    step: int
    changes: list[str]
    """Settings that have changed: the length, or what may alter the last bits."""
    precision: str | None
    """Precision of the run; None if an earlier version did not note it."""
    weights: dict[str, Any] | None
    """Weights that the backbone started from, see ``describe_weights``."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, settings: Settings) -> ResumePoint:
        """The point that a checkpoint was saved at."""
        stamp = checkpoint.stamp
        return cls(
            path=str(checkpoint.path),
            epoch=stamp["epoch"],
            batches_done=stamp["batches_done"],
            step=checkpoint.content["global_step"],
            changes=different_settings(stamp["settings"], settings, exactly=True),
            precision=stamp.get("precision"),
            weights=stamp.get("weights"),
        )

    def __str__(self) -> str:
        batch = f", batch {self.batches_done}" if self.batches_done else ""
        text = f"resumed from {self.path}, epoch {self.epoch}{batch}"
        if self.changes:
            text += f" (changed: {'; '.join(self.changes)})"
        return text


@dataclass
class RunFolder:
    """Where a run writes, and from where it continues."""

    path: Path
    lock: IO[str] | None = None
    """Open as long as the run has the folder to itself."""
    checkpoint: Path | None = None
    """The checkpoint to continue from, or the folder of its run; None begins anew."""
    start: ResumePoint | None = None
    """The point that the checkpoint was saved at."""

    def release(self) -> None:
        """Gives up the claim on the folder."""
        if self.lock is not None:
            self.lock.close()


@contextmanager
def claimed_folder(
    settings: Settings, resume_point: Callable[[Checkpoint], ResumePoint]
) -> Iterator[RunFolder]:
    """Makes the folder of a new run, or finds that of one to continue; locks it.

    What an earlier run left is never overwritten: a number is added to the name. Of
    several processes only the first makes or looks for a folder.

    Args:
        settings: All settings; ``output_dir`` is set to the folder.
        resume_point: Checks that a checkpoint fits. One that ``trainer.resume`` names
            is checked before a folder is made.

    Raises:
        OSError: If the folder cannot be made.
        CheckpointError: If there is no checkpoint, or it cannot be read.
    """
    if settings.output_dir is None:
        now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        settings.output_dir = str(Path("runs") / now)
    wanted = Path(os.path.relpath(settings.output_dir))
    resume = settings.trainer.resume
    folder = start = None
    if resume not in (None, "auto"):
        start = resume_point(load_checkpoint(resume))
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        # What the process that started this one has chosen.
        chosen = os.environ.get(_VARIABLE)
        path, point = json.loads(chosen) if chosen else (wanted, None)
        yield RunFolder(Path(path), start=point and ResumePoint(*point))
        return
    if resume == "auto":
        others = wanted.parent.glob(f"{glob.escape(wanted.name)}-*")
        folder = interrupted_run(settings, [wanted, *others])
    if folder is None:
        folder = _new_folder(settings, wanted)
    else:
        remove_unfinished(folder.path)
    try:
        settings.output_dir = str(folder.path)
        if folder.checkpoint is not None:
            start = resume_point(load_checkpoint(folder.checkpoint))
        folder.start = start
        yield folder
    except OSError as error:
        if error is disk_full_error(error) and error.filename is None:
            error.filename = str(folder.path)  # as that of the loggers
        raise
    finally:
        folder.release()


def interrupted_run(settings: Settings, folders: Iterable[Path]) -> RunFolder | None:
    """The newest of some folders whose run has these settings and is not finished.

    Returns:
        The folder, locked; None if there is none, or if the run is still going.
    """
    files = [f / "settings.yaml" for f in folders if (f / "settings.yaml").is_file()]
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        folder = file.parent
        if is_finished(folder):
            continue
        content = _settings_in(file)
        if content is None or different_settings(content, settings, exactly=True):
            continue
        lock = _locked(folder)
        if lock is None:
            continue
        if checkpoint_files(folder):
            return RunFolder(folder, lock, folder)
        began_from = content["trainer"].get("resume")
        is_named = began_from not in (None, "auto")
        return RunFolder(folder, lock, Path(began_from) if is_named else None)
    return None


def is_finished(folder: Path) -> bool:
    """Whether a run is complete: its figures are drawn last."""
    with suppress(OSError, ValueError, KeyError):
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return bool(content["figures"])
    return False


def _settings_in(file: Path) -> dict[str, Any] | None:
    """The settings that a run began with; None if the file is not a run's."""
    with suppress(Exception):
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
        if isinstance(content["trainer"], dict):
            return dict(content)
    return None


def _new_folder(settings: Settings, wanted: Path) -> RunFolder:
    folder, number = wanted, 1
    while True:
        settings.output_dir = str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder)
        if lock is not None:  # else another run is just starting there
            text = OmegaConf.to_yaml(OmegaConf.structured(settings))
            path = folder / "settings.yaml"
            if path.exists() and path.stat().st_size == 0:
                path.unlink()  # of a run that ended as it wrote its first file
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
                return RunFolder(folder, lock)
            except FileExistsError:
                lock.close()
            except OSError:
                path.unlink(missing_ok=True)
                raise
        number += 1
        folder = Path(f"{wanted}-{number}")


def _locked(folder: Path) -> IO[str] | None:
    """Claims a folder until this process ends, however it ends; None if it is taken."""
    file = (folder / ".lock").open("w", encoding="utf-8")
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    try:
        # Worker processes, which may live longer, do not inherit this kind of lock.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:
        pass  # a file system without locks
    return file


@contextmanager
def broadcast_folder(trainer: pl.Trainer, folder: RunFolder) -> Iterator[None]:
    """Gives all processes of a run the folder that the first one has chosen.

    Processes that Lightning starts inherit it; those that torchrun or SLURM have
    started receive it in place of their own.
    """
    if trainer.world_size == 1:
        yield
        return
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if not isinstance(environment, LightningEnvironment):
        trainer.strategy.setup_environment()
        chosen = trainer.strategy.broadcast((folder.path, folder.start))
        folder.path, folder.start = chosen
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = json.dumps([str(folder.path), folder.start])
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE)
        if before is not None:
            os.environ[_VARIABLE] = before
