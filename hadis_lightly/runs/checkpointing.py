"""Saves a run between two steps, so that it can be resumed from there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import distributed as torch_dist

from hadis_lightly.artifacts.checkpoint import KEY, LAST
from hadis_lightly.artifacts.metrics_file import MetricsFile
from hadis_lightly.runs.interruption import RunInterrupted, StopRequest
from hadis_lightly.training.health import HealthMonitor


class RunCheckpoint(pl.Callback):
    """Saves a run every few minutes, and when Ctrl-C or SIGTERM asks it to stop.

    Only finite states are saved, and only between two steps, which Lightning's
    ``ModelCheckpoint`` does not promise.

    Args:
        folder: Folder of the run.
        stamp: What the run was made with.
        health: Checked before anything is saved.
        every_n_minutes: Minutes between two checkpoints; 0 saves after every step, None
            ignores the time.
        every_n_epochs: Epochs between two checkpoints; None ignores them.
    """

    def __init__(
        self,
        folder: Path,
        stamp: Mapping[str, Any],
        health: HealthMonitor,
        *,
        every_n_minutes: float | None = None,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__()
        self.path = folder / "checkpoints" / LAST
        self.stamp = dict(stamp)
        self.health = health
        self.every_n_minutes = every_n_minutes
        self.every_n_epochs = every_n_epochs
        self.metrics: MetricsFile | None = None
        self.stop = StopRequest()
        #: Seconds of training, as of the last call of :meth:`training_seconds`.
        self.seconds = 0.0
        self.num_resumed = 0
        self._last_saved = self._last_counted = time.monotonic()
        self._batches_done: int | None = None
        self._listening: AbstractContextManager[None] | None = None
        self._group: Any = None

    def setup(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str
    ) -> None:
        """Starts the clock, and finds the log that goes into each checkpoint."""
        self._last_saved = self._last_counted = time.monotonic()
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                self.metrics = MetricsFile(logger)

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Listens for signals; Lightning's own handlers are in place by now."""
        if trainer.world_size > 1:
            # Processes agree on the host, so that no GPU has to be waited for.
            self._group = torch_dist.new_group(backend="gloo")
        signals = [signal.SIGINT, signal.SIGTERM]
        if "SLURM_JOB_ID" in os.environ:
            signals.append(signal.SIGUSR1)
        self._listening = self.stop.listening(tuple(signals))
        self._listening.__enter__()

    def on_train_epoch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Saves between two epochs."""
        epoch, n = trainer.current_epoch, self.every_n_epochs
        if epoch > 0:
            is_due = self._is_due() or (n is not None and epoch % n == 0)
            self._save_if(trainer, is_due, batches_done=0)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves between two steps of an epoch, once the last one has been logged."""
        if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        # Several processes would have to agree on the time after every step.
        is_due = trainer.world_size == 1 and self._is_due()
        self._save_if(trainer, is_due, batches_done=batch_idx)

    def _save_if(self, trainer: pl.Trainer, is_due: bool, batches_done: int) -> None:
        self.stop.signum = self._largest(self.stop.signum)
        if self.stop or is_due:
            self.save(trainer, batches_done)
        if self.stop:
            raise RunInterrupted(
                f"interrupted ({signal.Signals(self.stop.signum).name}); saved in "
                f"{self.path}. Continue with trainer.resume=auto.",
                self.stop.signum,
            )

    def save(self, trainer: pl.Trainer, batches_done: int = 0) -> None:
        """Writes a checkpoint.

        Args:
            trainer: Lightning's trainer.
            batches_done: Batches done in the current epoch.

        Raises:
            DivergedError: If a loss or a gradient was not finite.
        """
        self.health.check_now()
        self.training_seconds()
        self._batches_done = batches_done
        trainer.save_checkpoint(self.path)
        self._last_saved = time.monotonic()

    def training_seconds(self) -> float:
        """Seconds of training until now, including those before an interruption."""
        now = time.monotonic()
        self.seconds += now - self._last_counted
        self._last_counted = now
        return self.seconds

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Adds the stamp, and the exact point that the run has reached."""
        done, epoch = self._batches_done, trainer.current_epoch
        if done is None:  # saved by other code than ours
            return
        checkpoint[KEY] = self.stamp | {
            "epoch": epoch,
            "batches_done": done,
            "seconds": self.seconds,
            "num_resumed": self.num_resumed,
            "metrics": self.metrics.text() if self.metrics is not None else "",
        }
        _set_progress(checkpoint["loops"]["fit_loop"], epoch, done)
        self._batches_done = None

    def on_load_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Restores the clock and the log."""
        ours = checkpoint[KEY]
        self.seconds = ours["seconds"]
        self.num_resumed = ours["num_resumed"] + 1
        if self.metrics is not None:
            self.metrics.restore(ours["metrics"])

    def on_exception(self, *args: Any) -> None:
        """Stops listening."""
        self.on_train_end()

    def on_train_end(self, *args: Any) -> None:
        """Stops listening."""
        if self._listening is not None:
            self._listening.__exit__(None, None, None)
            self._listening = None

    def _is_due(self) -> bool:
        if self.every_n_minutes is None:
            return False
        minutes = (time.monotonic() - self._last_saved) / 60
        return bool(self._largest(minutes >= self.every_n_minutes))

    def _largest(self, value: int) -> int:
        """The largest value among the processes, so that all of them do the same."""
        if self._group is None:
            return int(value)
        shared = torch.tensor(int(value))
        torch_dist.all_reduce(shared, torch_dist.ReduceOp.MAX, group=self._group)
        return int(shared)


def _set_progress(fit_loop: dict[str, Any], epoch: int, batches_done: int) -> None:
    """Sets the counters of Lightning's loop to the point between two steps.

    Within a callback Lightning's counts of what is ready, started, processed and
    completed differ, and how it resumes from them depends on its version.

    Args:
        fit_loop: State of Lightning's loop, changed in place.
        epoch: Epochs done.
        batches_done: Batches done in the current epoch; 0 between two epochs.
    """
    is_within = int(batches_done > 0)
    epochs, batches = fit_loop["epoch_progress"], fit_loop["epoch_loop.batch_progress"]
    for count in ("total", "current"):
        epochs[count].update(ready=epoch + is_within, started=epoch + is_within)
        epochs[count].update(processed=epoch, completed=epoch)
    total = batches["total"]["processed"]
    for count, number in (("total", total), ("current", batches_done)):
        for name in ("ready", "started", "processed", "completed"):
            batches[count][name] = number
    batches["is_last_batch"] = False
