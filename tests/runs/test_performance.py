"""What auto resolves to, and that a run says so."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    build_backbone,
)
from hadis_lightly.precision import cpu_features, has_native_bfloat16
from hadis_lightly.runs import performance as module
from hadis_lightly.runs.performance import (
    can_compile,
    describe_performance,
    resolve_performance,
    resolve_precision,
)
from hadis_lightly.settings import Settings, SettingsError
from hadis_lightly.training import HaDis

CPU = torch.device("cpu")


def test_on_a_cpu() -> None:
    settings = Settings()
    resolved = resolve_performance(settings, CPU, 60_000)
    assert resolved.trainer.compile == "off"
    assert resolved.trainer.channels_last == "on"
    assert resolved.optimizer.fused == "off"
    assert settings.trainer.compile == "auto"  # the settings stay as they were


@pytest.mark.parametrize(
    ("features", "is_native"),
    [
        ({"avx512_bf16", "avx512_f"}, True),
        ({"amx_bf16", "amx_tile"}, True),
        ({"neon", "bf16"}, True),
        ({"avx512_f", "avx512_vnni", "avx2"}, False),  # Cascade Lake
        ({"neon", "fp16_arith"}, False),
        ((), False),
    ],
)
def test_cpus_with_bfloat16(features: Any, is_native: bool) -> None:
    assert has_native_bfloat16(features) is is_native


def test_names_of_instruction_sets_are_those_of_linux() -> None:
    file = Path("/proc/cpuinfo")
    if not file.exists():
        pytest.skip("Linux only")
    words = set(file.read_text(encoding="utf-8").split())
    assert has_native_bfloat16(words) == has_native_bfloat16(cpu_features())


@pytest.mark.parametrize("is_native", [True, False])
def test_precision_on_a_cpu(is_native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether this CPU has bfloat16 is another test's; here is what follows.
    monkeypatch.setattr(module, "has_native_bfloat16", lambda: is_native)
    settings = Settings()
    settings.trainer.accelerator = "cpu"
    large, small = build_backbone("resnet18"), build_backbone("small_convnet")
    expected = "bf16-mixed" if is_native else "32-true"
    assert resolve_precision(settings, large) == expected
    assert resolve_precision(settings, small) == "32-true"
    for earlier in ("32-true", "bf16-mixed"):  # on whatever machine
        assert resolve_precision(settings, large, earlier) == earlier
    assert resolve_precision(settings, large, "16-mixed") == "32-true"  # GPUs only
    settings.trainer.accelerator = "mps"
    assert resolve_precision(settings, large, "bf16-mixed") == "32-true"
    settings.trainer.accelerator = "cpu"
    settings.trainer.precision = "64-true"
    assert resolve_precision(settings, large, "32-true") == "64-true"


@pytest.mark.parametrize("size", [8, 16, 17, 32])
def test_no_bfloat16_where_a_stride_meets_one_pixel(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_native_bfloat16", lambda: True)
    settings = Settings()
    settings.trainer.accelerator = "cpu"
    settings.views.input_size = size
    backbone = torchvision.models.resnet18()  # 5 halvings
    backbone.fc = nn.Identity()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    is_wrong = size <= 16
    expected = "32-true" if is_wrong else "bf16-mixed"
    assert resolve_precision(settings, backbone) == expected
    settings.trainer.precision = "bf16-mixed"
    if is_wrong:
        with pytest.raises(SettingsError, match="strides over a single pixel"):
            resolve_precision(settings, backbone)
    else:
        assert resolve_precision(settings, backbone) == "bf16-mixed"
    assert backbone.training
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name])


def test_no_bfloat16_where_a_stride_meets_one_pixel_of_a_local_view(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "has_native_bfloat16", lambda: True)
    settings = Settings()
    settings.trainer.accelerator = "cpu"
    settings.views.input_size, settings.views.local_crop_size = 32, 16
    backbone = torchvision.models.resnet18()
    assert resolve_precision(settings, backbone) == "bf16-mixed"
    settings.views.n_local_views = 1
    assert resolve_precision(settings, backbone) == "32-true"
    settings.trainer.precision = "bf16-mixed"
    with pytest.raises(SettingsError, match=r"at views\.local_crop_size=16 a convo"):
        resolve_precision(settings, backbone)


def test_what_is_asked_for_is_done() -> None:
    settings = Settings()
    settings.trainer.precision = "bf16-mixed"
    settings.trainer.compile = "max"
    settings.trainer.channels_last = "off"
    settings.optimizer.fused = "on"
    assert resolve_precision(settings, nn.Identity()) == "bf16-mixed"
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
    settings.model.train = "nothing"
    assert describe_performance(settings, "features", "kept") == (
        "pipeline features (kept)"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_this_gpu() -> None:
    settings = Settings()
    major, _ = torch.cuda.get_device_capability()
    expected = "bf16-mixed" if major >= 8 else "32-true"
    assert resolve_precision(settings, nn.Identity()) == expected


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
