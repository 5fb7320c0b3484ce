"""``results.json``: JSON that any parser reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hadis_lightly.artifacts.results import RunResult, split_scores, write_results
from hadis_lightly.settings import Settings

LABEL_FREE = {
    "silhouette": math.nan, "size_min": 0.0, "size_max": 9.0, "size_entropy": 0.0,
    "prototype_cosine": 1.0,
}  # fmt: skip
EXTERNAL = {"nmi": 0.5, "acc": 0.6, "ari": 0.4}


def result_of(folder: Path, **changes: Any) -> RunResult:
    fields: dict[str, Any] = {
        "scores": LABEL_FREE, "output_dir": folder, "seconds": 61.0, "epochs": 2,
        "description": "some images", "method": "HaDis",
    }  # fmt: skip
    return RunResult(**fields | changes)


def test_a_score_that_is_not_defined_is_null(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    write_results(result_of(tmp_path), Settings())
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert content["scores"] == LABEL_FREE | {"silhouette": None}


def test_scores_against_classes_come_first_in_any_order() -> None:
    for scores in (EXTERNAL | LABEL_FREE, LABEL_FREE | EXTERNAL):
        assert split_scores(scores) == (EXTERNAL, LABEL_FREE)
    assert split_scores(LABEL_FREE) == ({}, LABEL_FREE)
