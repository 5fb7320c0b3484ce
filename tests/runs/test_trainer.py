"""The loggers of a run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from hadis_lightly.runs.trainer import build_loggers


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("none", ["CSVLogger"]),
        ("tensorboard", ["CSVLogger", "TensorBoardLogger"]),
        pytest.param(
            *("mlflow", ["CSVLogger", "MLFlowLogger"]),
            marks=pytest.mark.skipif(not find_spec("mlflow"), reason="no mlflow"),
        ),
    ],
)
def test_a_csv_file_is_always_written(
    tmp_path: Path, name: str, kinds: list[str]
) -> None:
    loggers = build_loggers(name, tmp_path)
    assert [type(logger).__name__ for logger in loggers] == kinds
    for logger in loggers:
        logger.log_metrics({"cluster/acc": 0.5}, step=1)
        logger.save()
    assert "0.5" in (tmp_path / "metrics.csv").read_text()
