"""Saves a run between two steps, so that it can be resumed from there."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import distributed as torch_dist

from hadis_lightly.artifacts.checkpoint import KEY
from hadis_lightly.artifacts.metrics_file import MetricsFile
from hadis_lightly.data import ImageReadError
from hadis_lightly.models.weight_files import LAST
from hadis_lightly.training.health import DivergedError, HealthMonitor


class RunInterrupted(Exception):
    """A signal has ended a run, which can be resumed.

    Args:
        message: What was saved, and how to continue.
        signum: The signal.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """Exit status of the process, by the convention of shells."""
        return 128 + self.signum


class RunCheckpoint(pl.Callback):
    """Saves a run every few minutes, and when a signal or a lost file ends it.

    Signals are Ctrl-C, SIGTERM and, under SLURM, SIGUSR1; a second Ctrl-C ends the run
    at once. Only finite states are saved, and only between two steps, which Lightning's
    ``ModelCheckpoint`` does not promise.

    Args:
        folder: Folder of the run.
        stamp: What the run was made with.
        health: Checked before anything is saved.
        metrics: The log, which goes into each checkpoint.
        every_n_minutes: Minutes between two checkpoints; 0 saves after every step, None
            ignores the time.
        every_n_epochs: Epochs between two checkpoints; None ignores them.
    """

    def __init__(
        self,
        folder: Path,
        stamp: Mapping[str, Any],
        health: HealthMonitor,
        metrics: MetricsFile,
        *,
        every_n_minutes: float | None,
        every_n_epochs: int | None,
    ) -> None:
        super().__init__()
        self.path = folder / "checkpoints" / LAST
        self.stamp = stamp
        self.health = health
        self.metrics = metrics
        self.every_n_minutes = every_n_minutes
        self.every_n_epochs = every_n_epochs
        self.num_resumed = 0
        self._start = self._last_saved = time.monotonic()
        self._batches_done = 0
        self._stop_signal = 0
        self._is_training = False
        self._earlier_handlers: dict[int, Any] = {}
        self._group: Any = None

    def seconds(self) -> float:
        """Seconds of training until now, including those before an interruption."""
        return time.monotonic() - self._start

    def on_fit_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Lets the first Ctrl-C end a run that trains nothing: nothing can be saved."""
        is_main = threading.current_thread() is threading.main_thread()
        if trainer.max_epochs == 0 and is_main:
            self._stop_signal = signal.SIGINT
            earlier = signal.signal(signal.SIGINT, self._receive)
            self._earlier_handlers[signal.SIGINT] = earlier

    def on_fit_end(self, *args: Any) -> None:
        """Puts the earlier handlers of the signals back."""
        self.on_train_end()

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Listens for signals; Lightning's own handlers are in place by now."""
        self._is_training = True
        if trainer.world_size > 1:
            # Processes agree on the host, so that no GPU has to be waited for.
            self._group = torch_dist.new_group(backend="gloo")
        if threading.current_thread() is not threading.main_thread():
            return  # Python delivers signals to the main thread only
        signals = [signal.SIGINT, signal.SIGTERM]
        if "SLURM_JOB_ID" in os.environ:
            signals.append(signal.SIGUSR1)
        for signum in signals:
            if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup sets it
                self._earlier_handlers[signum] = signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: object) -> None:
        if self._stop_signal and signum == signal.SIGINT:
            # Lightning would handle a KeyboardInterrupt in its own way.
            message = f"interrupted at once, nothing was saved{self._what_stays()}"
            raise RunInterrupted(message, signum)
        self._stop_signal = signum

    def _what_stays(self) -> str:
        is_there = self.path.exists()
        return f"; the last good checkpoint stays: {self.path}" if is_there else ""

    def on_train_end(self, *args: Any) -> None:
        """Puts the earlier handlers of the signals back."""
        self._is_training = False
        while self._earlier_handlers:
            signum, handler = self._earlier_handlers.popitem()
            signal.signal(signum, handler or signal.SIG_DFL)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: Any, exception: BaseException
    ) -> None:
        """Saves if a file was lost, and says what can be resumed from.

        Puts the earlier handlers of the signals back.
        """
        if isinstance(exception, (DivergedError, ImageReadError)):
            end = self._what_stays()
            if isinstance(exception, ImageReadError) and self._save_after_loss(trainer):
                end = f"; saved in {self.path}. Continue with trainer.resume=auto"
            message = str(exception).rstrip().rstrip(".")
            exception.args = (f"{message}{end}.",)
        self.on_train_end()

    def _save_after_loss(self, trainer: pl.Trainer) -> bool:
        """Saves where files are read: between two steps, or before a clustering."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current
        is_between = batches.ready == batches.completed and trainer.global_step > 0
        # Of several processes the others are within a step.
        if not self._is_training or not is_between or trainer.world_size > 1:
            return False
        with suppress(DivergedError, OSError):  # the disk may be gone for writing, too
            self.save(trainer, batches.completed)
            return True
        return False

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Saves between two epochs."""
        epoch, n = trainer.current_epoch, self.every_n_epochs
        if epoch > 0:
            is_due = self._is_due() or (n is not None and epoch % n == 0)
            self._save_if(trainer, is_due, batches_done=0)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves between two steps of an epoch, once the last one has been logged."""
        if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        # Several processes would have to agree on the time after every step.
        is_due = trainer.world_size == 1 and self._is_due()
        self._save_if(trainer, is_due, batches_done=batch_idx)

    def _is_due(self) -> bool:
        if self.every_n_minutes is None:
            return False
        minutes = (time.monotonic() - self._last_saved) / 60
        return bool(self._largest(minutes >= self.every_n_minutes))

    def _save_if(self, trainer: pl.Trainer, is_due: bool, batches_done: int) -> None:
        self._stop_signal = self._largest(self._stop_signal)
        if self._stop_signal or is_due:
            self.save(trainer, batches_done)
        if self._stop_signal:
            raise RunInterrupted(
                f"interrupted ({signal.Signals(self._stop_signal).name}); saved in "
                f"{self.path}. Continue with trainer.resume=auto.",
                self._stop_signal,
            )

    def _largest(self, value: int) -> int:
        """The largest value among the processes, so that all of them do the same."""
        if self._group is None:
            return int(value)
        shared = torch.tensor(int(value))
        torch_dist.all_reduce(shared, torch_dist.ReduceOp.MAX, group=self._group)
        return int(shared)

    def save(self, trainer: pl.Trainer, batches_done: int = 0) -> None:
        """Writes a checkpoint.

        Args:
            trainer: Lightning's trainer.
            batches_done: Batches done in the current epoch.

        Raises:
            DivergedError: If a loss or a gradient was not finite.
        """
        self.health.check_now()
        self._batches_done = batches_done
        trainer.save_checkpoint(self.path)
        self._last_saved = time.monotonic()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the stamp, and the exact point that the run has reached."""
        done, epoch = self._batches_done, trainer.current_epoch
        checkpoint[KEY] = {
            **self.stamp,
            "epoch": epoch,
            "batches_done": done,
            "seconds": self.seconds(),
            "num_resumed": self.num_resumed,
            "metrics": self.metrics.text(),
        }
        _set_progress(checkpoint["loops"]["fit_loop"], epoch, done)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Restores the clock and the log."""
        ours = checkpoint[KEY]
        self._start = time.monotonic() - ours["seconds"]
        self.num_resumed = ours["num_resumed"] + 1
        self.metrics.restore(ours["metrics"])


def _set_progress(fit_loop: dict[str, Any], epoch: int, batches_done: int) -> None:
    """Sets the counters of Lightning's loop to the point between two steps.

    Within a callback Lightning's counts of what is ready, started, processed and
    completed differ, and how it resumes from them depends on its version.
    """
    is_within = int(batches_done > 0)
    epochs, batches = fit_loop["epoch_progress"], fit_loop["epoch_loop.batch_progress"]
    total = batches["total"]["processed"]
    for count, number in (("total", total), ("current", batches_done)):
        epochs[count].update(ready=epoch + is_within, started=epoch + is_within)
        epochs[count].update(processed=epoch, completed=epoch)
        batches[count] |= dict.fromkeys(
            ("ready", "started", "processed", "completed"), number
        )
    batches["is_last_batch"] = False
