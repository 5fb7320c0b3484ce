"""What auto resolves to, and that a run says so."""

from __future__ import annotations

import copy

import pytest
import torch

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    build_backbone,
)
from hadis_lightly.runs import performance as module
from hadis_lightly.runs.performance import (
    can_compile,
    describe_performance,
    resolve_performance,
    resolve_precision,
)
from hadis_lightly.settings import Settings
from hadis_lightly.training import HaDis

CPU = torch.device("cpu")


def test_on_a_cpu() -> None:
    settings = Settings()
    settings.trainer.accelerator = "cpu"
    assert resolve_precision(settings) == "32-true"
    resolved = resolve_performance(settings, CPU, 60_000)
    assert resolved.trainer.compile == "off"
    assert resolved.trainer.channels_last == "on"
    assert resolved.optimizer.fused == "off"
    assert settings.trainer.compile == "auto"  # the settings stay as they were


def test_what_is_asked_for_is_done() -> None:
    settings = Settings()
    settings.trainer.precision = "bf16-mixed"
    settings.trainer.compile = "max"
    settings.trainer.channels_last = "off"
    settings.optimizer.fused = "on"
    assert resolve_precision(settings) == "bf16-mixed"
    resolved = resolve_performance(settings, CPU, 60_000)
    assert resolved == settings


@pytest.mark.parametrize(
    ("compiles", "gathers", "expected"),
    [(True, False, "default"), (False, False, "off"), (True, True, "off")],
)
def test_on_a_gpu(
    compiles: bool, gathers: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether this machine's compiler works is another test's; here is what follows.
    monkeypatch.setattr(module, "can_compile", lambda device: compiles)
    settings = Settings()
    settings.trainer.gather_distributed = gathers
    resolved = resolve_performance(settings, torch.device("cuda", 0), 60_000)
    assert resolved.trainer.compile == expected
    assert resolved.optimizer.fused == "on"
    settings.trainer.precision = "16-mixed"  # Lightning's scaler unscales before
    resolved = resolve_performance(settings, torch.device("cuda"), 60_000)
    assert resolved.optimizer.fused == "off"


@pytest.mark.parametrize(
    ("max_steps", "num_images", "expected"),
    [(-1, 60_000, "default"), (-1, 500, "off"), (20, 60_000, "off")],
)
def test_a_short_run_is_not_compiled(
    max_steps: int, num_images: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "can_compile", lambda device: True)
    settings = Settings()
    settings.trainer.max_steps = max_steps
    resolved = resolve_performance(settings, torch.device("cuda", 0), num_images)
    assert resolved.trainer.compile == expected


def test_without_a_compiler_nothing_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    assert not can_compile(CPU)


def test_one_line_says_it_all() -> None:
    settings = resolve_performance(Settings(), CPU, 60_000)
    settings.trainer.precision = "32-true"
    line = describe_performance(
        settings, "device", "1 KiB of uint8 images stay in memory"
    )
    assert line == (
        "pipeline device (1 KiB of uint8 images stay in memory), 32-true, "
        "channels_last, compile off, SGD"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_this_gpu() -> None:
    settings = Settings()
    major, _ = torch.cuda.get_device_capability()
    expected = "bf16-mixed" if major >= 8 else "32-true"
    assert resolve_precision(settings) == expected


def test_parts_are_compiled_in_place_and_keep_their_names() -> None:
    torch.manual_seed(0)
    model = HaDisModel(
        build_backbone("small_convnet", 1),
        HaDisProjectionHead(1024, 8, 4),
        HaDisPredictionHead(4, 8, 4),
    )
    criterion, names = HaDisLoss(3), list(model.state_dict())
    parts = (model.student, model.prediction_head, model.teacher, criterion)

    HaDis(model, criterion)
    assert not any(is_compiled(part) for part in parts)

    HaDis(model, criterion, compile_mode="default")
    assert all(is_compiled(part) for part in parts)
    assert list(model.state_dict()) == names
    assert not is_compiled(copy.deepcopy(model).student)


def is_compiled(module: torch.nn.Module) -> bool:
    return module._compiled_call_impl is not None
