"""The paper's tables: cells are run once, resumed, and printed beside the paper's."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.docs.shell_lines import EXAMPLES, shell_lines

# A run in a second or two.
TINY = [
    "data.limit=96", "trainer.max_epochs=1", "model.hidden_dim=16",
    "model.output_dim=8", "loader.batch_size=32", "clustering.n_init=1",
    "trainer.logger=none", "trainer.progress_bar=false", "trainer.accelerator=cpu",
]  # fmt: skip
SETS_OF_THE_PAPER = 5


class Said(NamedTuple):
    """How a command ended."""

    status: int
    tables: str
    errors: str

    def row(self, source: str, name: str) -> list[str]:
        """The cells of one row of the first table that has it."""
        start = f"| {source} | {name} |"
        lines = [x for x in self.tables.splitlines() if x.startswith(start)]
        return [cell.strip() for cell in lines[0].split("|")[3:-1]]


def tables(*argv: str) -> Said:
    import paper_tables

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = paper_tables.main([*argv])
        except SystemExit as ended:  # of argparse
            status = int(str(ended.code))
    return Said(status, out.getvalue(), err.getvalue())


def options_of(*argv: str) -> Any:
    from options import read_options

    return read_options([*argv], "")


class Finished(NamedTuple):
    folder: Path
    argv: list[str]
    said: Said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A method and one of pixels on digits, two seeds of each."""
    folder = tmp_path_factory.mktemp("tables")
    argv = [
        *("--methods", "kmeans,hadis", "--datasets", "digits", "--seeds", "0,1"),
        *("--tables", "II", "--folder", str(folder)),
        *("--csv", str(folder / "new" / "tables.csv"), *TINY),
    ]
    return Finished(folder, argv, tables(*argv))


@pytest.mark.slow
def test_our_cells_stand_beside_the_papers(finished: Finished) -> None:
    said = finished.said
    assert said.status == 0, said.errors
    for name in ("k-means on pixels", "HaDis"):
        *of_the_paper, digits = said.row("ours", name)
        assert of_the_paper == [""] * SETS_OF_THE_PAPER
        assert digits.count("±") == 3
    assert said.row("the paper", "HaDis")[0] == "86.9 / 93.0 / 86.2"
    (run,) = [x for x in said.tables.splitlines() if x.startswith("| digits | HaDis")]
    assert "| 0, 1 | 96 | 1 | " in run
    scores = []
    for seed in (0, 1):
        file = finished.folder / "digits" / "hadis" / f"seed{seed}" / "results.json"
        scores.append(json.loads(file.read_text(encoding="utf-8"))["scores"])
    expected = " / ".join(
        f"{100 * (a + b) / 2:.1f} ± {100 * abs(a - b) / 2**0.5:.1f}"
        for a, b in ([score[x] for score in scores] for x in ("nmi", "acc", "ari"))
    )
    assert said.row("ours", "HaDis")[-1] == expected
    path = finished.folder / "new" / "tables.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {(row["method"], row["seed"]) for row in rows}
    assert found == {(method, seed) for method in ("kmeans", "hadis") for seed in "01"}
    assert {row["images"] for row in rows} == {"96"}


@pytest.mark.slow
def test_finished_cells_are_only_read(finished: Finished) -> None:
    said = tables(*finished.argv)

    assert said.status == 0
    assert said.tables == finished.said.tables
    assert "4 cells, 4 of them finished before" in said.errors
    assert len(list(finished.folder.glob("*/*/*/results.json"))) == 4

    settings = [word for word in TINY if not word.startswith("trainer.max_epochs")]
    where = ("--print", "--folder", str(finished.folder))
    said = tables(*where, *settings, "trainer.max_epochs=3")

    assert said.row("ours", "HaDis")[-1] == ""
    assert said.row("ours", "k-means on pixels")[-1] != ""  # has no epochs
    assert "seed1 has other settings: trainer.max_epochs: 1 -> 3" in said.errors
    assert "### Table III" in said.tables and "### Table IV" in said.tables


