"""The stages of the proof: commands with a time limit, and their outcomes on disk."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from hadis_lightly.atomic import atomic_write

ROOT = Path(__file__).parents[2]
_LARGE = {
    "throughput": "--rounds 2",
    "profile_step": "--steps 40 --variants trainer.compile=off '' "
    "loader.batch_size=1024",
    "views": "--seconds 0.5 --transforms BYOL",
    "kmeans": "--repeats 2",
    "losses": "--repeats 10",
}
_TINY = {
    "throughput": "--backbone resnet18 --batch-size 16 --images 64 --steps 2 "
    "--rounds 2 --workers 0 --kmeans-rows 2000",
    "profile_step": "--backbone resnet18 --batch-size 16 --images 64 --steps 2",
    "views": "--seconds 0.3 --batch-size 64",
    "kmeans": "--samples 2000 --dim 64 --skip faiss --repeats 2",
    "losses": "--sizes 64 256 --clusters 10 --repeats 5",
}
_LIMITS = {"throughput": 300, "profile_step": 300}


@dataclass(frozen=True)
class Stage:
    """One command of the proof."""

    name: str
    title: str
    words: Sequence[str]
    """Script in the repository and its arguments, without Python itself."""
    limit: float
    """Seconds it may take."""
    grace: float = 5.0
    """Seconds to end in, after SIGTERM."""

    @property
    def command(self) -> str:
        """As it would be typed."""
        return shlex.join(["python", *self.words])

    def within(self, seconds: float) -> Stage:
        """The same with a limit of at most so many seconds."""
        return replace(self, limit=min(self.limit, max(1.0, seconds)))


@dataclass
class Outcome:
    """How a stage ended."""

    name: str
    title: str
    command: str
    status: str
    """running, done, failed, too long, interrupted or skipped."""
    seconds: float = 0.0
    details: dict[str, float] = field(default_factory=dict)


class Record:
    """Outcomes of all stages, kept in ``stages.json``: finished stages stay finished.

    Args:
        folder: Folder of the proof.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stages.json"
        self.outcomes: dict[str, Outcome] = {}
        if self.path.exists():
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.outcomes = {entry["name"]: Outcome(**entry) for entry in content}

    def is_done(self, name: str) -> bool:
        return name in self.outcomes and self.outcomes[name].status == "done"

    def add(self, outcome: Outcome) -> None:
        """Adds an outcome; seconds of unfinished attempts before it count."""
        before = self.outcomes.get(outcome.name)
        if before is not None and before is not outcome and before.status != "done":
            outcome.seconds = round(outcome.seconds + before.seconds, 1)
        self.outcomes[outcome.name] = outcome
        self._write()

    def forget(self, name: str) -> None:
        """Lets a stage run again."""
        self.outcomes.pop(name, None)
        self._write()

    def _write(self) -> None:
        content = [asdict(outcome) for outcome in self.outcomes.values()]
        text = json.dumps(content, indent=2, allow_nan=False)
        with atomic_write(self.path) as file:
            file.write(text + "\n")


def run_stage(
    stage: Stage,
    folder: Path,
    meanwhile: Callable[[], None] = lambda: None,
    seconds: float = 30.0,
) -> str:
    """Runs a command, its output in ``logs`` of the folder; ends it past its limit.

    Args:
        stage: The command and its limit.
        folder: Folder of the proof.
        meanwhile: Is called every so many seconds while the command runs.
        seconds: How many.

    Returns:
        How it ended: done, failed or too long.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        # Kernels that one stage has compiled are there for the next.
        "TORCHINDUCTOR_CACHE_DIR": str((folder / "compiled").resolve()),
    }
    with (
        (logs / f"{stage.name}.txt").open("w", encoding="utf-8") as out,
        (logs / f"{stage.name}.err").open("w", encoding="utf-8") as errors,
    ):
        process = subprocess.Popen(
            [sys.executable, *stage.words],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        end = time.monotonic() + stage.limit
        try:
            while (left := end - time.monotonic()) > 0:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(min(seconds, left))
                    return "done" if code == 0 else "failed"
                meanwhile()
            return "too long"
        finally:
            _end(process, stage.grace)


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Ends a command and all its processes, which may outlive it."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def benchmark_stages(data: Path, folder: Path, is_tiny: bool) -> list[Stage]:
    """Tests and benchmarks, the most useful first.

    Args:
        data: npz file of the images.
        folder: Where their tables go.
        is_tiny: Whether a CPU should finish them in a few minutes.
    """
    # Warnings of packages newer than ours are no failure here.
    tests = ["-m", "pytest", "-q", "-rs", "-W", "default", "-m", "gpu", "tests"]
    stages = [Stage("tests", "Tests that need a GPU", tests, 240)]
    for name, options in (_TINY if is_tiny else _LARGE).items():
        words = [f"benchmarks/speed/{name}.py", *shlex.split(options)]
        if name in ("throughput", "profile_step", "views"):
            words += ["--data", str(data)]
        words += ["--csv", str(folder / f"{name}.csv")]
        title = f"Benchmark {name}"
        stages.append(Stage(name, title, words, _LIMITS.get(name, 120)))
    return stages
