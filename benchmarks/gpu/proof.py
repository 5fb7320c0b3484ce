"""The proof on one GPU, by one command: tests, benchmarks, a training, and a page.

    python benchmarks/gpu/proof.py --data cifar10.npz --minutes 12 --folder proof
    python benchmarks/gpu/proof.py --data cifar10.npz --folder proof --tiny --minutes 15

All of it ends within the minutes. Tests and benchmarks come first, for at most
``--share`` of the time. A pilot of four epochs follows; the slowest epoch of its second
half is the pace. The training has as many epochs as fit into the rest, so its schedule
ends inside the time. NMI, ACC and ARI are recorded after every epoch.

Keep ``results/`` of the folder: ``proof.md`` with what the commands printed, CSV
tables, curves, ``results.json``, ``scores.csv``, logs, the teacher's backbone in half
precision. It is brought up to date every half minute, so that whatever ends the proof
leaves a true page. The same command continues where it was: finished stages stay, an
interrupted training resumes. ``--tiny`` shows all of it on a CPU. Other arguments are
settings of the training: model.teacher_momentum=0.996. The exit status is 0 if nothing
failed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from page import write_page
from stages import Outcome, Record, Stage, benchmark_stages, run_stage
from training import (
    checkpoint_of,
    epochs_that_fit,
    pace_of,
    recipe_settings,
    training_stage,
    write_teacher,
)

from hadis_lightly.artifacts.results import source_commit
from hadis_lightly.data import load_source
from hadis_lightly.methods.registry import check_run
from hadis_lightly.system import available_cores

#: Most seconds at the end for the accuracy of the features, and for the page.
MAX_RESERVE = 60.0
#: Those that fit a short time; the first one is the default.
RECIPES = ("cifar10_fast", "cifar10_short")
#: A training of a few minutes on two cores.
TINY = (
    "data.limit=1000 loader.batch_size=100 views.input_size=16 views.local_crop_size=8 "
    "model.backbone=small_pooled_convnet model.hidden_dim=256 model.output_dim=64"
)
KEPT = ("results.json", "scores.csv", "metrics.csv", "settings.yaml")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("settings", nargs="*", help="settings of the training")
    add("--data", type=Path, required=True, help="npz file with images and labels")
    add("--recipe", choices=RECIPES, default=RECIPES[0])
    add("--minutes", type=float, default=12.0)
    add("--share", type=float, default=0.25, help="of the time, for the benchmarks")
    add("--margin", type=float, help="for a training slower than the pilot (0.1)")
    add("--folder", type=Path, default=Path("runs/proof"))
    add("--pilot-epochs", type=int, default=4)
    add("--commit", help="where git does not tell")
    add("--tiny", action="store_true", help="small, for a CPU")
    options = parser.parse_intermixed_args()
    options.data, options.folder = options.data.absolute(), options.folder.absolute()
    if options.margin is None:  # other processes slow a CPU down
        options.margin = 0.25 if options.tiny else 0.1
    options.settings = (TINY.split() if options.tiny else []) + options.settings
    return options


def check(options: argparse.Namespace) -> None:
    """Ends with one line about what can be known to be wrong before it starts."""
    if not options.tiny and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --tiny shows the proof on a CPU")
    if options.minutes <= 0 or not 0 <= options.share < 1 or options.margin < 0:
        raise SystemExit("--minutes must be above 0, --share in [0, 1), --margin >= 0")
    if options.pilot_epochs < 3:
        raise SystemExit("--pilot-epochs must be 3 or more")
    recipe = recipe_settings(options.recipe)
    try:
        changes = OmegaConf.from_dotlist(options.settings)
        settings: Any = OmegaConf.merge(OmegaConf.structured(recipe), changes)
        check_run(OmegaConf.to_object(settings))
        source = load_source("npz", str(options.data))
    except (ValueError, OmegaConfBaseException) as error:
        raise SystemExit(str(error).splitlines()[0]) from None
    if (source.targets < 0).any():
        raise SystemExit(f"{options.data}: some images have no label")


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Where and with what this runs."""
    found: dict[str, Any] = {
        "commit": options.commit or source_commit() or "unknown",
        "command": shlex.join(["python", "benchmarks/gpu/proof.py", *sys.argv[1:]]),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "minutes": options.minutes,
        "tiny": options.tiny,
        "python": sys.version.split()[0],
        "torch": str(torch.__version__),
        "cores": available_cores(),
        "device": f"CPU, {torch.get_num_threads()} threads",
    }
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
        memory = torch.cuda.get_device_properties(0).total_memory
        found |= {"memory_gib": round(memory / 2**30, 1), "cuda": torch.version.cuda}
    return found


