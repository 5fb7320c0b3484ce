"""Progress of a whole run in one line: epoch, losses, scores, time left."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import TqdmWarning

with warnings.catch_warnings():
    # In a notebook without ipywidgets it says so, and draws a bar of text all the same.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

T = TypeVar("T")


def _redraws() -> bool:
    """Whether a bar can be redrawn: in a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class StepProgress:
    """Progress of a step that takes longer than two seconds; nothing for a shorter one.

    Args:
        what: What is being done, such as ``"reading images"``.
        enabled: Whether to say anything.

    Example:
        >>> with StepProgress("reading images") as progress:
        ...     progress(1, 2)
    """

    def __init__(self, what: str, enabled: bool = True) -> None:
        self.what = what
        self.enabled = enabled
        self._bar: tqdm[Any] | None = None
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> StepProgress:
        self._start = self._last_line = time.monotonic()
        return self

    def __call__(self, done: int, total: int) -> None:
        """Says that so many of the total are done."""
        now = time.monotonic()
        if not self.enabled or now - self._start < 2:
            return
        if not _redraws():
            if now - self._last_line >= 10:
                self._last_line = now
                line = f"{self.what}: {done:,} of {total:,}"
                if 0 < done < total:
                    left = (now - self._start) / done * (total - done)
                    line += f", {_clock(left)} left"
                print(line, file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = tqdm(desc=self.what, total=total, leave=False)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()


def counted(batches: Iterable[T], progress: StepProgress) -> Iterable[T]:
    """The same batches, each of them told to the progress, if their number is known."""
    if not isinstance(batches, Sized):
        return batches
    return _counted(batches, len(batches), progress)


def _counted(batches: Iterable[T], n: int, progress: StepProgress) -> Iterator[T]:
    for index, batch in enumerate(batches):
        yield batch
        progress(index + 1, n)


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
        if self._is_enabled and _redraws():
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
            clock = f"{_clock(now - self._start)}<{_clock(seconds)}"
            print(f"{self._describe(trainer)} {clock}", file=sys.stderr, flush=True)

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


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
    )
