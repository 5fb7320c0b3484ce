"""Writes the checkpoints of a run, and reads back what is the run's own in them."""

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
    """Saves a run every few minutes, between two steps, so that it can be resumed.

    Nothing is saved that is not finite. Ctrl-C and SIGTERM end the run after the step
    that is underway, once it is saved.

    Args:
        stamp: What says what the run was made with.
        every_n_minutes: Minutes between two checkpoints; 0 saves after every step, None
            never for the time.
        every_n_epochs: Also save after so many epochs.
        health: Checked before anything is saved.
    """

    def __init__(
        self,
        stamp: Mapping[str, Any],
        *,
        every_n_minutes: float | None = None,
        every_n_epochs: int | None = None,
        health: HealthMonitor | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path()
        self.stamp = dict(stamp)
        self.every_n_minutes = every_n_minutes
        self.every_n_epochs = every_n_epochs
        self.metrics: MetricsFile | None = None
        self.health = health
        self.stop = StopRequest()
        #: Seconds of training when they were last asked for.
        self.seconds = 0.0
        #: How often the run was resumed.
        self.num_resumed = 0
        self._last_saved = self._last_counted = time.monotonic()
        self._batches_done: int | None = None
        self._listening: AbstractContextManager[None] | None = None
        self._group: Any = None

    def start(self, trainer: pl.Trainer, folder: Path) -> None:
        """Chooses where to save, and takes along what the trainer logs as CSV.

        Args:
            trainer: Lightning's trainer.
            folder: Folder of the run.
        """
        self.folder = folder / "checkpoints"
        self._last_saved = self._last_counted = time.monotonic()
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                self.metrics = MetricsFile(logger)

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Listens for signals; Lightning's own handlers are in place by now."""
        if trainer.world_size > 1:
            # Processes agree on the host: a GPU is not waited for.
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
        if epoch == 0:
            return
        is_asked = self._is_asked_to_stop(trainer)
        if is_asked or self._is_due(trainer) or (n is not None and epoch % n == 0):
            self.save(trainer, batches_done=0)
        if is_asked:
            self._end()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves between two steps of an epoch; after its last one the epoch ends."""
        has_stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        is_last = 0 < trainer.max_steps <= trainer.global_step
        if trainer.is_last_batch or is_last or not has_stepped:
            return  # what belongs to the end of an epoch is still to be done
        is_asked = self._is_asked_to_stop(trainer)
        # Several processes would have to agree on the time, too.
        is_due = trainer.world_size == 1 and self._is_due(trainer)
        if is_asked or is_due:
            self.save(trainer, batches_done=batch_idx + 1)
        if is_asked:
            self._end()

    def save(self, trainer: pl.Trainer, batches_done: int = 0) -> None:
        """Writes a checkpoint.

        Args:
            trainer: Lightning's trainer.
            batches_done: Batches of the current epoch that are done.

        Raises:
            DivergedError: If a loss or a gradient was not finite.
        """
        if self.health is not None:
            self.health.check_now()
        self.training_seconds()
        self._batches_done = batches_done
        trainer.save_checkpoint(self.folder / LAST)
        self._last_saved = time.monotonic()

    def training_seconds(self) -> float:
        """Seconds of training until now, those before an interruption included."""
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
        """Adds what is the run's own, and where exactly the run is."""
        done = self._batches_done
        if done is None:  # saved by somebody else
            return
        epoch = trainer.current_epoch
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
        """Takes over time and metrics."""
        ours = checkpoint[KEY]
        self.seconds = ours["seconds"]
        self.num_resumed = ours["num_resumed"] + 1
        if self.metrics is not None:
            self.metrics.restore(ours["metrics"])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """No longer listens."""
        self._stop_listening()

    def on_exception(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        exception: BaseException,
    ) -> None:
        """No longer listens."""
        self._stop_listening()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.__exit__(None, None, None)
            self._listening = None

    def _is_due(self, trainer: pl.Trainer) -> bool:
        if self.every_n_minutes is None:
            return False
        minutes = (time.monotonic() - self._last_saved) / 60
        return bool(self._largest(minutes >= self.every_n_minutes))

    def _is_asked_to_stop(self, trainer: pl.Trainer) -> bool:
        self.stop.signum = self._largest(self.stop.signum)
        return bool(self.stop)

    def _largest(self, value: int) -> int:
        """The largest of what the processes have, so that all of them do the same."""
        if self._group is None:
            return int(value)
        shared = torch.tensor(int(value))
        torch_dist.all_reduce(shared, torch_dist.ReduceOp.MAX, group=self._group)
        return int(shared)

    def _end(self) -> None:
        name = signal.Signals(self.stop.signum).name
        raise RunInterrupted(
            f"interrupted ({name}); saved in {self.folder / LAST}. Go on with "
            "trainer.resume=auto.",
            self.stop.signum,
        )


def _set_progress(fit_loop: dict[str, Any], epoch: int, batches_done: int) -> None:
    """Writes down, in Lightning's own words, that a run is between two steps.

    Lightning counts what is ready, started, processed and completed; within a callback
    these differ, and what it makes of the differences depends on its version.

    Args:
        fit_loop: State of Lightning's loop, which is changed.
        epoch: Epochs that are done.
        batches_done: Batches that are done of the one underway; 0 between two epochs.
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
    # The step itself is counted after the callbacks.
    fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] += is_within
