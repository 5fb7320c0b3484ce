"""Real processes that run and can be killed, without importing everything each time.

``python -m tests.forked_runs`` reads settings as JSON, one run a line; each
runs in a fork of its own. On standard output come the process id, what the run is
doing, and how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from omegaconf import OmegaConf

from hadis_lightly.artifacts.checkpoint import CheckpointIO
from hadis_lightly.runs import run, runner
from hadis_lightly.runs.interruption import RunInterrupted
from hadis_lightly.settings import Settings
from hadis_lightly.training import HaDis, PrototypeKMeans

ROOT = Path(__file__).parents[1]


def marked(owner: Any, name: str, mark: str) -> None:
    """Says when something is about to be done, and does it."""
    function: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        say(mark)
        return function(*args, **kwargs)

    setattr(owner, name, call)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def child(settings: Settings) -> int:
    torch.set_num_threads(1)
    marked(HaDis, "training_step", "step")
    marked(PrototypeKMeans, "cluster", "clustering")
    marked(PrototypeKMeans, "on_train_epoch_start", "between epochs")
    marked(CheckpointIO, "save_checkpoint", "checkpoint")
    marked(runner, "write_results", "results")
    try:
        run(settings)
    except RunInterrupted as interruption:
        say(f"said {interruption}")
        return interruption.exit_status
    except ValueError as error:
        say(f"said {type(error).__name__}: {error}")
        return 2
    return 0


def serve() -> None:
    for line in sys.stdin:
        settings = OmegaConf.merge(OmegaConf.structured(Settings), json.loads(line))
        made = OmegaConf.to_object(settings)
        assert isinstance(made, Settings)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = 1
            try:
                status = child(made)
            finally:
                os._exit(status)
        say(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")


class Runs:
    """The server, from outside."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked_runs"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def start(self, settings: Settings) -> int:
        """Starts a run, and returns its process id."""
        assert self.process.stdin is not None
        print(json.dumps(asdict(settings)), file=self.process.stdin, flush=True)
        while not (line := self.next()).startswith("pid"):
            pass
        return int(line.split()[1])

    def next(self, seconds: float = 120) -> str:
        """What the run does next."""
        return self.lines.get(timeout=seconds)

    def wait(self, pid: int) -> tuple[int, list[str]]:
        """Waits for the end of a run: its exit status, and all that it did."""
        said = []
        while not (line := self.next()).startswith("ended"):
            said.append(line)
        return int(line.split()[1]), said


@contextmanager
def forked_runs() -> Iterator[Runs]:
    runs = Runs()
    try:
        yield runs
    finally:
        assert runs.process.stdin is not None
        runs.process.stdin.close()
        runs.process.wait(timeout=30)
        assert runs.process.stdout is not None
        runs.process.stdout.close()


if __name__ == "__main__":
    serve()
