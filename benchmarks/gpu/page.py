"""The page of the proof: what every command printed, and the training beside the paper.

python benchmarks/proof_page.py runs/proof     # writes results/proof.md once more
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from paper_figures import PAPER, TABLE_II
from proof_stages import Outcome, Record
from proof_training import read_scores

#: Linear accuracy of BYOL on CIFAR-10 after so many epochs, as it is told; we know
#: neither the source nor how it was measured.
BYOL_LINEAR = {10: 0.489, 30: 0.684, 1000: 0.926}
GOAL_ACC, GOAL_MINUTES = 0.93, 30
_COLORS = {"nmi": "#4477aa", "acc": "#228833", "ari": "#aa3377"}
_MAX_ROWS = 24


def write_page(folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Writes ``proof.md`` and the curves into the folder of results.

    Args:
        folder: Folder of the proof.
        outcomes: What became of the stages.
    """
    results = folder / "results"
    content = json.loads((results / "environment.json").read_text(encoding="utf-8"))
    is_tiny = content.pop("tiny")
    parts = [*_head(content, is_tiny), *_stages(outcomes)]
    for name, outcome in outcomes.items():
        text = _printed(folder, name, outcome.status == "done")
        is_benchmark = not name.startswith(("pilot", "training"))
        if text and (is_benchmark or outcome.status != "done"):
            parts += ["", f"## {outcome.title}: {outcome.status}"]
            parts += ["", "```", text, "```"]
    for name in ("pilot", "training"):
        if name in outcomes and (results / name / "scores.csv").exists():
            parts += _training(results, outcomes[name], name, is_tiny)
    teacher = results / "teacher_backbone.pt"
    if teacher.exists():
        parts += [
            "",
            f"The teacher's backbone in half precision, `{teacher.name}`, takes "
            f"{teacher.stat().st_size / 1e6:.1f} MB; `model.weights=` takes it up.",
        ]
    text = "\n".join(parts) + "\n"
    (results / "proof.md").write_text(text, encoding="utf-8")


def _head(content: dict[str, Any], is_tiny: bool) -> Iterator[str]:
    versions = content.pop("versions")
    yield f"# The proof on {content['device']}"
    yield ""
    if is_tiny:
        yield (
            "**Everything here is tiny**: it shows that the proof runs. Its scores and "
            "times say nothing about CIFAR-10, nor about a GPU."
        )
        yield ""
    yield f"`{content.pop('command')}`"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for name, value in {**content, **versions}.items():
        text = " ".join(value) if isinstance(value, list) else value
        yield f"| {name} | {text} |"


