"""Runs in processes of their own, which say what they do and can be killed.

They are forks of a server that has imported everything once.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from hadis_lightly.artifacts.checkpoint import CheckpointIO
from hadis_lightly.data.files import folder as image_folder
from hadis_lightly.runs import RunInterrupted, outcome, run
from hadis_lightly.settings import Settings
from hadis_lightly.training import HaDis, PrototypeKMeans
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering
from hadis_lightly.training.pici import PICI

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.forked_runs"])


class ForkedRun:
    """A run, from outside."""

    def __init__(self, settings: Settings) -> None:
        self.marks, there = _FORKS.Pipe(duplex=False)
        self.process = _FORKS.Process(target=_child, args=(settings, there))
        self.process.start()
        there.close()

    def next(self, seconds: float = 120) -> str | None:
        """What the run is about to do; None once it has ended."""
        ready = wait([self.marks, self.process.sentinel], seconds)
        assert ready, f"nothing happened for {seconds} s"
        try:
            return self.marks.recv() if self.marks in ready else None
        except EOFError:
            return None

    def wait(self) -> tuple[int, list[str]]:
        """Waits for the end: the exit status, and all that the run still did."""
        did = list(iter(self.next, None))
        self.process.join()
        status = self.process.exitcode
        self.marks.close()
        self.process.close()
        return status, did


def _child(settings: Settings, marks: Connection) -> None:
    torch.set_num_threads(1)
    image_folder._WAITS = (0.02, 0.1)  # for a lost file
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def mark(owner: Any, name: str, text: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            marks.send(text)
            return function(*args, **kwargs)

        setattr(owner, name, call)

    for module in (HaDis, ContrastiveClustering, PICI):
        mark(module, "training_step", "step")
    for callback in (PrototypeKMeans, ClusterHeadAssignment):
        mark(callback, "cluster", "clustering")
        mark(callback, "on_train_epoch_start", "between epochs")
    mark(CheckpointIO, "save_checkpoint", "checkpoint")
    mark(outcome, "write_results", "results")
    try:
        run(settings)
    except RunInterrupted as interruption:
        marks.send(f"said {interruption}")
        sys.exit(interruption.exit_status)
    except ValueError as error:
        marks.send(f"said {type(error).__name__}: {error}")
        sys.exit(2)
