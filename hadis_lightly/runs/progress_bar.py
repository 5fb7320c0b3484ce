"""Progress of a whole run in one line: epoch, losses, scores, time left."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm.auto import tqdm

from hadis_lightly.progress import clock, redraws


class RunProgressBar(ProgressBar):
    """One bar over all steps of the run, with its time left.

    In a terminal or a notebook a bar is redrawn; anywhere else, as in a log file, a
    plain line is printed at the end of an epoch.

    Args:
        refresh_seconds: Least time between two redraws of the bar; between two lines
            of a log file, 20 times as long.
    """

    def __init__(self, refresh_seconds: float = 0.5) -> None:
        super().__init__()
        self.refresh_seconds = refresh_seconds
        self._is_enabled = True
        self._bar: tqdm[Any] | None = None
        self._start = self._last_line = time.monotonic()
        self._first_step = 0

    def disable(self) -> None:
        """Switches the bar off, as Lightning does on all processes but the first."""
        self._is_enabled = False

    def enable(self) -> None:
        """Switches the bar on."""
        self._is_enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints above the bar."""
        if self._is_enabled:
            tqdm.write(" ".join(str(arg) for arg in args), file=sys.stderr)

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Opens the bar."""
        self._start = self._last_line = time.monotonic()
        self._first_step = trainer.global_step
        if self._is_enabled and redraws():
            self._bar = tqdm(
                total=int(trainer.estimated_stepping_batches),
                initial=trainer.global_step,
                dynamic_ncols=True,
                mininterval=self.refresh_seconds,
                bar_format="{desc}|{bar:10}| {percentage:.0f}% {elapsed}<{remaining}",
            )

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Moves the bar. Its losses are those of the last epoch: no step waits."""
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Shows losses and scores: behind the bar, or in a line where there is none."""
        if not self._is_enabled:
            return
        if self._bar is not None:
            self._bar.set_description_str(self._describe(trainer), refresh=False)
            return
        now = time.monotonic()
        is_last = trainer.global_step >= trainer.estimated_stepping_batches
        if is_last or now - self._last_line >= 20 * self.refresh_seconds:
            self._last_line = now
            done = trainer.global_step - self._first_step
            left = int(trainer.estimated_stepping_batches) - trainer.global_step
            seconds = (now - self._start) / max(1, done) * max(0, left)
            times = f"{clock(now - self._start)}<{clock(seconds)}"
            print(f"{self._describe(trainer)} {times}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.set_description_str(self._describe(trainer))
            self._bar.close()
            self._bar = None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: object
    ) -> None:
        """Closes the bar, so that the message starts on a line of its own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _describe(self, trainer: pl.Trainer) -> str:
        """For example ``epoch 12/80 loss 0.71 dsa 0.02 NMI 71.3 ACC 75.5 ARI 64.8``."""
        epochs = trainer.max_epochs if trainer.max_epochs else "?"
        words = [f"epoch {trainer.current_epoch + 1}/{epochs}"]
        for name in ("loss", "loss_dsa", "loss_hsd", "loss_pcl"):
            value = trainer.callback_metrics.get(f"train/{name}")
            if value is not None:
                words.append(f"{name.removeprefix('loss_')} {float(value):.3f}")
        for name in ("nmi", "acc", "ari", "silhouette"):
            value = trainer.callback_metrics.get(f"cluster/{name}")
            if value is not None:
                title = name if len(name) > 3 else name.upper()
                words.append(f"{title} {float(value):.3f}")
        return " ".join(words)
