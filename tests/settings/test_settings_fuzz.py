"""Generated values of every setting there is: taken, or refused with name and value.

The settings are found by introspection, so that a new one is covered, too.
"""

from __future__ import annotations

import copy
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hadis_lightly.settings import (
    Settings,
    SettingsError,
)
from hadis_lightly.settings import (
    validate as setting_ranges,
)
from hadis_lightly.settings.validate import check_settings
from tests.settings.wrong_lines import settings_of

ALL = dict(settings_of())
# Of each setting fewer cases, since there are many settings.
few = settings(max_examples=settings.default.max_examples // 5)
# What is right of the settings that no range and no choice is given for.
FRACTION, POSITIVE = st.floats(0, 1), st.floats(1e-6, 1e6)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "data.num_channels": st.sampled_from([None, 1, 3]),
    "data.path": st.one_of(st.none(), st.just("a folder/файл")),
    "output_dir": st.sampled_from([None, "no/such/folder", "/tmp/x y", "ünï"]),
    "model.backbone": st.sampled_from(["small_convnet", "resnet50", "vit_b_16"]),
    "model.freeze_backbone": st.just(False),  # else it needs model.weights
    "trainer.logger": st.sampled_from(["tensorboard", "none"]),  # always installed
    "trainer.devices": st.one_of(st.just("auto"), st.integers(1, 64).map(str)),
    "trainer.resume": st.sampled_from([None, "auto", "runs/digits/1"]),
    "trainer.accelerator": st.sampled_from(["auto", "cpu"]),
    "trainer.max_steps": st.one_of(st.just(-1), st.integers(1, 10**12)),
    "views.cj_hue": st.floats(0, 0.5),
    "views.cj_strength": FRACTION,
    "views.min_scale": st.floats(1e-6, 1),
    "views.affine_degrees": st.floats(0, 180),
    "views.affine_shear": st.floats(0, 89),
    "views.mean": st.sampled_from([1, 3]).flatmap(
        lambda n: st.lists(st.floats(-10, 10), min_size=n, max_size=n)
    ),
    "views.std": st.sampled_from([1, 3]).flatmap(
        lambda n: st.lists(st.floats(1e-3, 10), min_size=n, max_size=n)
    ),
    **dict.fromkeys(setting_ranges._POSITIVE, POSITIVE),
}


def kind_of(name: str) -> tuple[Any, bool]:
    """Type of a setting, and whether it may be None."""
    hint = ALL[name]
    parts = [part for part in get_args(hint) if part is not type(None)]
    is_optional = type(None) in get_args(hint)
    return (parts[0] if is_optional else hint), is_optional


def right_values(name: str) -> st.SearchStrategy[Any]:
    if name in RIGHT:
        return RIGHT[name]
    kind, is_optional = kind_of(name)
    if name in setting_ranges._CHOICES:
        return st.sampled_from(setting_ranges._CHOICES[name])
    low, high = setting_ranges._RANGES.get(
        name, (0, 1) if kind is float else (None, None)
    )
    made: Any = {bool: st.booleans(), str: st.just("a")}.get(kind)
    if kind is int:
        made = st.integers(int(low or 0), int(high or 10**12))
    elif kind is float:
        made = st.floats(low or 0, high if high is not None else 1e12)
    return st.one_of(st.none(), made) if is_optional else made


no_number = st.one_of(
    st.text(max_size=5), st.booleans(), st.lists(st.integers(), max_size=2)
)
no_float = st.one_of(
    no_number,
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 10**400, -(10**13)]),
)
no_int = st.one_of(
    no_number, st.floats(), st.sampled_from([2**70, -(2**70)]), st.just(10**12 + 1)
)
no_bool = st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.none())
no_text = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.just(Path("a")), st.just("a\0b")
)
no_list = st.one_of(
    st.none(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.sampled_from([math.nan, math.inf, "0.5", None, True]), min_size=1),
    st.sampled_from([[], [0.5, 0.5], [0.5] * 4, [[0.5]], [1e300], {"a": 0.5}]),
)  # fmt: skip


def wrong_values(name: str) -> st.SearchStrategy[Any]:
    kind, is_optional = kind_of(name)
    made: Any = {bool: no_bool, int: no_int, float: no_float, str: no_text}.get(
        kind, no_list
    )
    if is_optional:
        made = made.filter(lambda value: value is not None)
    elif kind is not bool:
        made = st.one_of(made, st.none())
    low, high = setting_ranges._RANGES.get(name, (None, None))
    if name.startswith("views.") and kind is float:
        low = 0
    if name in setting_ranges._POSITIVE:
        made = st.one_of(made, st.just(0), st.floats(max_value=0))
    if low is not None:
        made = st.one_of(made, st.integers(-(10**13), int(low) - 1))
    if high is not None:
        made = st.one_of(made, st.integers(int(high) + 1, 10**13))
    if name in setting_ranges._CHOICES:
        choices = setting_ranges._CHOICES[name]
        made = st.one_of(made, st.text(max_size=9).filter(lambda x: x not in choices))
    return made


