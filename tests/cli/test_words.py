"""Command lines in any order, and settings that are text: as they were typed."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hadis_lightly.cli.export import ExportSettings
from hadis_lightly.cli.figures import FiguresSettings
from hadis_lightly.cli.predict import PredictSettings
from hadis_lightly.cli.report import ReportSettings
from hadis_lightly.cli.words import check_words, quote_text
from hadis_lightly.fields import expand_paths, field_infos
from hadis_lightly.settings import Settings
from tests.forked_lines import Lines

NAMES = ["1.10", "2024_11_06", "1e3", "0x10", "true", "inf", "-5", "010", "Größe",
         "~/x", "photos (1)", "photos[1]", "Anna's", "a=b", r"C:\Users\é", "#1 & 2",
         r"\\server\x"]  # fmt: skip
ALL = (Settings, PredictSettings, ReportSettings, FiguresSettings, ExportSettings)
PATHS = {
    *("output_dir", "data.cache", "data.path", "model.weights", "trainer.resume"),
    *("checkpoint", "embeddings", "names", "out", "sort_into", "run"),
}


def read(word: str, settings: object = None) -> object:
    """What Hydra makes of a word once its text is quoted; of a sweep, the jobs'."""
    parser = OverridesParser.create()
    (quoted,) = quote_text([word], settings or Settings())
    assert quote_text([quoted], settings or Settings()) == [quoted]
    (override,) = parser.parse_overrides([quoted])
    if not override.is_sweep_override():
        return override.value()
    key = override.key_or_group
    jobs = [f"{key}={text}" for text in override.sweep_string_iterator()]
    return [job.value() for job in parser.parse_overrides(jobs)]


@pytest.mark.parametrize("name", NAMES)
def test_text_is_taken_as_typed(name: str) -> None:
    assert read(f"data.path={name}") == name
    assert read(f"data.path={name},b") == [name, "b"]
    assert read(f"data.path=choice({name},b)") == [name, "b"]
    if "[" not in name:
        assert read(f"run=[{name},b]", FiguresSettings()) == [name, "b"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.path=null", None),
        ("data.path='null'", "null"),
        ("trainer.logger=null", "null"),
        ("data.path='1.10'", "1.10"),
        ('data.path="a,b"', "a,b"),
        ("data.path=", ""),
        (r"data.path=a\,b", "a,b"),
        ("data.path=${oc.env:HOME,1}/b", "${oc.env:HOME,1}/b"),
        ("data.path=range(1,3)", [1, 2]),
        ("trainer.devices=2", 2),
        ("seed=1e3", 1000.0),
        ("views.mean=[0.50]", [0.5]),
    ],
)
def test_what_keeps_its_meaning(word: str, value: object) -> None:
    assert read(word) == value


def test_every_setting_that_is_a_path_knows_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("USERPROFILE", "/home/somebody")
    found = set()
    for kind in ALL:
        config = OmegaConf.structured(kind)
        for name, info in field_infos(kind):
            if info.is_path:
                found.add(name)
                OmegaConf.update(config, name, "~/x")
        settings = OmegaConf.to_object(config)
        expand_paths(settings)
        config = OmegaConf.structured(settings)
        for name in found & {name for name, _ in field_infos(kind)}:
            assert OmegaConf.select(config, name) == os.path.expanduser("~/x")
    assert found == PATHS
    several = FiguresSettings(run=["~/a", "b"])
    expand_paths(several)
    assert several.run == [os.path.expanduser("~/a"), "b"]


def test_folders_whose_names_look_like_numbers(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path
    for command, words in (
        ("train", ["data.path=1.10", "n_clusters=2"]),
        ("predict", ["data.path=1.1", "checkpoint=1.10"]),
        ("report", ["checkpoint=1.10"]),
        ("figures", ["run=1.10"]),
    ):
        done = lines.run(f"hadis_lightly/cli/{command}", words)
        assert done.status == 2 and "1.10'" in done.errors, done.errors
    done = lines.run("hadis_lightly/cli/report", ["checkpoint=~/1e3"])
    assert f"{os.path.expanduser('~/1e3')!r}" in done.errors
    done = lines.run("digits", ["--cfg", "job", "output_dir=2024_11_06"])
    assert "output_dir: '2024_11_06'\n" in done.output
    assert not list(tmp_path.iterdir())


def test_flags_and_settings_in_any_order(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path
    sweep = ("data.path=1.10", "--multirun", "n_clusters=1,2")
    for words in itertools.permutations(sweep):
        done = lines.run("digits", list(words))
        assert done.errors == "error: n_clusters must be >= 2, got 1.\n"
    for line in (
        "--info seed=3 n_clusters=4",
        "seed=3 --info config n_clusters=4",
        "seed=3 --cfg=job n_clusters=4",
    ):
        done = lines.run("digits", line.split(" "))
        assert (done.status, done.errors) == (0, "")
        assert "seed: 3" in done.output and "n_clusters: 4" in done.output
    wrong = {
        "seed --multirun seed=3": "cannot read 'seed'",
        "--cfg": "--cfg needs a value",
        "seed=1 --multirun=2": "no option '--multirun=2'",
    }
    for line, said in wrong.items():
        done = lines.run("digits", line.split(" "))
        assert done.status == 2 and said in done.errors
        assert done.errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_words_that_were_quoted_are_understood_again() -> None:
    """Lightning starts further processes with the words that Hydra was given."""
    words = ["method=hadis", "data.path=1.10", "trainer.strategy=ddp"]
    groups = {"method": ("hadis", {"hadis": {}})}
    once = quote_text(words, Settings(), groups)
    check_words(once, groups)
    assert quote_text(once, Settings(), groups) == once
