"""Which paths of images a run takes."""

from __future__ import annotations

import re

import pytest

from hadis_lightly.runs.source import check_size, check_standard_input
from hadis_lightly.settings import DataSettings, Settings, SettingsError
from hadis_lightly.settings.validate import check_settings


def settings_with(path: object) -> Settings:
    return Settings(n_clusters=3, data=DataSettings(source="folder", path=path))


@pytest.mark.parametrize("path", [None, "a", "-", ["a", "b"], ["a"]])
def test_a_path_or_several(path: object) -> None:
    check_settings(settings_with(path))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (5, "data.path must be a path or a list of paths, got 5"),
        ([], r"data.path must be a path or a list of paths, got \[\]"),
        (["a", None], "data.path must be a path or a list of paths"),
        (" ", "data.path must not be empty"),
        (["a", ""], "data.path must not be empty"),
    ],
)
def test_what_is_no_path_is_named(path: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check_settings(settings_with(path))


@pytest.mark.parametrize(
    ("n", "world_size", "advice"),
    [(31, 1, "15."), (31, 2, "7."), (3, 1, "2."), (3, 2, "")],
)
def test_a_batch_that_is_too_large_says_which_fits(
    n: int, world_size: int, advice: str
) -> None:
    settings = settings_with("a")
    settings.loader.batch_size = 64
    end = f" Set loader.batch_size={advice}" if advice else "no batch would be full."
    with pytest.raises(SettingsError, match=re.escape(end) + "$"):
        check_size(settings, n, world_size)
    if advice:
        settings.loader.batch_size = int(advice[:-1])
        check_size(settings, n, world_size)


def test_a_choice_needs_twice_as_many_images_as_clusters() -> None:
    settings = settings_with("a")
    settings.loader.batch_size, settings.n_clusters = 2, "8-12"
    with pytest.raises(SettingsError, match="8-12, but there are only 15"):
        check_size(settings, 15)
    check_size(settings, 16)


def test_several_processes_cannot_share_standard_input() -> None:
    check_standard_input(settings_with("-"), world_size=1)
    check_standard_input(settings_with("list.txt"), world_size=2)
    with pytest.raises(SettingsError, match="only one of 2 processes can read"):
        check_standard_input(settings_with("-"), world_size=2)
