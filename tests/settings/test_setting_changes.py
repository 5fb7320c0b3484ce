"""What makes two runs different, and what does not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hadis_lightly.settings import Settings, ViewSettings
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.views import CIFAR10_NORMALIZE


def changed(exactly: bool = False, **sections: Any) -> list[str]:
    before = asdict(Settings())
    for name, values in sections.items():
        before[name] = before[name] | values if isinstance(values, dict) else values
    return different_settings(before, Settings(), exactly)


def test_what_matters_and_what_does_not() -> None:
    assert changed() == []
    assert changed(n_clusters=11, model={"pcl_weight": 0.2}) == [
        "model.pcl_weight: 0.2 -> 0.1",
        "n_clusters: 11 -> 10",
    ]
    where = {"output_dir": "x", "trainer": {"resume": "auto", "progress_bar": False}}
    assert changed(exactly=True, **where) == []


def test_one_value_for_grey_images_is_the_mean_of_three() -> None:
    now = Settings(views=ViewSettings(mean=[0.2, 0.4, 0.6]))
    before = asdict(Settings(views=ViewSettings(mean=[0.4])))
    assert different_settings(before, now) == []


def test_views_that_are_left_open_have_their_defaults() -> None:
    before = asdict(Settings(views=ViewSettings(32, **CIFAR10_NORMALIZE)))
    assert different_settings(before, Settings(), exactly=True) == []


def test_the_machine_matters_for_the_last_bits_only() -> None:
    elsewhere = {"trainer": {"accelerator": "gpu"}, "data": {"pipeline": "workers"}}
    assert changed(**elsewhere) == []
    assert len(changed(exactly=True, **elsewhere)) == 2


def test_settings_that_came_later_or_are_gone() -> None:
    """A run goes on after the package was updated."""
    before = asdict(Settings())
    del before["clustering"]["warm_start"]
    before["trainer"]["gone"] = 3
    assert different_settings(before, Settings(), exactly=True) == []
    settings = Settings()
    settings.clustering.warm_start = True
    assert different_settings(before, settings) == [
        "clustering.warm_start: False -> True"
    ]
