"""Progress of a whole run in one line: epoch, losses, scores, time left."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm.auto import tqdm

from hadis_lightly.progress import clock, redraws

_TITLES = {
    "train/loss": "loss", "train/loss_dsa": "dsa", "train/loss_hsd": "hsd",
    "train/loss_pcl": "pcl", "cluster/nmi": "NMI", "cluster/acc": "ACC",
    "cluster/ari": "ARI", "cluster/silhouette": "silhouette",
}  # fmt: skip


class RunProgressBar(ProgressBar):
    """One bar over all steps of the run, where Lightning's starts anew every epoch.

    In a terminal or a notebook it is redrawn; anywhere else, as in a log file, it is a
    plain line at the end of an epoch.

    Args:
        refresh_seconds: Least time between two redraws; 20 times as long between two
            lines.
    """

    def __init__(self, refresh_seconds: float = 0.5) -> None:
        super().__init__()
        self.refresh_seconds = refresh_seconds
        self._is_enabled = True
        self._bar: tqdm[Any] | None = None
        self._start = self._last_line = time.monotonic()
        self._first_step = 0

    def disable(self) -> None:
        """Disables the bar, as Lightning does on all processes but the first."""
        self._is_enabled = False

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
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
        """Advances the bar. It shows the last epoch's losses, so no step waits."""
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)

    def on_train_epoch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Shows losses and scores."""
        if self._bar is not None:
            self._bar.set_description_str(_describe(trainer), refresh=False)
        elif self._is_enabled:
            now, total = time.monotonic(), int(trainer.estimated_stepping_batches)
            left = total - trainer.global_step
            if left <= 0 or now - self._last_line >= 20 * self.refresh_seconds:
                self._last_line = now
                done = max(1, trainer.global_step - self._first_step)
                seconds = (now - self._start) / done * max(0, left)
                times = f"{clock(now - self._start)}<{clock(seconds)}"
                print(f"{_describe(trainer)} {times}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.set_description_str(_describe(trainer))
            self.on_exception()

    def on_exception(self, *args: Any) -> None:
        """Closes the bar, so that the message starts on a line of its own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _describe(trainer: pl.Trainer) -> str:
    """For example ``epoch 12/80 loss 0.713 dsa 0.024 NMI 0.713 ACC 0.755``."""
    words = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs or '?'}"]
    metrics = trainer.callback_metrics
    for name, title in _TITLES.items():
        value = metrics.get(name)
        if name == "cluster/silhouette" and "cluster/acc" in metrics:
            continue  # NMI, ACC and ARI say more
        if name == "train/loss_pcl" and value == 0:
            continue  # in the warm-up
        if value is not None:
            words.append(f"{title} {float(value):.3f}")
    return " ".join(words)
