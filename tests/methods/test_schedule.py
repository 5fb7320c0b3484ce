"""Warm-ups and phases: defaults that fit the run, and numbers that cannot."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest

from hadis_lightly.methods import with_method
from hadis_lightly.methods.registry import check_run, method_of, prolonged
from hadis_lightly.methods.schedule import count_epochs
from hadis_lightly.settings import Settings, SettingsError
from hadis_lightly.settings.papers import METHOD_NAMES
from hadis_lightly.settings.photos import METHODS, SETTINGS

BOTH = ("optimizer.warmup_epochs", "clustering.warmup_epochs")


def schedule_of(
    changes: dict[str, Any], method: str = "hadis", base: Settings | None = None
) -> dict[str, int]:
    settings = with_method(base or Settings(), method, changes)
    check_run(settings)
    return method_of(settings).schedule(settings)


@pytest.mark.parametrize(
    ("epochs", "warmup"), [(1000, 50), (200, 50), (50, 12), (10, 2), (3, 0), (1, 0)]
)
def test_warm_ups_are_a_quarter_of_the_run_and_at_most_the_papers(
    epochs: int, warmup: int
) -> None:
    found = schedule_of({"trainer.max_epochs": epochs})
    assert found == dict.fromkeys(BOTH, warmup)


@pytest.mark.parametrize("epochs", [1, 2, 10, 20, 60])
@pytest.mark.parametrize(
    ("method", "n_clusters"), [*((name, 12) for name in METHOD_NAMES), ("hadis", "5-9")]
)
def test_whatever_the_length_of_the_command_something_follows_each_warm_up(
    method: str, n_clusters: int | str, epochs: int
) -> None:
    changes = {"trainer.max_epochs": epochs, "n_clusters": n_clusters}
    if method == "pici":
        changes |= METHODS["pici"] | {"trainer.max_epochs": epochs}
    schedule = schedule_of(changes, method, SETTINGS)
    first = {name: n for name, n in schedule.items() if "interaction" not in name}
    assert all(n < epochs for n in first.values())


def test_heads_wait_for_half_of_the_run_before_they_use_pseudo_labels() -> None:
    found = schedule_of({"n_clusters": 12, "trainer.max_epochs": 30}, base=SETTINGS)
    assert found == dict(zip(BOTH, (2, 15), strict=True))


def test_the_clustering_follows_the_optimiser_unless_told_otherwise() -> None:
    assert schedule_of({BOTH[0]: 3}) == dict.fromkeys(BOTH, 3)
    assert schedule_of({BOTH[0]: 3, BOTH[1]: 0}) == dict(zip(BOTH, (3, 0), strict=True))


def test_methods_without_pcl_keep_the_warm_up_of_their_papers() -> None:
    assert schedule_of({}, "cc") == {"optimizer.warmup_epochs": 0}
    assert schedule_of({}, "pici") == {
        "optimizer.warmup_epochs": 0,
        "pici.pretraining_epochs": 200,
        "pici.interaction_epochs": 50,
    }


@pytest.mark.parametrize(
    ("method", "name", "lost"),
    [
        ("hadis", BOTH[0], "the learning rate would never reach its highest value"),
        ("hadis", BOTH[1], "there would be no pseudo-labels, hence no PCL"),
        ("propos", BOTH[1], "there would be no pseudo-labels, hence no PCL"),
        ("cc", BOTH[0], "the learning rate would never reach its highest value"),
        ("pici", "pici.pretraining_epochs", "cluster head would never be trained"),
    ],
)
@pytest.mark.parametrize("epochs", [20, 50])
def test_one_that_lasts_to_the_end_is_refused(
    method: str, name: str, lost: str, epochs: int
) -> None:
    changes = {"trainer.max_epochs": 20, name: epochs}
    if method == "pici":
        changes["pici.interaction_epochs"] = 0
    message = f"{name} is {epochs}, but the run has only 20 epochs: .*{re.escape(lost)}"
    with pytest.raises(SettingsError, match=message):
        schedule_of(changes, method)
    changes[name] = 19
    assert schedule_of(changes, method)[name] == 19


def test_what_switches_nothing_off_is_not_refused() -> None:
    changes: dict[str, Any] = {"trainer.max_epochs": 20, BOTH[1]: 50}
    assert schedule_of(changes, "byol")[BOTH[1]] == 50  # BYOL has no PCL
    changes |= {"model.train": "nothing", "model.weights": "a.pth"}
    schedule_of(changes | {BOTH[0]: 50})  # nothing is trained


def test_max_steps_may_end_a_run_before_its_last_epoch() -> None:
    settings = Settings()
    settings.loader.batch_size = 10
    for max_steps, epochs in ((-1, 1000), (1, 1), (10, 1), (11, 2), (10**6, 1000)):
        settings.trainer.max_steps = max_steps
        assert count_epochs(settings, num_images=109, world_size=1) == epochs
    settings.trainer.max_steps = 10
    assert count_epochs(settings, num_images=109, world_size=2) == 2


def test_a_run_is_prolonged_as_it_stands_where_its_warm_ups_stay() -> None:
    before, settings = Settings(), Settings()
    settings.trainer.max_epochs = 2 * before.trainer.max_epochs
    found = prolonged(asdict(before), schedule_of({}), settings)
    assert found == asdict(settings)
    settings.method = "pici"
    with pytest.raises(SettingsError, match="begin anew, without"):
        prolonged(asdict(before), {}, settings)
