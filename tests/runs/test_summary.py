"""What a run prints at its end, and while it trains."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hadis_lightly.runs.progress_bar import _describe
from hadis_lightly.runs.summary import summary
from tests.artifacts.test_results import EXTERNAL, LABEL_FREE, result_of


def test_scores_against_classes_stand_above_those_without(tmp_path: Path) -> None:
    scores = LABEL_FREE | {"silhouette": 0.25} | EXTERNAL
    text = summary(result_of(tmp_path, scores=scores, pixel_scores=EXTERNAL))
    pixels, ours, label_free, last = text.splitlines()[-4:]
    assert last == f"view the clusters: hadis-lightly-report checkpoint={tmp_path}"
    assert pixels == "k-means on pixels  NMI 0.500  ACC 0.600  ARI 0.400"
    assert ours == "HaDis              NMI 0.500  ACC 0.600  ARI 0.400"
    assert label_free == (
        "                   silhouette 0.250  size_min 0  size_max 9  "
        "size_entropy 0.000  prototype_cosine 1.000"
    )


def test_without_classes_there_is_one_line(tmp_path: Path) -> None:
    *_, empty, ours, _ = summary(result_of(tmp_path)).splitlines()
    assert not empty and ours.startswith("HaDis              silhouette not defined  ")


def test_scores_of_some_images_say_of_how_many(tmp_path: Path) -> None:
    result = result_of(tmp_path, scores=EXTERNAL, num_images=26, num_labelled=4)
    assert (
        summary(result)
        .splitlines()[-2]
        .endswith("NMI 0.500  ACC 0.600  ARI 0.400  of the 4 images with a class")
    )


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (LABEL_FREE | {"silhouette": 0.25} | EXTERNAL, "NMI 0.500 ACC 0.600 ARI 0.400"),
        (LABEL_FREE | {"silhouette": 0.25}, "silhouette 0.250"),
    ],
)
def test_the_progress_bar_shows_the_scores_that_say_most(
    scores: dict[str, float], words: str
) -> None:
    metrics = {f"cluster/{name}": torch.tensor(x) for name, x in scores.items()}
    trainer: Any = SimpleNamespace(
        current_epoch=1, max_epochs=4, callback_metrics=metrics
    )
    assert _describe(trainer) == f"epoch 2/4 {words}"