@pytest.fixture
def listens() -> Iterator[None]:
    """Ctrl-C counts, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_an_interrupted_cell_is_resumed(listens: None, tmp_path: Path) -> None:
    argv = [
        *("--methods", "hadis", "--datasets", "digits", "--seeds", "0"),
        *("--tables", "II", "--folder", str(tmp_path)),
        *(word for word in TINY if not word.startswith("trainer.max_epochs")),
        *("trainer.max_epochs=20", "clustering.every_n_epochs=20"),
    ]
    folder = tmp_path / "digits" / "hadis" / "seed0"
    ended = threading.Event()

    def interrupt() -> None:
        while not (folder / "checkpoints" / "last.ckpt").exists():
            if ended.wait(0.01):
                return
        os.kill(os.getpid(), signal.SIGINT)

    watch = threading.Thread(target=interrupt)
    watch.start()
    try:
        # After every step, so that one exists soon; it does not count as a change.
        said = tables(*argv, "trainer.checkpoint_every_n_minutes=0")
    finally:
        ended.set()
        watch.join()
    assert (said.status, said.tables) == (128 + signal.SIGINT, ""), said.errors
    assert not (folder / "results.json").exists()

    said = tables(*argv)

    assert said.status == 0, said.errors
    result = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert (result["num_resumed"], result["epochs"]) == (1, 20)
    assert [path.name for path in folder.parent.iterdir()] == ["seed0"]
    assert "±" not in said.row("ours", "HaDis")[-1]  # one seed


def test_a_failed_cell_does_not_stop_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no archive")
    argv = [
        *("--methods", "kmeans", "--datasets", "digits,small_cifar10"),
        *("--seeds", "0", "--path", f"small_cifar10={broken}", "data.limit=96"),
    ]

    said = tables(*argv, "--folder", str(tmp_path / "tables"))

    assert said.status == 1
    *_, digits, small = said.row("ours", "k-means on pixels")
    assert digits.count("/") == 2
    assert small == ""
    assert "\nfailed: kmeans on small_cifar10, seed 0" in said.errors
    assert "Traceback" not in said.errors


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--methods hadis", "--methods and --datasets are required"),
        ("--methods cc --datasets digits trainer.max_epoch=3", "trainer.max_epochs?"),
        ("--methods cc --datasets digits,imagenet10", "--path imagenet10=... is miss"),
        (
            "--methods cc --datasets cifar10 --root nowhere data.download=false",
            "there is no 'nowhere/cifar10'",
        ),
    ],
)
def test_errors_end_it_before_anything_runs(
    argv: str, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "tables"

    said = tables(*argv.split(), "--folder", str(folder))

    assert (said.status, said.tables) == (2, "")
    assert message in said.errors
    assert not folder.exists()


def test_published_scores() -> None:
    from published import SETS, published

    rows = published("II")
    assert all(list(scores) == list(SETS) for scores in rows.values())
    hadis = rows["the paper", "HaDis"]
    assert hadis["imagenet_dogs"] == (49.6, 55.0, 37.6)
    assert rows["the paper", "k-means"]["stl10"] == (12.5, 19.2, 6.1)
    for table, name in (("III", "both"), ("IV", "0.001")):
        for dataset, scores in published(table)["the paper", name].items():
            assert scores == hadis[dataset]


def test_cells_of_the_ablations() -> None:
    from cells import needed_cells, settings_of

    words = "--methods propos,hadis,cc --datasets cifar10,stl10,imagenet10"
    options = options_of(*words.split(), "--seeds", "0", "--tables", "III,IV")
    cells = {
        (cell.dataset, cell.method, cell.variant): settings_of(cell, options)
        for cell in needed_cells(options)
    }

    no_pcl = "model.pcl_weight=0.0"
    ablation = [("propos", ""), ("hadis", no_pcl), ("hadis", "")]
    stds = ("0.0", "0.01", "0.1")  # 0.001 is the plain cell
    diffusion = [("hadis", f"model.latent_std={std}") for std in stds]
    assert set(cells) == {
        *(("cifar10", *row) for row in ablation + diffusion),
        *(("imagenet10", *row) for row in ablation),
    }
    without_pcl = cells["imagenet10", "hadis", no_pcl].model
    assert (without_pcl.hsd_weight, without_pcl.pcl_weight) == (1.0, 0.0)
    without_hsd = cells["imagenet10", "propos", ""].model
    assert (without_hsd.hsd_weight, without_hsd.pcl_weight) == (0.0, 0.05)
    assert len({settings.output_dir for settings in cells.values()}) == len(cells)


@pytest.mark.parametrize("method", ["kmeans", "spectral", "agglomerative", "nmf"])
def test_pixel_methods_find_clear_clusters(method: str, tmp_path: Path) -> None:
    from cells import Cell, settings_of
    from pixel_methods import run_on_pixels

    labels = np.arange(120) % 4
    # Each class is bright in a quarter of its own; larger than what is clustered.
    images = np.random.default_rng(0).integers(0, 40, (120, 40, 40, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        y, x = 20 * (label // 2), 20 * (label % 2)
        images[i, y : y + 20, x : x + 20] += 180
    file = tmp_path / "images.npz"
    np.savez(file, images=images, labels=labels)
    options = options_of("--methods", method, "--datasets", "small_cifar10",
                         "--path", f"small_cifar10={file}", "n_clusters=4")  # fmt: skip
    settings = settings_of(Cell(method, "small_cifar10", 0), options)
    settings.output_dir = str(tmp_path / "run")

    run_on_pixels(method, settings)

    text = (tmp_path / "run" / "results.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert content["scores"] == pytest.approx({"nmi": 1, "acc": 1, "ari": 1})
    assert content["images"] == 120


def test_commands_of_the_page() -> None:
    from cells import needed_cells

    files = sorted(EXAMPLES.glob("tables*.sh"))
    assert files
    for path in files:
        for line in shell_lines(path.read_text(encoding="utf-8")):
            assert line.program == "python benchmarks/paper/paper_tables.py"
            assert needed_cells(options_of(*line.argv)) or "--print" in line.argv