def with_value(settings: Settings, name: str, value: Any) -> Settings:
    settings = copy.deepcopy(settings)
    section, _, last = name.rpartition(".")
    setattr(getattr(settings, section) if section else settings, last, value)
    return settings


def test_every_setting_is_covered() -> None:
    sections = [name for name in get_type_hints(Settings) if "." not in name]
    assert len(ALL) > 60 and len(sections) > 7
    for name in [
        *setting_ranges._RANGES,
        *setting_ranges._CHOICES,
        *setting_ranges._POSITIVE,
        *RIGHT,
    ]:
        assert name in ALL, name
    check_settings(Settings())


@given(data=st.data())
def test_right_values_are_taken(data: st.DataObject) -> None:
    settings = Settings()
    some = data.draw(st.lists(st.sampled_from(sorted(ALL)), min_size=1, unique=True))
    for name in some:
        settings = with_value(settings, name, data.draw(right_values(name), label=name))
    before = copy.deepcopy(settings)
    check_settings(settings)
    assert settings == before


@pytest.mark.parametrize("name", sorted(ALL))
@few
@given(data=st.data())
def test_right_values_of_each(name: str, data: st.DataObject) -> None:
    check_settings(with_value(Settings(), name, data.draw(right_values(name))))


@pytest.mark.parametrize("name", sorted(ALL))
@few
@given(data=st.data())
def test_wrong_values_of_each(name: str, data: st.DataObject) -> None:
    value = data.draw(wrong_values(name))
    with pytest.raises(SettingsError) as caught:
        check_settings(with_value(Settings(), name, value))
    message = str(caught.value)
    assert message.startswith(name)
    shown = repr(value) in message or str(value) in message
    # Of several numbers how many there are is shown; a whole one comes as a float.
    assert shown or "entries" in message or repr(float(value)) in message
    assert "\n" not in message


@pytest.mark.parametrize("section", [f.name for f in fields(Settings)])
@given(value=st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just({})))
def test_wrong_sections(section: str, value: Any) -> None:
    if section in ALL:
        return
    settings = Settings()
    setattr(settings, section, value)
    with pytest.raises(
        SettingsError, match=f"^{section} must be a section of settings"
    ):
        check_settings(settings)


@given(
    name=st.sampled_from(["ddp_spawn", "fsdp", "deepspeed", "single_xla", "", "DDP"]),
    devices=st.one_of(
        st.sampled_from(["0", "-1", "2,3", "[0]", "1.5", "", " 1", "²", "all", "1e1"]),
        st.integers(max_value=0).map(str),
    ),
    backbone=st.sampled_from(["", "resnet19", "resnet18.pt", "small_resnet18 ", "a/b"]),
)
def test_wrong_names(name: str, devices: str, backbone: str) -> None:
    for setting, value in (
        ("trainer.strategy", name),
        ("trainer.devices", devices),
        ("model.backbone", backbone),
    ):
        with pytest.raises(SettingsError, match=f"^{setting} ") as caught:
            check_settings(with_value(Settings(), setting, value))
        assert repr(value) in str(caught.value)


@given(strength=st.floats(0, 100), hue=st.floats(0, 0.5))
def test_strength_of_the_hue(strength: float, hue: float) -> None:
    settings = with_value(Settings(), "views.cj_strength", strength)
    settings.views.cj_hue = hue
    assume(abs(strength * hue - 0.5) > 1e-9)
    if strength * hue < 0.5:
        check_settings(settings)
    else:
        with pytest.raises(
            SettingsError, match=r"^views.cj_strength \* cj_hue must be"
        ):
            check_settings(settings)


@given(
    below=st.lists(st.text("ab /", min_size=1, max_size=5), max_size=3),
    is_file=st.booleans(),
)
def test_where_results_go(
    below: list[str], is_file: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp() / ("a file" if is_file else "a folder")
    if is_file:
        base.write_text("")
    else:
        base.mkdir(exist_ok=True)
    settings = with_value(Settings(), "output_dir", "/".join([str(base), *below]))
    before = sorted(base.parent.iterdir())
    if is_file:
        with pytest.raises(
            SettingsError, match=re.escape(f"{str(base)!r} is no folder")
        ):
            check_settings(settings)
    else:
        check_settings(settings)
    assert sorted(base.parent.iterdir()) == before


@pytest.mark.parametrize("path", ["", " ", "a" * 300, "a/" + "b" * 5000, "\0"])
def test_impossible_paths(path: str) -> None:
    with pytest.raises(SettingsError, match=r"^output_dir "):
        check_settings(with_value(Settings(), "output_dir", path))
