"""The page of the proof: what every command printed, and the scores of the training."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from stages import Outcome
from training import read_scores

from hadis_lightly.atomic import atomic_write

#: NMI, ACC and ARI on CIFAR-10 after 1000 epochs, HaDis's paper (arXiv 2401.14038).
PAPER = {
    "HaDis, the paper": (86.9, 93.0, 86.2),
    "ProPos (re-run, ResNet-18), the paper": (86.0, 92.3, 84.6),
}
GOAL_ACC, GOAL_MINUTES = 0.85, 10
_SCORES = ("nmi", "acc", "ari")
_MAX_ROWS = 24
_TINY = (
    "**Everything here is tiny**: it shows that the proof runs. Scores and times say "
    "nothing about CIFAR-10 or a GPU."
)


def write_page(folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Writes ``results/proof.md`` into the folder of the proof."""
    results = folder / "results"
    lines = list(_head(results, outcomes))
    is_tiny = _TINY in lines
    for name, outcome in outcomes.items():
        printed = _printed(folder, outcome)
        is_training = name.startswith(("pilot", "training"))
        if printed and not (is_training and outcome.status == "done"):
            lines += ["", f"## {outcome.title}: {outcome.status}"]
            lines += ["", "```", printed, "```"]
    for name in ("pilot", "training"):
        if name in outcomes and (results / name / "scores.csv").exists():
            lines += _training(results, outcomes[name], is_tiny)
    teacher = results / "teacher_backbone.pt"
    if teacher.exists():
        size = teacher.stat().st_size / 1e6
        lines += ["", f"`{teacher.name}` is the teacher's backbone in half precision, "
                  f"{size:.1f} MB, for `model.weights=`."]  # fmt: skip
    with atomic_write(results / "proof.md") as file:
        file.write("\n".join(lines) + "\n")


def _head(results: Path, outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    content = json.loads((results / "environment.json").read_text(encoding="utf-8"))
    yield from (f"# The proof on {content['device']}", "")
    if content.pop("tiny"):
        yield from (_TINY, "")
    yield from (f"`{content.pop('command')}`", "", "| | |", "| --- | --- |")
    for name, value in content.items():
        text = " ".join(value) if isinstance(value, list) else value
        yield f"| {name} | {text} |"
    yield from ("", "| stage | outcome | seconds | command |")
    yield "| --- | --- | --- | --- |"
    for o in outcomes.values():
        yield f"| {o.name} | {o.status} | {o.seconds:.0f} | `{o.command}` |"


def _printed(folder: Path, outcome: Outcome) -> str:
    """What a stage printed, and if it is not done the end of its errors."""
    texts = []
    for suffix in (".txt", ".err"):
        path = folder / "logs" / f"{outcome.name}{suffix}"
        texts.append(path.read_text(encoding="utf-8").strip() if path.exists() else "")
    errors = [] if outcome.status == "done" else texts[1].splitlines()[-30:]
    return "\n".join([texts[0], *errors]).strip()


def _training(results: Path, outcome: Outcome, is_tiny: bool) -> Iterator[str]:
    name, rows = outcome.name, read_scores(results / outcome.name)
    yield from ("", f"## {outcome.title}", "", f"`{outcome.command}`", "")
    if "acc" not in rows[-1]:
        yield f"No scores: the classes are unknown. Outcome: {outcome.status}."
        return
    if (results / name / "curves.png").exists():  # drawn when the training has ended
        yield from (f"![Losses and scores]({name}/curves.png)", "")
    yield from ("| epoch | minutes | NMI | ACC | ARI |", "|" + " --- |" * 5)
    places = np.linspace(0, len(rows) - 1, min(_MAX_ROWS, len(rows))).round()
    for row in (rows[int(place)] for place in places):
        # A clustering that collapsed has no scores against classes.
        known = [f"{row[score]:.3f}" if score in row else "-" for score in _SCORES]
        scores = " | ".join(known)
        yield f"| {row['epoch']:.0f} | {row['seconds'] / 60:.1f} | {scores} |"
    yield from ("", *_pace(rows))
    accuracy = results / f"{name}_accuracy.csv"
    if accuracy.exists():
        with accuracy.open(encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        linear, nearest = float(row["linear"]), float(row["nearest_neighbours"])
        yield f"Features: linear {linear:.1%}, nearest neighbours {nearest:.1%}."
    if outcome.status != "done":
        yield from ("", f"**Unfinished: {outcome.status}.**")
    if name == "training" and not is_tiny:
        yield from _beside_the_paper(rows[-1])


def _pace(rows: Sequence[dict[str, float]]) -> Iterator[str]:
    if len(rows) > 2:
        seconds = np.diff([row["seconds"] for row in rows])
        each = seconds / np.diff([row["epoch"] for row in rows])
        clustering = np.median([row["clustering_seconds"] for row in rows[1:]])
        yield (
            f"An epoch took {np.median(each):.2f} s (median; at most {each.max():.2f} "
            f"s), of which embedding and clustering took {clustering:.2f} s."
        )


def _beside_the_paper(last: dict[str, float]) -> Iterator[str]:
    yield from ("", "| | NMI | ACC | ARI |", "| --- | --- | --- | --- |")
    name = f"this training, {last['epoch']:.0f} epochs, one seed"
    for row, scores in {name: [100 * last[s] for s in _SCORES], **PAPER}.items():
        yield f"| {row} | {' | '.join(f'{score:.1f}' for score in scores)} |"
    minutes = last["seconds"] / 60
    is_met = last["acc"] >= GOAL_ACC and minutes <= GOAL_MINUTES
    yield ""
    yield (
        f"The goal, ACC {100 * GOAL_ACC:.1f} within {GOAL_MINUTES} minutes, was "
        f"**{'reached' if is_met else 'missed'}**: ACC {100 * last['acc']:.1f} in "
        f"{minutes:.1f} minutes of training, start and pictures not counted."
    )