def remember(options: argparse.Namespace) -> None:
    """Writes where and how the proof began; another one needs another folder."""
    path = options.folder / "results" / "environment.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {
        "data": str(options.data),
        "recipe": options.recipe,
        "settings": options.settings,
    }
    content = environment(options) | given
    if path.exists():
        # Earlier proofs had one recipe.
        content = {"recipe": "cifar10_short"} | json.loads(
            path.read_text(encoding="utf-8")
        )
    changes = [name for name, value in given.items() if content[name] != value]
    is_trained = checkpoint_of(options.folder / "pilot").exists()
    if "data" in changes or (changes and is_trained):
        raise SystemExit(
            f"{options.folder} has a proof with other {changes[0]}: "
            f"{content[changes[0]]}. Choose another --folder."
        )
    if changes:  # the pilot failed with the settings before
        shutil.rmtree(options.folder / "pilot", ignore_errors=True)
    text = json.dumps(content | given, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


class Proof:
    """Runs the stages one after another, against the clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.start = time.monotonic()
        self.folder: Path = options.folder
        self.results = self.folder / "results"
        self.reserve = min(MAX_RESERVE, 6 * options.minutes)
        self.record = Record(self.folder)

    def seconds_left(self) -> float:
        return 60 * float(self.options.minutes) - (time.monotonic() - self.start)

    def run(self, stage: Stage) -> Outcome:
        """Runs a stage, unless it is done."""
        if self.record.is_done(stage.name):
            say(f"{stage.name}: already done")
            return self.record.outcomes[stage.name]
        say(f"{stage.name}: {stage.command}")
        start = time.monotonic()
        outcome = Outcome(stage.name, stage.title, stage.command, "running")
        self.record.add(outcome)
        seconds_before = outcome.seconds

        def note() -> None:
            taken = time.monotonic() - start
            outcome.seconds = round(seconds_before + taken, 1)
            self.record.add(outcome)
            self.keep()

        status = "interrupted"
        try:
            status = run_stage(stage, self.folder, note)
        finally:
            outcome.status = status
            note()
        say(f"{stage.name}: {outcome.status}, {outcome.seconds:.0f} s")
        if outcome.status != "done":
            say(self.folder.joinpath("logs", f"{stage.name}.err").read_text()[-2000:])
        return outcome

    def benchmarks(self) -> None:
        """Runs tests and benchmarks while there is time for them."""
        options = self.options
        after = (1 - options.share) * 60 * options.minutes
        for stage in benchmark_stages(options.data, self.results, options.tiny):
            left = self.seconds_left() - after - stage.grace
            # With less, a benchmark has hardly started.
            if self.record.is_done(stage.name) or left > 10:
                self.run(stage.within(left))
            else:
                name, command = stage.name, stage.command
                self.record.add(Outcome(name, stage.title, command, "skipped"))
                say(f"{name}: skipped, no time is left for it")

    def training(self) -> None:
        """The pilot, and the training that fills the rest."""
        pilot = self.run(self._stage("pilot", self.options.pilot_epochs))
        if pilot.status != "done":
            return
        self._accuracy("pilot")
        if not self.record.is_done("training"):
            self.run(self._stage("training", self._epochs_of_training(pilot)))
            self.record.forget("training_accuracy")
        self._accuracy("training")

    def _stage(self, name: str, epochs: int) -> Stage:
        return training_stage(
            name,
            self.options.recipe,
            ["data=npz", f"data.path={self.options.data}", *self.options.settings],
            epochs=epochs,
            folder=self.folder,
            limit=max(1.0, self.seconds_left() - self.reserve / 2),
        )

    def _epochs_of_training(self, pilot: Outcome) -> int:
        pace = pace_of(self.folder / "pilot", pilot.seconds)
        left = self.seconds_left() - self.reserve
        epochs = epochs_that_fit(pace, left, self.options.margin)
        if checkpoint_of(self.folder / "training").exists():  # it resumes
            epochs = int(pilot.details["epochs"])
        say(
            f"pilot: {pace.epoch_seconds:.2f} s per epoch and {pace.other_seconds:.0f} "
            f"s around them; a training of {epochs} epochs"
        )
        if epochs < 3:
            raise SystemExit("too little time is left for a training")
        pilot.details = vars(pace) | {"epochs": epochs}
        self.record.add(pilot)
        return epochs

    def _accuracy(self, name: str) -> None:
        """Scores the features of a run, finished or not."""
        if checkpoint_of(self.folder / name).exists():
            words = ["benchmarks/quality/linear_accuracy.py", str(self.folder / name)]
            words += ["--csv", str(self.results / f"{name}_accuracy.csv")]
            title = f"Accuracy of the features of the {name}"
            limit = max(20.0, self.seconds_left() - 10)
            self.run(Stage(f"{name}_accuracy", title, words, limit))

    def keep(self) -> None:
        """Copies what is to be kept into ``results``, and writes the page.

        Again and again: the machine may be gone before the proof ends.
        """
        for name in ("pilot", "training"):
            run, kept = self.folder / name, self.results / name
            for path in (*(run / each for each in KEPT), *run.glob("*.png")):
                if path.exists():
                    kept.mkdir(exist_ok=True)
                    shutil.copy(path, kept)
        logs = self.folder / "logs"
        if logs.is_dir():
            shutil.copytree(logs, self.results / "logs", dirs_exist_ok=True)
        write_page(self.folder, self.record.outcomes)

    def end(self) -> None:
        """Keeps all, and the teacher."""
        training = self.folder / "training"
        try:
            if checkpoint_of(training).exists():
                write_teacher(training, self.results / "teacher_backbone.pt")
        finally:
            self.keep()
        say(f"everything is in {self.results / 'proof.md'}")


def say(text: str) -> None:
    print(f"{datetime.now().astimezone():%H:%M:%S} {text}", flush=True)


def end(signum: int, frame: Any) -> None:
    """Ends as after Ctrl-C: the running stage is ended, the page written."""
    raise SystemExit(128 + signum)


def main() -> None:
    options = parse()
    proof = Proof(options)
    check(options)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    remember(options)
    say(f"{options.minutes:g} minutes from now, in {proof.folder}")
    try:
        proof.benchmarks()
        proof.training()
    finally:
        proof.end()
    ended = proof.record.outcomes.values()
    failed = [o.name for o in ended if o.status not in ("done", "skipped")]
    if failed:
        raise SystemExit(f"not done: {', '.join(failed)}")


if __name__ == "__main__":
    main()
