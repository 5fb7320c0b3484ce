"""Wrong command lines: one line of reason, exit status 2, nothing written."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from hadis_lightly.cli.error_lines import errors_in_one_line
from hadis_lightly.settings import Settings
from tests.forked_lines import ROOT, Lines
from tests.photo_runs import write_photos
from tests.training.forked_processes import run_forked


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
        (
            "data.path=my new photos seed=1",
            "cannot read 'new': settings are given as key=value; a value with spaces "
            'needs quotes: "data.path=my new photos"',
        ),
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


def test_a_console_that_cannot_print_a_name(lines: Lines) -> None:
    photos = lines.cwd / "\N{CAT FACE} \N{GREEK SMALL LETTER LAMDA}"
    write_photos(photos, 8)
    (photos / "\N{SNOWMAN}.jpg").write_bytes(b"broken")
    done = lines.run(
        "hadis_lightly/cli/train",
        [
            *(f"data.path='{photos.name}'", "data.on_error=skip", "n_clusters=2"),
            *("model.train=all", "model.weights=null"),
            *("model.backbone=small_convnet", "model.hidden_dim=16"),
            *("trainer.max_epochs=1", "clustering.n_init=2", "loader.num_workers=0"),
            *("loader.batch_size=4", "views.input_size=16", "trainer.logger=none"),
            *("trainer.accelerator=cpu", f"output_dir='{photos.name} clustered'"),
        ],
        encoding="cp1252",
    )
    assert (done.status, done.errors.count("Error")) == (0, 0), done.errors
    assert "\\u2603.jpg: " in done.output
    assert "\\U0001f431 \\u03bb clustered" in done.output


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train --help", ""),
        ("train data.path=x nosuch=1", "there is no setting 'nosuch'"),
        ("train data.path=x n_clusters=1", "n_clusters must be >= 2, got 1."),
        ("train data.path=none n_clusters=3", "data.path: 'none' does not exist."),
        (
            "train data.path=. n_clusters=3 trainer.resume=no",
            "trainer.resume: 'no' does not exist.",
        ),
        (
            "train data=cifar10 n_clusters=3 model.backbone=resnet19",
            "mean resnet18",
        ),
        ("predict --help", ""),
        ("predict checkpoint=none data.path=.", "checkpoint: 'none' does not exist."),
        ("report checkpoint=none", "checkpoint: 'none' does not exist."),
        ("figures run=none", "run: 'none' does not exist."),
    ],
)
def test_a_wrong_line_is_refused_before_slow_imports(
    command: str, said: str, tmp_path: Path
) -> None:
    name, *argv = command.split()
    program = f"""
import atexit, sys
atexit.register(lambda: print("\\n", *sys.modules))
from hadis_lightly.cli.{name} import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *argv],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert said in done.stderr and done.returncode == (2 if said else 0)
    loaded = set(done.stdout.splitlines()[-1].split())
    slow = {"torch", "torchvision", "timm", "lightly", "pytorch_lightning", "sklearn"}
    assert "hydra" in loaded and not loaded & slow


def test_ctrl_c_while_a_command_is_imported() -> None:
    program = """
import os, signal, sys

# Jobs in the background of a script ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "hydra":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press())
import hadis_lightly.cli.train
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGINT  # which shells show as 130
    assert (done.stdout, done.stderr) == ("", "interrupted\n")


class _Killed(Dataset[int]):
    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_the_loss_of_a_worker_ends_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loader = DataLoader(_Killed(), sampler=[0], num_workers=1)
    with pytest.raises(SystemExit) as end, errors_in_one_line(Settings(), False):
        list(loader)
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: lost a worker process of the data loader")


def _lose_the_other(rank: int, folder: str) -> None:
    sys.stderr = open(f"{folder}/{rank}", "w", buffering=1)  # noqa: SIM115
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=30),
    )
    distributed.barrier()
    if rank == 1:
        os._exit(0)  # to the others as if it were killed
    try:
        with errors_in_one_line(Settings(), False):
            distributed.all_reduce(torch.ones(1))
    except SystemExit as end:
        os._exit(10 + int(end.code or 0))


def test_the_loss_of_another_process_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="exit code 12"):
        run_forked(_lose_the_other, 2, str(tmp_path))
    said = (tmp_path / "0").read_text().splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: lost the connection to another process")
