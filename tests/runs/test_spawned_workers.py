"""Worker processes that are not forked, as on Windows, macOS and with Python 3.14."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hadis_lightly.runs import run
from hadis_lightly.settings import Settings, SettingsError
from hadis_lightly.system import obstacle_to_workers
from tests.docs.shell_lines import ROOT
from tests.photo_runs import write_photos

NOT_FORKED = [m for m in multiprocessing.get_all_start_methods() if m != "fork"]
GUARD = 'if __name__ == "__main__":\n    '
ASK = "found = obstacle_to_workers()\n"
RUN = """
from hadis_lightly.runs import run
from hadis_lightly.settings import *
settings = Settings(n_clusters=2, output_dir="run")
settings.data = DataSettings(source="digits", limit=40, pipeline="workers")
settings.loader = LoaderSettings(batch_size=8, num_workers=1)
settings.views.input_size, settings.views.mean, settings.views.std = 8, [0.3], [0.4]
settings.model.backbone, settings.model.hidden_dim = "small_convnet", 16
settings.clustering.n_init = settings.trainer.max_epochs = 1
settings.trainer.logger, settings.trainer.progress_bar = "none", False
"""
IN_A_WORKER = """
import multiprocessing

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=print)
    worker.start()
    worker.join()
else:  # in the worker
    from hadis_lightly.runs import run
    from hadis_lightly.settings import Settings

    run(Settings(output_dir="spawned"))
"""


def python(
    folder: Path, *argv: str, method: str = "", stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs an interpreter whose default start method is ``method``."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(
        f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\n"
        if method
        else ""
    )
    return subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def start_method(request: pytest.FixtureRequest) -> Iterator[str]:
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


def in_a_script(folder: Path, text: str) -> str | None:
    """What is in the way of a script that asks when it is run."""
    script = folder / "script.py"
    script.write_text("from hadis_lightly.system import obstacle_to_workers\n" + text)
    found: str | None = runpy.run_path(str(script), run_name="__main__")["found"]
    return found


@pytest.mark.parametrize("start_method", NOT_FORKED, indirect=True)
def test_a_script_that_would_run_again_gets_no_workers(
    tmp_path: Path, start_method: str
) -> None:
    unguarded = in_a_script(tmp_path, ASK)
    assert unguarded is not None
    assert f"would run {str(tmp_path / 'script.py')!r} again" in unguarded
    assert in_a_script(tmp_path, f"def ask():\n    return {ASK[8:]}found = ask()\n")
    assert in_a_script(tmp_path, f"if True:\n    {ASK}")
    assert in_a_script(tmp_path, GUARD + ASK) is None
    assert (
        in_a_script(tmp_path, f"def ask():\n    return {ASK[8:]}{GUARD}found=ask()")
        is None
    )
    assert obstacle_to_workers() is None  # of pytest


@pytest.mark.parametrize("start_method", ["fork"], indirect=True)
def test_forked_workers_run_no_script(tmp_path: Path, start_method: str) -> None:
    assert in_a_script(tmp_path, ASK) is None


def test_a_script_from_standard_input_gets_no_workers(tmp_path: Path) -> None:
    text = """
import multiprocessing
from hadis_lightly.system import obstacle_to_workers
obstacle_to_workers()
print(multiprocessing.get_start_method(allow_none=True))
multiprocessing.set_start_method("spawn")
print(obstacle_to_workers())
"""
    assert python(tmp_path, "-", stdin=text).stdout.splitlines() == [
        "None",  # asking has not made the default final
        "worker processes cannot import a script from standard input",
    ]


def test_no_run_starts_while_a_worker_imports_the_script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    process = multiprocessing.current_process()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(SettingsError, match='Put the call below `if __name__ == "__'):
        run(Settings(output_dir=str(tmp_path / "spawned")))
    assert not (tmp_path / "spawned").exists()


@pytest.mark.slow
def test_a_script_that_workers_run_again_starts_no_second_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(IN_A_WORKER)
    done = python(tmp_path, "script.py")
    assert 'Put the call below `if __name__ == "__main__":`' in done.stderr
    assert not (tmp_path / "spawned").exists()


def test_workers_of_the_interactive_prompt(tmp_path: Path) -> None:
    done = python(tmp_path, "-i", method="spawn", stdin=f"{RUN}run(settings)\n")
    assert (tmp_path / "run" / "results.json").is_file(), done.stderr
    assert "pipeline workers (as asked for), " in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", NOT_FORKED)
def test_commands_with_workers(tmp_path: Path, method: str) -> None:
    write_photos(tmp_path / "photos", 40)
    command = ("-m", "hadis_lightly.cli.train", "data.path=photos", "n_clusters=2")
    done = python(
        *(tmp_path, *command, "data.pipeline=workers", "loader.num_workers=2"),
        *("loader.batch_size=8", "views.input_size=16", "model.backbone=small_convnet"),
        *("trainer.max_epochs=2", "trainer.logger=none", "output_dir=run"),
        *("model.train=all", "model.weights=null"),
        method=method,
    )
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr
    command = ("-m", "hadis_lightly.cli.predict", "checkpoint=run", "out=new.csv")
    done = python(tmp_path, *command, "data.path=photos", method=method)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "new.csv").read_text(encoding="utf-8").splitlines()) == 41


@pytest.mark.slow
@pytest.mark.parametrize("guard", ["", GUARD])
@pytest.mark.parametrize("method", NOT_FORKED)
def test_scripts_with_workers(tmp_path: Path, method: str, guard: str) -> None:
    (tmp_path / "script.py").write_text(f"{RUN}{guard}run(settings)\n")
    done = python(tmp_path, "script.py", method=method)
    assert (tmp_path / "run" / "results.json").is_file() == bool(guard), done.stderr
    said = done.stderr.splitlines()
    assert done.returncode == int(not guard)
    assert done.stderr.count("Traceback") == int(not guard)
    assert guard or "but worker processes would run " in said[-1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", NOT_FORKED)
def test_workers_of_a_notebook(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = map(pytest.importorskip, ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [
        f"import multiprocessing\nmultiprocessing.set_start_method({method!r})",
        f"{RUN}run(settings)",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=list(map(nbformat.v4.new_code_cell, cells))
    )
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    assert (tmp_path / "run" / "results.json").is_file()
