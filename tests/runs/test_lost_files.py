"""Files that cannot be read for a moment, or no more, while a run trains."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hadis_lightly.cli.error_lines import one_line
from hadis_lightly.data import ImageReadError, load_folder
from hadis_lightly.models.weight_files import LAST
from hadis_lightly.settings import DataSettings, Settings
from tests.forked_runs import ForkedRun
from tests.photo_runs import tiny_settings, write_photos
from tests.runs.test_resume import assert_same, finish, outcome


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lost") / "photos"
    write_photos(folder / "rest", 48)
    (folder / "rest" / "more").rename(folder / "more")  # data.path=[more,rest]
    return folder


def settings_of(images: Path, folder: Path, num_workers: int) -> Settings:
    paths = [str(images / "more"), str(images / "rest")]
    settings = tiny_settings(DataSettings(source="folder", path=paths), folder)
    settings.loader.num_workers = num_workers
    settings.data.cache = "off"  # else no file is read while it trains
    settings.trainer.max_epochs = 3
    settings.trainer.checkpoint_every_n_minutes = None  # saves only if it must
    settings.trainer.resume = "auto"
    return settings


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How a run ends that loses no file."""
    folder = tmp_path_factory.mktemp("expected") / "run"
    finish(settings_of(images, folder, num_workers=0))
    return outcome(folder)


@pytest.mark.parametrize(
    ("mark", "times", "num_workers"),
    [("step", 2, 0), ("step", 2, 1), ("clustering", 2, 0)],
)
def test_a_run_that_loses_a_file_saves_and_continues_as_if_it_had_not(
    images: Path,
    expected: dict[str, Any],
    tmp_path: Path,
    mark: str,
    times: int,
    num_workers: int,
) -> None:
    settings = settings_of(images, tmp_path / "run", num_workers)
    file = next((images / "rest").glob("*.jpg"))
    aside = tmp_path / "aside"
    run, did = ForkedRun(settings), []
    while did.count(mark) < times:
        did.append(str(run.next()))
    shutil.move(file, aside)
    try:
        status, more = run.wait()
    finally:
        shutil.move(aside, file)
    did += more
    assert status == 2
    checkpoint = tmp_path / "run" / "checkpoints" / LAST
    said = one_line(ValueError(did[-1].partition("ImageReadError: ")[2]), settings)
    assert said == (
        f"cannot read image '{file}': No such file or directory; saved in "
        f"{os.path.relpath(checkpoint)}. Continue with "
        "trainer.resume=auto."
    )
    again = finish(settings)
    assert did.count("step") + again.count("step") == 9  # none was lost
    assert_same(outcome(tmp_path / "run"), expected)


def test_a_file_that_comes_back(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    source = load_folder(tmp_path / "photos")
    before = source[0][0].tobytes()
    file, aside = source.path(0), tmp_path / "aside"
    shutil.move(file, aside)
    thread = threading.Timer(0.2, shutil.move, (aside, file))
    thread.start()
    assert source[0][0].tobytes() == before
    thread.join()


def test_a_damaged_file_is_not_waited_for(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    source = load_folder(tmp_path / "photos")
    Path(source.path(0)).write_bytes(b"damaged")
    start = time.monotonic()
    with pytest.raises(ImageReadError, match="not an image"):
        source[0]
    assert time.monotonic() - start < 0.4
