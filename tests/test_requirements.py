"""What may be installed with the package."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def requirements() -> dict[str, Requirement]:
    """The packages of setup.cfg, those of the extras too."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [config["options"]["install_requires"]]
    lines += config["options.extras_require"].values()
    found = [Requirement(line) for text in lines for line in text.split()]
    return {requirement.name: requirement for requirement in found}


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_malicious_releases_of_lightning_are_not_admitted(version: str) -> None:
    admitted = requirements()
    assert "2.6.1" in admitted["pytorch-lightning"].specifier
    assert version not in admitted["pytorch-lightning"].specifier
    assert "lightning" not in admitted  # the same releases under another name


def test_the_next_major_version_is_not_admitted_where_private_names_are_used() -> None:
    admitted = requirements()
    for name, version in (("torch", "3.0"), ("pytorch-lightning", "3.0")):
        assert version not in admitted[name].specifier


def test_what_is_pinned_is_admitted() -> None:
    admitted, pinned = requirements(), 0
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, is_pin, version = line.partition("==")
        if is_pin and name in admitted:
            assert version in admitted[name].specifier, line
            pinned += 1
    assert pinned > 15
