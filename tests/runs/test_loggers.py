"""Where a run logs; loggers that are not installed are named before a run starts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from hadis_lightly.runs.loggers import build_loggers
from hadis_lightly.settings import Settings, SettingsError
from hadis_lightly.settings.validate import check_settings


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
def test_a_csv_file_is_written_in_any_case(
    tmp_path: Path, name: str, kinds: list[str]
) -> None:
    loggers = build_loggers(name, tmp_path)
    assert [type(logger).__name__ for logger in loggers] == kinds
    for logger in loggers:
        logger.log_metrics({"cluster/acc": 0.5}, step=1)
        logger.save()
    assert "0.5" in (tmp_path / "metrics.csv").read_text()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_named(name: str) -> None:
    if find_spec(name):
        pytest.skip(f"{name} is installed")
    settings = Settings()
    settings.trainer.logger = name
    with pytest.raises(SettingsError, match=f"pip install {name}"):
        check_settings(settings)
