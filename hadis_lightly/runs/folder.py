"""The folder of a run: a new one, or that of a run which was interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.artifacts.checkpoint import (
    CheckpointError,
    newest_checkpoint,
)
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings

# Tells the processes that Lightning starts what the first one has chosen.
_VARIABLE = "HADIS_LIGHTLY_RUN"


@dataclass
class RunFolder:
    """Where a run writes, and from where it goes on."""

    path: Path
    checkpoint: Path | None = None
    """The checkpoint to go on from; None to begin."""
    lock: IO[str] | None = None
    """Kept open as long as the run lasts."""

    def release(self) -> None:
        """Gives up the claim on the folder."""
        if self.lock is not None:
            self.lock.close()


def checkpoint_asked_for(resume: str | None) -> Path | None:
    """The checkpoint that ``trainer.resume`` names; None if it names none.

    Raises:
        CheckpointError: If there is none where it says.
    """
    if resume is None or resume == "auto":
        return None
    path = Path(resume)
    if path.is_dir():
        found = newest_checkpoint(path)
        if found is None:
            raise CheckpointError(
                f"trainer.resume is {resume!r}, but there is no whole checkpoint in it."
            )
        return found
    if not path.is_file():
        raise CheckpointError(
            "trainer.resume must be auto, a checkpoint or the folder of a run, but "
            f"there is no {resume!r}."
        )
    return path


def choose_folder(settings: Settings, checkpoint: Path | None = None) -> RunFolder:
    """Makes the folder of a new run, or finds that of one to go on with.

    What an earlier run left is never overwritten: a number is added to the name. Only
    the first process of several makes or looks for anything.

    Args:
        settings: All settings; ``output_dir`` and ``trainer.resume`` decide.
        checkpoint: What a new run goes on from.

    Raises:
        SettingsError: If the folder cannot be made.
    """
    if settings.output_dir is None:
        now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        settings.output_dir = str(Path("runs") / now)
    wanted = Path(os.path.relpath(settings.output_dir))
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return _as_told(wanted)
    if settings.trainer.resume == "auto":
        others = wanted.parent.glob(f"{_escaped(wanted.name)}-*")
        found = interrupted_run(settings, [wanted, *others])
        if found is not None:
            settings.output_dir = str(found.path)
            return found
    return _new_folder(settings, wanted, checkpoint)


def interrupted_run(settings: Settings, folders: Iterable[Path]) -> RunFolder | None:
    """The newest of some folders whose run has these settings and is not finished.

    Args:
        settings: All settings.
        folders: Where to look.

    Returns:
        The folder, locked; None if there is none, or if the run still goes on.

    Raises:
        CheckpointError: If it has checkpoints, but none that can be read.
    """
    found = [f for f in folders if (f / "settings.yaml").is_file()]
    newest_first = sorted(
        found, key=lambda f: (f / "settings.yaml").stat().st_mtime_ns, reverse=True
    )
    for folder in newest_first:
        if is_finished(folder):
            continue
        content = _settings_in(folder)
        if not content or different_settings(content, settings, exactly=True):
            continue
        lock = _locked(folder)
        if lock is None:
            continue
        checkpoint = newest_checkpoint(folder)
        began_from = content["trainer"].get("resume")
        if checkpoint is None and began_from not in (None, "auto"):
            checkpoint = checkpoint_asked_for(began_from)
        return RunFolder(folder, checkpoint, lock)
    return None


def _settings_in(folder: Path) -> dict[str, Any]:
    """The settings that a run began with; nothing if it is of something else."""
    with suppress(Exception):
        content = OmegaConf.to_container(OmegaConf.load(folder / "settings.yaml"))
        if isinstance(content, dict) and isinstance(content["trainer"], dict):
            return {str(name): value for name, value in content.items()}
    return {}


def is_finished(folder: Path) -> bool:
    """Whether a run has come to its end: the pictures are its last work."""
    with suppress(OSError, ValueError, KeyError):
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return bool(content["figures"])
    return False


@contextmanager
def broadcast_folder(trainer: pl.Trainer, folder: RunFolder) -> Iterator[None]:
    """Lets all processes of a run have the folder that the first one has chosen.

    Those that Lightning starts inherit it; those that torchrun or SLURM have started
    are told.

    Args:
        trainer: Lightning's trainer.
        folder: What this process has; changed in those that are told.
    """
    if trainer.world_size == 1:
        yield
        return
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if not isinstance(environment, LightningEnvironment):
        trainer.strategy.setup_environment()
        told = trainer.strategy.broadcast((folder.path, folder.checkpoint))
        folder.path, folder.checkpoint = told
    had = os.environ.get(_VARIABLE)
    paths = [str(folder.path), str(folder.checkpoint or "")]
    os.environ[_VARIABLE] = json.dumps(paths)
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE)
        if had is not None:
            os.environ[_VARIABLE] = had


def _as_told(wanted: Path) -> RunFolder:
    if _VARIABLE not in os.environ:
        return RunFolder(wanted)
    path, checkpoint = json.loads(os.environ[_VARIABLE])
    return RunFolder(Path(path), Path(checkpoint) if checkpoint else None)


def _new_folder(settings: Settings, wanted: Path, checkpoint: Path | None) -> RunFolder:
    for attempt in range(1, 10_000):
        folder = wanted if attempt == 1 else Path(f"{wanted}-{attempt}")
        settings.output_dir = str(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
            if lock is None:
                continue  # another run that starts just now
            try:
                with (folder / "settings.yaml").open("x", encoding="utf-8") as file:
                    file.write(OmegaConf.to_yaml(OmegaConf.structured(settings)))
            except FileExistsError:
                lock.close()
                continue
        except FileExistsError:
            if not folder.is_dir():
                raise SettingsError(
                    f"output_dir is {str(folder)!r}, which is not a folder."
                ) from None
            continue
        return RunFolder(folder, checkpoint, lock)
    raise SettingsError(f"there are 9,999 folders {str(wanted)!r}-* already.")


def _locked(folder: Path) -> IO[str] | None:
    """Claims a folder until this process ends, however it ends; None if it is taken."""
    file = (folder / ".lock").open("w", encoding="utf-8")
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    try:
        # This kind is not inherited by worker processes, which may live longer.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:
        pass  # a file system without locks
    return file


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
