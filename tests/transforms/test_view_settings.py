"""The settings of a view: what is allowed, and where else they show."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from hadis_lightly.fields import field_infos
from hadis_lightly.settings.views import NO_ARGUMENTS
from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    IMAGENET_NORMALIZE,
    BatchedViews,
    HaDisTransform,
    ViewSettings,
)

# Every setting, none at its default.
OTHER = {
    "cj_prob": 0.1,
    "cj_bright": 0.11,
    "cj_contrast": 0.12,
    "cj_sat": 0.13,
    "cj_hue": 0.14,
    "min_scale": 0.15,
    "random_gray_scale": 0.16,
    "hf_prob": 0.17,
    "cj_strength": 0.18,
    "vf_prob": 0.19,
    "rr_prob": 0.21,
    "rr_degrees": 22.0,
    "gaussian_blur": 0.23,
    "sigmas": (0.24, 0.25),
    "solarization_prob": 0.26,
    "affine_degrees": 27.0,
    "affine_translate": 0.28,
    "affine_shear": 29.0,
    "n_views": 3,
    "n_local_views": 1,
    "local_crop_size": 5,
    "local_crop_scale": [0.1, 0.5],
}


def test_keywords_and_defaults_of_the_transforms() -> None:
    of_singles = list(inspect.signature(HaDisTransform).parameters.values())
    assert {p.name: p.default for p in of_singles[:10]} == {
        "input_size": 32,
        "cj_prob": 0.8,
        "cj_bright": 0.4,
        "cj_contrast": 0.4,
        "cj_sat": 0.4,
        "cj_hue": 0.1,
        "min_scale": 0.08,
        "random_gray_scale": 0.2,
        "hf_prob": 0.5,
        "normalize": IMAGENET_NORMALIZE,
    }
    assert {p.name for p in of_singles} == {"input_size", "normalize", *OTHER}
    of_batches = list(inspect.signature(BatchedViews).parameters.values())
    assert of_batches[: len(of_singles)] == of_singles
    more = [p.name for p in of_batches[len(of_singles) :]]
    assert more == ["generator", "dtype", "memory_format"]


@pytest.mark.parametrize("kind", [HaDisTransform, BatchedViews])
def test_docstrings_explain_every_setting(kind: type) -> None:
    described = " ".join((kind.__doc__ or "").split()).replace("counter- ", "counter-")
    for name, info in field_infos(ViewSettings):
        if name not in NO_ARGUMENTS:
            assert f"{name}: {info.help}" in described
    assert "normalize: " in described and "{" + "view_settings}" not in described


def test_every_setting_reaches_the_views() -> None:
    settings = OTHER | {"input_size": 8, "normalize": CIFAR10_NORMALIZE}
    views = BatchedViews(**settings).views
    assert views == BatchedViews.from_transform(HaDisTransform(**settings)).views
    for name in settings:  # and each of them makes a difference
        others = {key: value for key, value in settings.items() if key != name}
        assert BatchedViews(**others).views != views


@pytest.mark.parametrize("normalize", [CIFAR10_NORMALIZE, None])
def test_ready_settings_are_the_same_as_arguments(
    normalize: dict[str, list[float]] | None,
) -> None:
    settings = ViewSettings.from_arguments(16, normalize, **OTHER)
    assert settings.normalize == normalize
    expected = BatchedViews(16, normalize=normalize, **OTHER).views
    assert BatchedViews.from_settings(settings).views == expected
    settings.hf_prob = 2.0
    with pytest.raises(ValueError, match=r"^hf_prob must be <= 1, got 2.0"):
        HaDisTransform.from_settings(settings)


def test_they_can_be_a_section_of_composed_settings() -> None:
    config = OmegaConf.structured(ViewSettings)
    config.rr_degrees, config.mean, config.std = [-5.0, 10.0], [0.5], [0.5]
    settings = OmegaConf.to_object(config)
    assert settings == ViewSettings(rr_degrees=[-5.0, 10.0], mean=[0.5], std=[0.5])
    settings.check()


def test_normalize_may_hold_tuples_and_arrays() -> None:
    for kind in (tuple, np.float32):
        normalize = {name: kind([0.5, 0.25, 0.5]) for name in ("mean", "std")}
        settings = ViewSettings.from_arguments(32, normalize)
        assert settings.mean == settings.std == [0.5, 0.25, 0.5]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("input_size", 0, "input_size must be >= 1, got 0"),
        ("input_size", 32.0, "input_size must be an integer, got 32.0"),
        ("cj_prob", float("nan"), "cj_prob must be a finite number, got nan"),
        ("cj_sat", "strong", "cj_sat must be a finite number, got 'strong'"),
        ("cj_hue", 0.6, "cj_hue must be <= 0.5, got 0.6"),
        ("cj_strength", 6.0, r"cj_strength \* cj_hue must be <= 0.5, got 6.0 \* 0.1"),
        ("min_scale", 0.0, "min_scale must be > 0, got 0.0"),
        ("hf_prob", True, "hf_prob must be a finite number, got True"),
        ("sigmas", (2.0, 0.1), r"sigmas must be a pair .*, got \(2.0, 0.1\)"),
        ("rr_degrees", [1.0], r"rr_degrees must be a pair .*, got \[1.0\]"),
        ("affine_shear", 90, "affine_shear must be <= 89, got 90"),
        ("n_views", 1, "n_views must be >= 2, got 1"),
        ("local_crop_scale", [0.4, 0.1], r"local_crop_scale must be a pair .*0.1\]"),
        ("normalize", {"mean": [0.5]}, "normalize must be a dict with 'mean'"),
        ("normalize", {"mean": [0.5] * 3, "std": [1.0]}, "mean and std must have one"),
        ("normalize", {"mean": [0.5], "std": [0.0]}, r"std must be >= .*\[0.0\]"),
        ("cj_probability", 0.5, ".*unexpected keyword argument 'cj_probability'"),
        ("mean", [0.5], "unexpected argument 'mean'"),
    ],
)
def test_wrong_settings_are_named(name: str, value: Any, words: str) -> None:
    for kind in (HaDisTransform, BatchedViews):
        with pytest.raises((TypeError, ValueError), match=f"^{words}"):
            kind(**{name: value})


def test_the_section_of_a_setting_comes_before_its_name() -> None:
    for settings, words in (
        (ViewSettings(hf_prob=-1.0), "views.hf_prob must be >= 0"),
        (ViewSettings(mean=[0.5]), "views.mean and views.std must have one value"),
        (ViewSettings(cj_strength=6.0), "views.cj_strength"),
    ):
        with pytest.raises(ValueError, match=f"^{words}"):
            settings.check("views.")
