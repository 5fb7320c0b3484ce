"""Lightning's trainer, and the loggers of a run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from hadis_lightly.runs.trainer import build_loggers, build_trainer, quiet_lightning
from tests.runs.small_run import small_settings


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


def test_auto_never_takes_mps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "lightning_fabric.accelerators.mps.MPSAccelerator.is_available"
    monkeypatch.setattr(name, staticmethod(lambda: True))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    settings = small_settings(tmp_path)
    settings.trainer.precision, settings.trainer.accelerator = "32-true", "auto"
    with quiet_lightning():
        trainer = build_trainer(settings, tmp_path)
    assert trainer.strategy.root_device.type == "cpu"


def test_gradients_are_clipped_if_asked_for(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    settings.trainer.precision = "32-true"
    assert build_trainer(settings, tmp_path).gradient_clip_val is None
    settings.trainer.gradient_clip_val = 0.5
    assert build_trainer(settings, tmp_path).gradient_clip_val == 0.5