def _stages(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    yield ""
    yield "| stage | outcome | seconds | command |"
    yield "| --- | --- | --- | --- |"
    for outcome in outcomes.values():
        yield (
            f"| {outcome.name} | {outcome.status} | {outcome.seconds:.0f} "
            f"| `{outcome.command}` |"
        )


def _printed(folder: Path, name: str, is_done: bool) -> str:
    """What a stage printed, and if it was not done the end of its errors."""
    texts = []
    for suffix in (".txt", ".err"):
        path = folder / "logs" / f"{name}{suffix}"
        texts.append(path.read_text(encoding="utf-8") if path.exists() else "")
    printed, errors = texts[0].strip(), texts[1].strip().splitlines()
    return printed if is_done else "\n".join([printed, *errors[-30:]]).strip()


def _training(
    results: Path, outcome: Outcome, name: str, is_tiny: bool
) -> Iterator[str]:
    rows = read_scores(results / name)
    yield from ("", f"## {outcome.title}", "", f"`{outcome.command}`", "")
    if "acc" not in rows[-1]:
        yield f"No scores: the classes are not known. Outcome: {outcome.status}."
        return
    draw_scores(results / f"{name}_scores.png", rows, with_paper=not is_tiny)
    yield f"![NMI, ACC and ARI against minutes]({name}_scores.png)"
    yield ""
    yield "| epoch | minutes | NMI | ACC | ARI |"
    yield "| --- | --- | --- | --- | --- |"
    for row in _some(rows):
        scores = " | ".join(f"{row[score]:.3f}" for score in _COLORS)
        yield f"| {row['epoch']:.0f} | {row['seconds'] / 60:.1f} | {scores} |"
    yield ""
    yield _pace(rows)
    yield from _accuracy(results, name, round(rows[-1]["epoch"]), is_tiny)
    if outcome.status != "done":
        yield from ("", f"**It did not come to its end: {outcome.status}.**")
    if name == "training" and not is_tiny:
        yield from _beside_the_paper(rows[-1])


def _pace(rows: Sequence[dict[str, float]]) -> str:
    if len(rows) < 3:
        return "Too few epochs to tell how long one takes."
    seconds = np.diff([row["seconds"] for row in rows])
    epochs = np.diff([row["epoch"] for row in rows])
    clustering = np.median([row["clustering_seconds"] for row in rows[1:]])
    middle, most = np.median(seconds / epochs), np.max(seconds / epochs)
    return (
        f"An epoch took {middle:.2f} s (median; at most {most:.2f} s), of which "
        f"{clustering:.2f} s went to embedding and clustering."
    )


def _accuracy(results: Path, name: str, epochs: int, is_tiny: bool) -> Iterator[str]:
    path = results / f"{name}_accuracy.csv"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    linear, nearest = float(row["linear"]), float(row["nearest_neighbours"])
    yield ""
    yield (
        f"Features after {epochs} epochs: linear accuracy {linear:.1%}, nearest "
        f"neighbours {nearest:.1%}."
    )
    if not is_tiny:
        known = ", ".join(f"{acc:.1%} after {n}" for n, acc in BYOL_LINEAR.items())
        yield (
            f"Figures that are told of BYOL on CIFAR-10: {known} epochs; how they were "
            "measured is not known to us."
        )


def _beside_the_paper(last: dict[str, float]) -> Iterator[str]:
    yield from ("", "| | NMI | ACC | ARI |", "| --- | --- | --- | --- |")
    ours = " | ".join(f"{100 * last[score]:.1f}" for score in _COLORS)
    yield f"| this training, {last['epoch']:.0f} epochs, one seed | {ours} |"
    for source, method, scores in TABLE_II:
        if method.startswith(("HaDis", "ProPos")):
            cells = " | ".join(f"{score:.1f}" for score in scores[0])
            yield f"| {method}, {source} | {cells} |"
    minutes = last["seconds"] / 60
    is_met = last["acc"] >= GOAL_ACC and minutes <= GOAL_MINUTES
    yield ""
    yield (
        f"The goal, ACC {100 * GOAL_ACC:.1f} within {GOAL_MINUTES} minutes, was "
        f"**{'reached' if is_met else 'missed'}**: ACC {100 * last['acc']:.1f} in "
        f"{minutes:.1f} minutes of training (without its start and its pictures)."
    )


def _some(rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """At most so many of the rows, evenly spaced, the first and the last too."""
    places = np.linspace(0, len(rows) - 1, min(_MAX_ROWS, len(rows))).round()
    return [rows[int(place)] for place in places]


def draw_scores(
    path: Path, rows: Sequence[dict[str, float]], *, with_paper: bool
) -> None:
    """Draws the scores against minutes, and the paper's as dashed lines."""
    figure = Figure(figsize=(6.4, 3.6), dpi=130, layout="constrained")
    axes = figure.subplots()
    minutes = [row["seconds"] / 60 for row in rows]
    paper = next(s[0] for w, m, s in TABLE_II if (w, m) == (PAPER, "HaDis"))
    for (score, color), goal in zip(_COLORS.items(), paper, strict=True):
        values = [100 * row[score] for row in rows]
        axes.plot(minutes, values, color=color, label=score.upper())
        if with_paper:
            axes.axhline(goal, color=color, linestyle="--", linewidth=0.8)
    axes.set(xlabel="minutes of training", ylabel="percent", ylim=(0, 100))
    if with_paper:
        axes.set_title("dashed: HaDis after 1000 epochs, paper", fontsize=9)
    axes.legend(frameon=False, loc="best")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the proof")
    folder = parser.parse_args().folder
    write_page(folder, Record(folder).outcomes)


if __name__ == "__main__":
    main()
