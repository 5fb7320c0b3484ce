"""Wrong command lines: one line of reason, exit status 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hadis_lightly.cli.error_lines import errors_in_one_line
from hadis_lightly.settings import Settings
from tests.forked_lines import Lines


@pytest.fixture(autouse=True)
def in_an_empty_folder(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "model.pcl_wieght=0.1",
            "setting 'model.pcl_wieght'; did you mean model.pcl_w",
        ),
        ("--hepl", "there is no option '--hepl'; see --help"),
        ("seed=abc", "seed: Value 'abc' of type 'str' could not be converted"),
        ("seed=-1", "seed must be >= 0, got -1"),
        ("n_clusters=1798", "n_clusters is 1798, but there are only 1797 images"),
        ("data=hub", "data must be one of cifar10, "),
        ("method=dec", "method must be one of byol, cc, "),
        ("model=3", "model is a section of settings: give model.NAME=VALUE"),
        ("seed", "cannot read 'seed': settings are given as key=value"),
        ("seed=1\x1b[31m", "cannot read 'seed=1\\x1b[31m'"),
        ("+more=1", "cannot read '+more'"),
        ("~model", "cannot read '~model'"),
        ("seed=1 seed=2", "seed is given twice"),
        ("seed=1,2", "To sweep over it, add --multirun"),
        ("model.backbone=${oc.env:NOTHING_9}", "variable 'NOTHING_9' not found"),
        ("--multirun seed=0,a", "seed: Value 'a'"),
        ("--multirun seed=-1,0", "seed must be >= 0, got -1"),
    ],
)
def test_a_wrong_line(lines: Lines, arguments: str, message: str) -> None:
    done = lines.run("digits", arguments.split(" "))
    assert (done.status, done.output) == (2, "")
    assert done.errors.startswith("error: ") and message in done.errors
    assert done.errors.count("\n") == 1 and done.errors.rstrip("\n").isprintable()
    assert not list(lines.cwd.iterdir())


def test_settings_may_stand_on_both_sides_of_a_flag(lines: Lines) -> None:
    done = lines.run("digits", ["seed=3", "--cfg", "job", "n_clusters=4"])
    assert (done.status, done.errors) == (0, "")
    assert "seed: 3" in done.output and "n_clusters: 4" in done.output


def test_a_traceback_is_shown_on_request(lines: Lines) -> None:
    done = lines.run("digits", ["seed=-1"], shows_traceback=True)
    assert done.status == 1 and "Traceback" in done.errors
    assert "SettingsError: seed must be >= 0, got -1." in done.errors


def test_memory_that_runs_out_ends_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end, errors_in_one_line(Settings(), False):
        torch.empty(2**60, dtype=torch.uint8)
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "error: out of memory; lower loader.batch_size, views.input_size or "
        "model.hidden_dim\n"
    )
