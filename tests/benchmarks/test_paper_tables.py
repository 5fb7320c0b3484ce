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

from hadis_lightly.runs import runner
from tests.docs.shell_lines import EXAMPLES, shell_lines

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
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


@pytest.fixture(scope="module", autouse=True)
def modules() -> Iterator[None]:
    """Lets the benchmark's files import each other, as when it is run.

    Pictures take most of the time of a run as small as these, and are not drawn.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setattr(runner, "draw_figures", lambda *_, **__: [Path("curves.png")])
        yield


def tables(*argv: str) -> Said:
    import paper_tables

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = paper_tables.main([*argv])
    return Said(status, out.getvalue(), err.getvalue())


def options_of(*argv: str) -> Any:
    from table_options import read_options

    return read_options([*argv])


class Finished(NamedTuple):
    folder: Path
    argv: list[str]
    said: Said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two methods and one of pixels on digits, two seeds of each."""
    folder = tmp_path_factory.mktemp("tables")
    argv = [
        "methods=kmeans,hadis,cc",
        "datasets=digits",
        "seeds=0,1",
        "tables=II",
        f"folder={folder}",
        f"csv={folder / 'new' / 'tables.csv'}",
        *TINY,
    ]
    return Finished(folder, argv, tables(*argv))


def test_our_cells_stand_beside_the_papers(finished: Finished) -> None:
    said = finished.said
    assert said.status == 0, said.errors
    for name in ("k-means on pixels", "HaDis", "CC"):
        *of_the_paper, digits = said.row("ours", name)
        assert of_the_paper == [""] * SETS_OF_THE_PAPER
        assert digits.count("±") == 3
    assert said.row("the paper", "HaDis")[0] == "86.9 / 93.0 / 86.2"
    assert said.row("the paper", "HaDis")[-1] == ""
    (run,) = [x for x in said.tables.splitlines() if x.startswith("| digits | HaDis")]
    assert "| 0, 1 | 96 | 1 | " in run
    assert "trainer.max_epochs=1" in said.tables


def test_mean_and_spread_are_those_of_the_runs(finished: Finished) -> None:
    scores = []
    for seed in (0, 1):
        file = finished.folder / "digits" / "hadis" / f"seed{seed}" / "results.json"
        scores.append(json.loads(file.read_text(encoding="utf-8"))["scores"])
    expected = " / ".join(
        f"{100 * (a + b) / 2:.1f} ± {100 * abs(a - b) / 2**0.5:.1f}"
        for a, b in ([score[name] for score in scores] for name in scores[0])
    )
    assert finished.said.row("ours", "HaDis")[-1] == expected


def test_finished_cells_are_not_run_again(finished: Finished) -> None:
    files = sorted(finished.folder.glob("*/*/*/results.json"))
    before = [file.stat().st_mtime_ns for file in files]

    said = tables(*finished.argv)

    assert said.status == 0
    assert said.tables == finished.said.tables
    assert said.errors.count("is there already") == len(files) == 6
    assert [file.stat().st_mtime_ns for file in files] == before
    assert sorted(finished.folder.glob("*/*/*/results.json")) == files


def test_printing_alone(finished: Finished) -> None:
    said = tables("run=false", f"folder={finished.folder}", *TINY)

    assert said.status == 0
    assert said.row("ours", "CC")[-1] == finished.said.row("ours", "CC")[-1]
    assert said.row("ours", "PICI") == [""] * (SETS_OF_THE_PAPER + 1)
    assert "### Table III" in said.tables and "### Table IV" in said.tables


def test_results_of_other_settings_are_left_out(finished: Finished) -> None:
    settings = [word for word in TINY if not word.startswith("trainer.max_epochs")]
    said = tables(
        "run=false", f"folder={finished.folder}", *settings, "trainer.max_epochs=3"
    )

    assert said.row("ours", "HaDis")[-1] == ""
    assert said.row("ours", "k-means on pixels")[-1] != ""  # has no epochs
    assert "seed1 has other settings: trainer.max_epochs: 1 -> 3" in said.errors


def test_csv(finished: Finished) -> None:
    path = finished.folder / "new" / "tables.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert len(rows) == 6
    assert {(row["method"], row["seed"]) for row in rows} == {
        (method, seed) for method in ("kmeans", "hadis", "cc") for seed in "01"
    }
    for row in rows:
        assert (row["dataset"], row["images"], row["variant"]) == ("digits", "96", "")
        assert row["epochs"] == ("" if row["method"] == "kmeans" else "1")
        assert row["device"].startswith("cpu")
        assert all(0 <= float(row[name]) <= 1 for name in ("nmi", "acc"))


