"""From the arguments of an estimator to the settings of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from hadis_lightly.methods.registry import fill_training_defaults, with_method
from hadis_lightly.settings import Settings, SettingsError
from hadis_lightly.settings.changes import flat_settings
from hadis_lightly.settings.papers import paper_settings
from hadis_lightly.settings.photos import BY_TRAINING, METHODS, SETTINGS
from hadis_lightly.settings.validate import check_settings

# Arguments to the settings that they stand for.
_SETTING_OF = {
    "n_clusters": "n_clusters",
    "method": "method",
    "backbone": "model.backbone",
    "weights": "model.weights",
    "train": "model.train",
    "random_state": "seed",
    "input_size": "views.input_size",
    "max_epochs": "trainer.max_epochs",
    "device": "trainer.accelerator",
    "cache": "data.cache",
    "output_dir": "output_dir",
    "verbose": "quiet",
}
# Values that leave a setting to the command's default.
_LEFT_OPEN = {
    ("backbone", "auto"),
    ("weights", "auto"),
    ("train", "auto"),
    ("input_size", None),
    ("max_epochs", None),
}


def given_settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the arguments of an estimator give, by their full names.

    Args:
        arguments: All arguments by name, as ``get_params`` returns them.

    Raises:
        SettingsError: If ``settings`` has one that an argument stands for.
        ValueError: If ``random_state`` is none.
    """
    more = dict(arguments["settings"] or {})
    for argument, name in _SETTING_OF.items():
        if name in more:
            raise SettingsError(
                f"settings has {name!r}: give it as the argument {argument}."
            )
    for name in ("data.source", "data.path"):
        if name in more:
            raise SettingsError(f"settings has {name!r}: give the images to fit.")
    own = {
        name: arguments[argument]
        for argument, name in _SETTING_OF.items()
        if not _is_left_open(argument, arguments[argument])
    }
    own["seed"] = _seed(arguments["random_state"])
    own["quiet"] = not arguments["verbose"]
    # TensorBoard takes seconds to import, and nobody looks at it here.
    return plain_values({"trainer.logger": "none", **more, **own})


def arguments_of(settings: Settings) -> dict[str, Any]:
    """The arguments of an estimator that stand for the settings of a run."""
    flat = flat_settings(asdict(settings))
    own = {argument: flat[name] for argument, name in _SETTING_OF.items()}
    own["verbose"] = not settings.quiet
    if own["device"] == "gpu":  # Lightning's word, which predictors do not know
        own["device"] = "auto"
    usual = compose(given_settings({**own, "settings": None}))
    of_command = flat_settings(asdict(usual))
    beside = {*_SETTING_OF.values(), "data.source", "data.path", "trainer.devices"}
    more = {name: flat[name] for name in sorted(flat.keys() - beside)}
    return {
        **own,
        "settings": {n: v for n, v in more.items() if v != of_command[n]} or None,
    }


def _is_left_open(argument: str, value: Any) -> bool:
    is_plain = value is None or isinstance(value, str)
    return is_plain and (argument, value) in _LEFT_OPEN


def _seed(random_state: Any) -> int:
    """The seed of a run: an integer itself, or one that a generator draws."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a command line has them: plain numbers, text and lists."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def compose(given: Mapping[str, Any]) -> Settings:
    """The settings of ``hadis-lightly-train`` with some that are given.

    Args:
        given: Full names of settings to values.

    Raises:
        SettingsError: If there is no such setting, or its value is not allowed.
    """
    method = given["method"]
    own = METHODS.get(method, {})
    settings = with_method(SETTINGS, method, {**own, **given})
    check_settings(settings)
    if str(settings.trainer.devices) != "1":
        raise SettingsError(
            f"trainer.devices is {settings.trainer.devices}, but ImageClusterer trains "
            "on one; hadis-lightly-train takes several."
        )
    kept = {*paper_settings(method), *own, *given}
    fill_training_defaults(settings, BY_TRAINING, kept)
    return settings
