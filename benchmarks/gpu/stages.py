"""The stages of the proof: commands with a limit, and what became of them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Seconds that a training has to save what it has, once it is asked to end.
TRAINING_GRACE = 60.0


@dataclass(frozen=True)
class Stage:
    """One command of the proof."""

    name: str
    title: str
    words: Sequence[str]
    """Script below the repository and its arguments, without Python itself."""
    limit: float
    """Seconds it may take."""
    grace: float = 5.0
    """Seconds it has for its end, once it is asked to."""

    @property
    def command(self) -> str:
        """As it would be typed."""
        return shlex.join(["python", *self.words])

    def within(self, seconds: float) -> Stage:
        """The same with a lower limit, if there is so little time."""
        return replace(self, limit=min(self.limit, max(1.0, seconds)))


@dataclass
class Outcome:
    """What became of a stage."""

    name: str
    title: str
    command: str
    status: str
    """done, failed, too long, interrupted or left out."""
    seconds: float = 0.0
    details: dict[str, float] = field(default_factory=dict)


class Record:
    """Outcomes of all stages, kept in ``stages.json``: what is done stays done.

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
        """Takes an outcome; seconds of earlier tries count, they did part of it."""
        before = self.outcomes.get(outcome.name)
        if before is not None and before is not outcome and before.status != "done":
            outcome.seconds = round(outcome.seconds + before.seconds, 1)
        self.outcomes[outcome.name] = outcome
        self._write()

    def forget(self, name: str) -> None:
        """Has a stage done once more."""
        self.outcomes.pop(name, None)
        self._write()

    def _write(self) -> None:
        content = [asdict(outcome) for outcome in self.outcomes.values()]
        self.path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run_stage(stage: Stage, folder: Path) -> Outcome:
    """Runs a command; what it prints goes into ``logs``, errors into a file apart.

    Past its limit it is asked to end, and ended if it does not.

    Args:
        stage: What to run.
        folder: Folder of the proof.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
        ),
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
        try:
            status = "done" if process.wait(stage.limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "too long"
        finally:
            _end(process, stage.grace)
    return Outcome(stage.name, stage.title, stage.command, status)


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Ends a command, and all that it has started, also if it has ended itself."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def benchmark_stages(data: Path, csv: Path, is_tiny: bool) -> list[Stage]:
    """Tests and benchmarks, in the order of their worth.

    Args:
        data: npz file of the images.
        csv: Folder for their tables.
        is_tiny: Whether a CPU is to be through with them in a few minutes.
    """
    tiny = {
        "throughput": "--backbone resnet18 --batch-size 16 --images 64 --steps 2 "
        "--rounds 2 --workers 0 --kmeans-rows 2000",
        "profile": "--backbone resnet18 --batch-size 16 --images 64 --steps 2",
        "views": "--seconds 0.3 --batch-size 64",
        "kmeans": "--samples 2000 --dim 64 --skip faiss --repeats 2",
        "losses": "--sizes 64 256 --clusters 10 --repeats 5",
    }
    large = {
        "throughput": "--rounds 2",
        "profile": "--steps 40 --variants trainer.compile=off '' "
        "loader.batch_size=1024",
        "views": "--seconds 0.5 --rounds 3 --laws BYOL",
        "kmeans": "--repeats 2",
        "losses": "--repeats 10",
    }
    options = {
        name: shlex.split(words) for name, words in (tiny if is_tiny else large).items()
    }
    with_data = ["--data", str(data)]

    def stage(name: str, title: str, script: str, limit: float) -> Stage:
        table = ["--csv", str(csv / f"{name}.csv")]
        images = with_data if name in ("throughput", "profile", "views") else []
        words = [f"benchmarks/{script}", *options[name], *images, *table]
        return Stage(name, title, words, limit)

    # Warnings of packages that are newer than ours are no failure here.
    tests = ["-m", "pytest", "-q", "-rs", "-W", "default", "-m", "gpu", "tests"]
    return [
        Stage("tests", "Tests that need a GPU", tests, 240),
        stage("throughput", "A training beside lightly's BYOL", "throughput.py", 300),
        stage("profile", "What a step spends its time on", "profile_step.py", 300),
        stage("views", "Views", "views.py", 120),
        stage("kmeans", "k-means", "kmeans.py", 120),
        stage("losses", "Losses", "losses.py", 120),
    ]
