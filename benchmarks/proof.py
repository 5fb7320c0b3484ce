"""The proof on one GPU, by one command: tests, benchmarks, a training, and a page.

    python benchmarks/proof.py --data cifar10.npz --minutes 28 --folder proof
    python benchmarks/proof.py --data cifar10.npz --folder proof --tiny --minutes 15

All of it ends within the minutes. Tests and benchmarks come first, none of them later
than after ``--share`` of the time. A pilot of ten epochs follows: its last one says how
long an epoch takes, and its features are compared with BYOL's after as many. The
training then has as many epochs as fit into the rest, so that its schedule ends inside
the time; NMI, ACC and ARI are written down after every epoch.

``results/`` below the folder is what to keep: ``proof.md`` with what every command
printed, tables as CSV, curves, ``results.json`` and the teacher's backbone in half
precision. Called again with the same folder it goes on: what is done is not repeated, a
training that was interrupted is resumed. ``--tiny`` shows all of it on a CPU.

Settings behind the options are those of the training: model.teacher_momentum=0.996
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from proof_page import write_page
from proof_stages import (
    ROOT,
    Outcome,
    Record,
    Stage,
    benchmark_stages,
    run_stage,
)
from proof_training import (
    epochs_that_fit,
    has_checkpoint,
    pace_of,
    training_stage,
    write_teacher,
)

from hadis_lightly.training.results import source_commit

PACKAGES = ("torch", "torchvision", "lightly", "pytorch-lightning", "scikit-learn")
#: Most seconds at the end for the accuracy of the features, and for the page.
MAX_RESERVE = 60.0
#: A training of a few minutes on two cores, on as much of the images.
TINY = (
    "data.limit=1000 loader.batch_size=100 views.input_size=16 "
    "model.backbone=small_pooled_convnet model.hidden_dim=256 model.output_dim=64"
)
KEPT = ("results.json", "scores.csv", "metrics.csv", "settings.yaml")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", help="settings of the training")
    parser.add_argument(
        "--data", type=Path, required=True, help="npz file with images and labels"
    )
    parser.add_argument("--minutes", type=float, default=28.0)
    parser.add_argument("--share", type=float, default=0.4, help="for the benchmarks")
    parser.add_argument(
        "--margin",
        type=float,
        help="by which share the training may be slower than the pilot (0.04)",
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/proof"))
    parser.add_argument("--pilot-epochs", type=int)
    parser.add_argument("--commit", help="if this is no clone that says it itself")
    parser.add_argument("--tiny", action="store_true", help="small, for a CPU")
    options = parser.parse_args()
    options.data = Path(os.path.abspath(options.data))
    options.folder = Path(os.path.abspath(options.folder))
    if options.pilot_epochs is None:
        options.pilot_epochs = 4 if options.tiny else 10
    if options.margin is None:  # other work slows down a CPU
        options.margin = 0.25 if options.tiny else 0.04
    return options


class Proof:
    """Runs the stages one after another, against the clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.start = time.monotonic()
        self.folder: Path = options.folder
        self.results = self.folder / "results"
        self.results.mkdir(parents=True, exist_ok=True)
        self.reserve = min(MAX_RESERVE, 6 * options.minutes)
        self.record = Record(self.folder)

    def seconds_left(self) -> float:
        """Until the end of the minutes."""
        return 60 * float(self.options.minutes) - (time.monotonic() - self.start)

    def run(self, stage: Stage) -> Outcome:
        """Runs a stage, unless it is done."""
        if self.record.is_done(stage.name):
            say(f"{stage.name}: is done")
            return self.record.outcomes[stage.name]
        say(f"{stage.name}: {stage.command}")
        outcome = run_stage(stage, self.folder)
        self.record.add(outcome)
        say(f"{stage.name}: {outcome.status}, {outcome.seconds:.0f} s")
        return outcome

    def benchmarks(self) -> None:
        """Runs tests and benchmarks while there is time for them."""
        last = (1 - self.options.share) * 60 * self.options.minutes
        stages = benchmark_stages(self.options.data, self.results, self.options.tiny)
        for stage in stages:
            if self.record.is_done(stage.name) or self.seconds_left() > last:
                self.run(stage)
            else:
                self.record.add(
                    Outcome(stage.name, stage.title, stage.command, "left out")
                )
                say(f"{stage.name}: left out, its time is over")

    def words(self) -> list[str]:
        """Settings of pilot and training that are not the recipe's."""
        words = ["data=npz", f"data.path={self.options.data}"]
        words += TINY.split() if self.options.tiny else []
        return [*words, *self.options.settings]

    def training(self) -> None:
        """The pilot, and the training that fills the rest."""
        epochs = self.options.pilot_epochs
        pilot = self.run(
            training_stage(
                "pilot",
                f"A pilot of {epochs} epochs",
                self.words(),
                epochs=epochs,
                folder=self.folder,
                limit=self.seconds_left() - self.reserve,
            )
        )
        if pilot.status != "done":
            return
        if self.record.is_done("training"):
            say("training: is done")
        else:
            self.run(self._longest_training(pilot))
        runs = [self.folder / name for name in ("pilot", "training")]
        trained = [str(run) for run in runs if has_checkpoint(run)]
        table = self.results / "accuracy.csv"
        script = ["benchmarks/linear_accuracy.py", *trained, "--csv", str(table)]
        self.run(
            Stage("accuracy", "Accuracy of the features", script, limit=2 * MAX_RESERVE)
        )

    def _longest_training(self, pilot: Outcome) -> Stage:
        pace = pace_of(self.folder / "pilot", pilot.seconds)
        planned = pilot.details.get("epochs")  # by a call before this one
        left, margin = self.seconds_left() - self.reserve, self.options.margin
        epochs = int(planned or epochs_that_fit(pace, left, margin))
        say(
            f"pilot: {pace.epoch_seconds:.2f} s an epoch, {pace.other_seconds:.0f} s "
            f"beside them; {epochs} epochs fit"
        )
        if epochs < 2:
            raise SystemExit("too little time is left for a training")
        pilot.details = vars(pace) | {"epochs": epochs}
        self.record.add(pilot)
        return training_stage(
            "training",
            f"A training of {epochs} epochs",
            self.words(),
            epochs=epochs,
            folder=self.folder,
            limit=self.seconds_left() - self.reserve / 2,
        )

    def keep(self) -> None:
        """Gathers what is to be kept, and writes the page."""
        for name in ("pilot", "training"):
            run, kept = self.folder / name, self.results / name
            for path in (*(run / each for each in KEPT), *run.glob("*.png")):
                if path.exists():
                    kept.mkdir(exist_ok=True)
                    shutil.copy(path, kept)
        size = None
        if has_checkpoint(self.folder / "training"):
            size = write_teacher(
                self.folder / "training", self.results / "teacher_backbone.pt"
            )
        write_page(self.folder, self.record.outcomes, size)
        say(f"{self.results / 'proof.md'} has everything")


def say(text: str) -> None:
    print(f"{datetime.now().astimezone():%H:%M:%S} {text}", flush=True)


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Where and with what this runs."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    found: dict[str, Any] = {
        "commit": options.commit or source_commit() or "unknown",
        "command": shlex.join(["python", "benchmarks/proof.py", *sys.argv[1:]]),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "minutes": options.minutes,
        "tiny": options.tiny,
        "versions": versions | {"torch": str(torch.__version__)},
        "cores": len(os.sched_getaffinity(0)),
        "device": f"CPU, {torch.get_num_threads()} threads",
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False)
        found |= {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": driver.stdout.strip(),
        }
    return found


def main() -> None:
    options = parse()
    if not options.data.is_file():
        raise SystemExit(f"there is no file {str(options.data)!r}")
    proof = Proof(options)
    path = proof.results / "environment.json"
    if not path.exists():
        content = json.dumps(environment(options), indent=2)
        path.write_text(content + "\n", encoding="utf-8")
    say(f"{options.minutes:g} minutes from now, in {proof.folder} ({ROOT.name})")
    try:
        proof.benchmarks()
        proof.training()
    finally:
        proof.keep()


if __name__ == "__main__":
    main()
