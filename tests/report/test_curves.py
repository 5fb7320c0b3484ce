"""Curves of scores: with classes, without, and where a clustering has collapsed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from hadis_lightly.report import content, drawing
from hadis_lightly.report.paper_figures import draw_scores, draw_sensitivity
from tests.report.some_data import some_data

LABEL_FREE = {"silhouette": 0.2, "size_min": 3.0, "size_entropy": 0.9}
EXTERNAL = {"nmi": 0.5, "acc": 0.6, "ari": 0.4}


def history_of(*kinds: dict[str, float]) -> list[dict[str, float]]:
    return [
        {"epoch": float(epoch), "seconds": 1.0} | scores
        for epoch, scores in enumerate(kinds)
    ]


BOTH = EXTERNAL | LABEL_FREE
COLLAPSED = LABEL_FREE | {"silhouette": math.nan}
HISTORIES = {
    "known": history_of(BOTH, BOTH, BOTH),
    "collapsed in the middle": history_of(BOTH, COLLAPSED, BOTH),
    "collapsed at the end": history_of(BOTH, BOTH, COLLAPSED),
    "unknown": history_of(LABEL_FREE, LABEL_FREE, COLLAPSED),
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test draws."""
    drawn: list[Figure] = []
    save = Figure.savefig

    def savefig(figure: Figure, *args: Any, **kwargs: Any) -> None:
        drawn.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return drawn


@pytest.mark.parametrize("name", HISTORIES)
def test_a_clustering_without_scores_against_classes_is_a_gap(
    name: str, tmp_path: Path, figures: list[Figure]
) -> None:
    history = HISTORIES[name]
    drawing.draw_curves(tmp_path / "curves.png", history, {"loss": ([1, 2], [3, 2])}, 1)
    draw_scores(tmp_path / "scores.png", {"a": history, "b": history})
    left, scores = figures[0].axes[0], figures[1].axes
    titles = [text.get_text() for text in left.get_legend().texts]
    if name == "unknown":
        assert "NMI" not in titles and "Silhouette" in titles
        assert scores[0].get_title() == "Silhouette"
    else:
        assert titles == ["NMI", "Accuracy", "ARI", "Silhouette"]
        assert [axes.get_title() for axes in scores] == titles[:3]
    ends = {text.get_text().strip() for text in left.texts}
    assert "nan" not in ends and len(ends) >= 2
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize("name", HISTORIES)
def test_the_page_has_a_curve_of_every_score_that_was_ever_known(name: str) -> None:
    history = HISTORIES[name]
    data = some_data(history=history, scores=dict(list(history[-1].items())[2:]))
    titles = [curve["title"] for curve in content._curves(data)]
    expected = ["Silhouette", "Evenness of sizes", "Total loss"]
    if name != "unknown":
        expected = ["NMI", "Accuracy", "ARI", *expected]
    assert titles == expected


def test_runs_with_and_without_classes_are_compared_by_what_both_have(
    tmp_path: Path, figures: list[Figure]
) -> None:
    draw_sensitivity(tmp_path / "a.png", {"1": [BOTH], "2": [COLLAPSED]}, "seed")
    draw_sensitivity(tmp_path / "b.png", {"1": [BOTH], "2": [BOTH]}, "seed")
    shown = [
        [text.get_text() for text in f.axes[0].get_legend().texts] for f in figures
    ]
    assert shown == [["Silhouette", "Evenness of sizes"], ["NMI", "Accuracy", "ARI"]]