@pytest.fixture
def listens() -> Iterator[None]:
    """Ctrl-C counts, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupted_cell_goes_on(listens: None, tmp_path: Path) -> None:
    argv = [
        "methods=hadis",
        "datasets=digits",
        "seeds=0",
        "tables=II",
        f"folder={tmp_path}",
        *(word for word in TINY if not word.startswith("trainer.max_epochs")),
        "trainer.max_epochs=20",
        "clustering.every_n_epochs=20",
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
        # At every step, so that there soon is one; it does not count as a change.
        said = tables(*argv, "trainer.checkpoint_every_n_minutes=0")
    finally:
        ended.set()
        watch.join()
    assert (said.status, said.tables) == (128 + signal.SIGINT, ""), said.errors
    assert "The same command goes on" in said.errors
    assert not (folder / "results.json").exists()

    said = tables(*argv)

    assert said.status == 0, said.errors
    result = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert (result["num_resumed"], result["epochs"]) == (1, 20)
    assert [path.name for path in folder.parent.iterdir()] == ["seed0"]
    assert "±" not in said.row("ours", "HaDis")[-1]  # of one seed
    assert said.row("ours", "HaDis")[-1] != ""


def test_a_failed_cell_does_not_stop_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no archive")
    argv = [
        "methods=kmeans",
        "datasets=digits,small_cifar10",
        "seeds=0,1",
        f"path.small_cifar10={broken}",
        "data.limit=96",
    ]

    said = tables(*argv, f"folder={tmp_path / 'all'}")

    assert said.status == 1
    *_, digits, small = said.row("ours", "k-means on pixels")
    assert digits.count("±") == 3
    assert small == ""
    assert said.errors.count("\nfailed: kmeans on small_cifar10, seed") == 2
    assert "Traceback" not in said.errors

    said = tables(*argv, f"folder={tmp_path / 'some'}", "keep_going=false")

    assert said.status == 1
    assert said.row("ours", "k-means on pixels")[-2].count("/") == 2
    assert "±" not in said.row("ours", "k-means on pixels")[-2]  # seed 1 was not run


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", "methods= has to say what to run; run=false prints what is there"),
        ("methods=hadis", "datasets= has to say what to run"),
        ("methods=simclr datasets=digits", "methods must be of kmeans, spectral,"),
        ("methods=cc datasets=mnist", "datasets must be of cifar10, cifar20, "),
        ("methods=cc datasets=digits seeds=a", "seeds must be integers >= 0, got 'a'"),
        ("methods=cc datasets=digits tables=V", "tables must be of II, III, IV"),
        ("methods=cc datasets=digits run=no", "run must be true or false, got 'no'"),
        ("methods=cc datasets=digits seed=3", "it is up to seeds="),
        ("methods=cc datasets=digits cc", "cannot read 'cc': arguments are key=value"),
        ("methods=cc methods=cc", "methods is given twice"),
        ("metods=cc datasets=digits", "there is no option 'metods'; did you mean met"),
        ("methods=cc datasets=digits path.mnist=x", "path.NAME must be of cifar10,"),
        ("methods=cc datasets=digits data.path=x", "digits take no path, got 'x'"),
        (
            "methods=hadis datasets=digits trainer.max_epoch=3",
            "there is no setting 'trainer.max_epoch'; did you mean trainer.max_epochs?",
        ),
        (
            "methods=hadis datasets=digits trainer.max_epochs=0",
            "hadis on digits, seed 0: trainer.max_epochs must be >= 1, got 0.",
        ),
        (
            "methods=cc datasets=digits,imagenet10",
            "cc on imagenet10, seed 0: path.imagenet10=DIR has to say where",
        ),
        (
            "methods=cc datasets=cifar10 root=nowhere data.download=false",
            "there is no 'nowhere/cifar10'; path.cifar10=... is another",
        ),
        (
            "methods=cc datasets=small_cifar10 path.small_cifar10=no.npz",
            "there is no 'no.npz'; path.small_cifar10=... is another",
        ),
    ],
)
def test_errors_come_in_one_line_before_anything_runs(
    argv: str, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "tables"

    said = tables(*argv.split(), f"folder={folder}")

    assert (said.status, said.tables) == (2, "")
    assert said.errors.startswith("error: ") and said.errors.count("\n") == 1
    assert message in said.errors
    assert not folder.exists()


def test_figures_are_the_papers() -> None:
    from paper_figures import CC_PAPER, PAPER, SETS, TABLE_II, TABLE_III, TABLE_IV

    rows = {(source, name): scores for source, name, scores in TABLE_II}
    names = list(SETS)
    assert all(len(scores) == len(names) for scores in rows.values())
    hadis = rows[PAPER, "HaDis"]
    assert hadis[names.index("imagenet_dogs")] == (49.6, 55.0, 37.6)
    assert rows[PAPER, "SACC"][names.index("cifar20")] == (44.8, 44.3, 28.2)
    assert rows[PAPER, "k-means"][names.index("stl10")] == (12.5, 19.2, 6.1)
    of_cc = rows[CC_PAPER, "CC (ResNet-34, 224 px)"]
    assert of_cc[names.index("stl10")] == (76.4, 85.0, 72.6)
    for table in (TABLE_III["both"], TABLE_IV["0.001"]):
        for name, scores in table.items():
            assert scores == hadis[names.index(name)]
    assert TABLE_III["without PCL"]["imagenet10"] == (83.3, 92.0, 83.4)
    assert TABLE_IV["none"]["cifar10"] == (83.9, 91.1, 82.4)


def test_cells_of_the_ablations() -> None:
    from table_cells import needed_cells, settings_of

    options = options_of(
        "methods=propos,hadis,cc",
        "datasets=cifar10,stl10,imagenet10",
        "seeds=0",
        "tables=III,IV",
    )
    cells = {
        (cell.dataset, cell.method, cell.variant): settings_of(cell, options)
        for cell in needed_cells(options)
    }

    ablation = [("propos", ""), ("hadis", "without_pcl"), ("hadis", "")]
    diffusion = [("hadis", f"latent_std_{value}") for value in ("0", "0.01", "0.1")]
    assert set(cells) == {
        *(("cifar10", *row) for row in ablation + diffusion),
        *(("imagenet10", *row) for row in ablation),
    }
    without_pcl = cells["imagenet10", "hadis", "without_pcl"].model
    assert (without_pcl.hsd_weight, without_pcl.pcl_weight) == (1.0, 0.0)
    without_hsd = cells["imagenet10", "propos", ""].model
    assert (without_hsd.hsd_weight, without_hsd.pcl_weight) == (0.0, 0.05)
    stds = [settings.model.latent_std for settings in cells.values()]
    assert sorted(set(stds)) == [0, 0.001, 0.01, 0.1]
    assert len({settings.output_dir for settings in cells.values()}) == len(cells)


def test_methods_keep_their_own_settings() -> None:
    from table_cells import Cell, settings_of

    options = options_of("methods=cc", "datasets=cifar10", "trainer.max_epochs=200",
                         "root=/data", "path.cifar20=/else/cifar100.npz")  # fmt: skip
    cc = settings_of(Cell("cc", "cifar10", 4), options)
    assert (cc.method, cc.seed, cc.trainer.max_epochs) == ("cc", 4, 200)
    assert cc.optimizer.learning_rate == pytest.approx(3e-4)
    assert (cc.data.source, cc.data.path) == ("cifar10", "/data/cifar10")
    hadis = settings_of(Cell("hadis", "cifar20", 0), options)
    assert (hadis.data.source, hadis.data.path) == ("npz", "/else/cifar100.npz")
    assert hadis.model.pcl_weight == 0.05


@pytest.mark.parametrize("method", ["kmeans", "spectral", "agglomerative", "nmf"])
def test_methods_of_pixels_find_clear_clusters(method: str, tmp_path: Path) -> None:
    from pixel_methods import run_on_pixels
    from table_cells import Cell, settings_of

    labels = np.arange(120) % 4
    # Each class is bright in a quarter of its own; larger than what is clustered.
    images = np.random.default_rng(0).integers(0, 40, (120, 40, 40, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        y, x = 20 * (label // 2), 20 * (label % 2)
        images[i, y : y + 20, x : x + 20] += 180
    file = tmp_path / "images.npz"
    np.savez(file, images=images, labels=labels)
    options = options_of(f"methods={method}", "datasets=small_cifar10", "n_clusters=4",
                         f"path.small_cifar10={file}",
                         "trainer.progress_bar=false")  # fmt: skip
    settings = settings_of(Cell(method, "small_cifar10", 0), options)
    settings.output_dir = str(tmp_path / "run")

    run_on_pixels(method, settings)

    text = (tmp_path / "run" / "results.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert content["scores"] == pytest.approx({"nmi": 1, "acc": 1, "ari": 1})
    assert content["images"] == 120
    assert content["seconds"] > 0


def test_pixels_are_squeezed(tmp_path: Path) -> None:
    from pixel_methods import pixels_of

    from hadis_lightly.data import load_source

    digits = load_source("digits", limit=20)
    assert pixels_of(digits).shape == (20, 64)
    images = np.full((3, 64, 48, 3), 255, dtype=np.uint8)
    np.savez(tmp_path / "large.npz", images=images)
    pixels = pixels_of(load_source("npz", tmp_path / "large.npz"))
    assert pixels.shape == (3, 32 * 32 * 3)
    assert (pixels == 1).all()


def test_commands_of_the_page() -> None:
    from table_cells import needed_cells

    files = sorted(EXAMPLES.glob("tables*.sh"))
    assert files
    for path in files:
        for line in shell_lines(path.read_text(encoding="utf-8")):
            assert line.program == "python benchmarks/paper_tables.py"
            needed_cells(options_of(*line.argv))


def test_help_names_all_options() -> None:
    import table_options

    said = tables("--help")
    assert said.status == 0
    for name in (*table_options._OPTIONS, *table_options.METHODS):
        assert name in said.tables
    for name in table_options.DATASETS:
        assert name in said.tables
