"""The proof on one GPU, by one command: tests, benchmarks, a training, and a page.

    python benchmarks/proof.py --data cifar10.npz --minutes 28 --folder proof
    python benchmarks/proof.py --data cifar10.npz --folder proof --tiny --minutes 15

All of it ends within the minutes. Tests and benchmarks come first and have ``--share``
of the time. A pilot of ten epochs follows: the slowest of its last ones says how long
an epoch takes. The training then has as many epochs as fit into the rest, so that its
schedule ends inside the time; NMI, ACC and ARI are written down after every epoch.

``results/`` below the folder is what to keep: ``proof.md`` with what the commands
printed, tables as CSV, curves, ``results.json``, logs, and the teacher's backbone in
half precision. Called again with the same folder it goes on: what is done is not
repeated, a training that was interrupted is resumed. ``--tiny`` shows all of it on a
CPU.

Settings behind the options are those of the training: model.teacher_momentum=0.996.
The exit status is 0 if nothing failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from proof_environment import check, environment
from proof_page import write_page
from proof_stages import Outcome, Record, Stage, benchmark_stages, run_stage
from proof_training import (
    epochs_that_fit,
    has_checkpoint,
    pace_of,
    training_stage,
    write_teacher,
)

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
        help="by which share the training may be slower than the pilot (0.1)",
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
        options.margin = 0.25 if options.tiny else 0.1
    tiny = TINY.split() if options.tiny else []
    options.settings = [*tiny, *options.settings]
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
        # What is killed in the meantime was interrupted.
        start = time.monotonic()
        outcome = Outcome(stage.name, stage.title, stage.command, "interrupted")
        try:
            outcome = run_stage(stage, self.folder)
        finally:
            outcome.seconds = round(time.monotonic() - start, 1)
            self.record.add(outcome)
        say(f"{stage.name}: {outcome.status}, {outcome.seconds:.0f} s")
        if outcome.status != "done":
            say(self.folder.joinpath("logs", f"{stage.name}.err").read_text()[-2000:])
        return outcome

    def benchmarks(self) -> None:
        """Runs tests and benchmarks while there is time for them."""
        after = (1 - self.options.share) * 60 * self.options.minutes
        for stage in benchmark_stages(
            self.options.data, self.results, self.options.tiny
        ):
            left = self.seconds_left() - after
            if self.record.is_done(stage.name) or left > stage.grace:
                self.run(stage.within(left - stage.grace))
            else:
                self.record.add(
                    Outcome(stage.name, stage.title, stage.command, "left out")
                )
                say(f"{stage.name}: left out, its time is over")

    def training(self) -> None:
        """The pilot, and the training that fills the rest."""
        epochs = self.options.pilot_epochs
        pilot = self.run(
            self._training_stage("pilot", f"A pilot of {epochs} epochs", epochs)
        )
        if pilot.status != "done":
            return
        self._accuracy("pilot")
        if self.record.is_done("training"):
            say("training: is done")
        else:
            self.run(self._longest_training(pilot))
            self.record.forget("training_accuracy")
        self._accuracy("training")

    def _training_stage(self, name: str, title: str, epochs: int) -> Stage:
        return training_stage(
            name,
            title,
            ["data=npz", f"data.path={self.options.data}", *self.options.settings],
            epochs=epochs,
            folder=self.folder,
            limit=max(1.0, self.seconds_left() - self.reserve / 2),
        )

    def _longest_training(self, pilot: Outcome) -> Stage:
        pace = pace_of(self.folder / "pilot", pilot.seconds)
        left, margin = self.seconds_left() - self.reserve, self.options.margin
        epochs = epochs_that_fit(pace, left, margin)
        if has_checkpoint(self.folder / "training"):  # of a call before this one
            epochs = int(pilot.details["epochs"])
        say(
            f"pilot: {pace.epoch_seconds:.2f} s an epoch, {pace.other_seconds:.0f} s "
            f"beside them; a training of {epochs} epochs"
        )
        if epochs < 2:
            raise SystemExit("too little time is left for a training")
        pilot.details = vars(pace) | {"epochs": epochs}
        self.record.add(pilot)
        title = f"A training of {epochs} epochs"
        return self._training_stage("training", title, epochs)

    def _accuracy(self, name: str) -> None:
        """Scores the features of a run, finished or not."""
        if not has_checkpoint(self.folder / name):
            return
        table = self.results / f"{name}_accuracy.csv"
        script = ["benchmarks/linear_accuracy.py", str(self.folder / name)]
        title = f"Accuracy of the features of the {name}"
        limit = max(20.0, self.seconds_left() - 10)
        words = [*script, "--csv", str(table)]
        self.run(Stage(f"{name}_accuracy", title, words, limit))

    def keep(self) -> None:
        """Gathers what is to be kept, and writes the page."""
        for name in ("pilot", "training"):
            run, kept = self.folder / name, self.results / name
            for path in (*(run / each for each in KEPT), *run.glob("*.png")):
                if path.exists():
                    kept.mkdir(exist_ok=True)
                    shutil.copy(path, kept)
        logs = self.folder / "logs"
        if logs.is_dir():
            shutil.copytree(logs, self.results / "logs", dirs_exist_ok=True)
        training = self.folder / "training"
        try:
            if has_checkpoint(training):
                write_teacher(training, self.results / "teacher_backbone.pt")
        finally:
            write_page(self.folder, self.record.outcomes)
        say(f"{self.results / 'proof.md'} has everything")


def say(text: str) -> None:
    print(f"{datetime.now().astimezone():%H:%M:%S} {text}", flush=True)


def end(signum: int, frame: Any) -> None:
    """Ends as after Ctrl-C: the stage that runs is ended too, and the page written."""
    raise SystemExit(128 + signum)


def remember(proof: Proof) -> None:
    """Keeps where and how the proof was begun; another one needs another folder."""
    options = proof.options
    path = proof.results / "environment.json"
    begun = {"data": str(options.data), "settings": options.settings}
    if not path.exists():
        content = environment(options) | begun
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    before = json.loads(path.read_text(encoding="utf-8"))
    changes = [name for name, value in begun.items() if before[name] != value]
    if "data" in changes or (changes and has_checkpoint(proof.folder / "pilot")):
        raise SystemExit(
            f"{proof.folder} has a proof with other {changes[0]}: "
            f"{before[changes[0]]}. Take another --folder."
        )
    if changes:  # nothing has been trained yet: a pilot failed with the settings
        shutil.rmtree(proof.folder / "pilot", ignore_errors=True)
        path.write_text(json.dumps(before | begun, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    options = parse()
    check(options, options.settings)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    proof = Proof(options)
    remember(proof)
    say(f"{options.minutes:g} minutes from now, in {proof.folder}")
    try:
        proof.benchmarks()
        proof.training()
    finally:
        proof.keep()
    ended = proof.record.outcomes.values()
    failed = [o.name for o in ended if o.status not in ("done", "left out")]
    if failed:
        raise SystemExit(f"not done: {', '.join(failed)}")


if __name__ == "__main__":
    main()
