"""One setting chooses the method: what it brings along, and whole runs of each."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import hadis_lightly
from hadis_lightly.artifacts import RunResult
from hadis_lightly.artifacts.checkpoint import read_checkpoint
from hadis_lightly.cluster import HeadPartition, PrototypePartition, clustering_scores
from hadis_lightly.methods.hadis import HaDisMethod
from hadis_lightly.methods.pici import phases_of
from hadis_lightly.methods.registry import (
    build_model,
    check_run,
    method_of,
    paper_settings,
    with_method,
)
from hadis_lightly.models import CCModel, HaDisModel, PICIModel
from hadis_lightly.runs import run
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    ModelSettings,
    Settings,
    SettingsError,
    ViewSettings,
)
from hadis_lightly.settings.changes import flat_settings
from hadis_lightly.settings.sections import METHOD_NAMES, PICISettings
from tests.forked_lines import Lines

PACKAGE = Path(hadis_lightly.__file__).parent
TITLES = {
    "hadis": "HaDis", "propos": "ProPos", "byol": "BYOL", "cc": "CC", "pici": "PICI",
}  # fmt: skip
N = 200


def tiny(method: str, folder: Path | None = None, **trainer: Any) -> Settings:
    """Settings of a run of seconds on digits."""
    settings = Settings(
        n_clusters=10,
        output_dir=None if folder is None else str(folder),
        quiet=True,
        data=DataSettings(source="digits", limit=N),
        views=ViewSettings(
            input_size=16,
            cj_sat=0.0,
            cj_hue=0.0,
            random_gray_scale=0.0,
            mean=[0.3],
            std=[0.38],
        ),
        model=ModelSettings(backbone="small_convnet", hidden_dim=32, output_dim=16),
        pici=PICISettings(
            patch_size=4,
            width=16,
            depth=1,
            num_heads=2,
            decoder_width=16,
            decoder_depth=1,
            decoder_num_heads=2,
            pretraining_epochs=0,
            interaction_epochs=1,
        ),
        clustering=ClusteringSettings(warmup_epochs=1, n_init=2),
    )
    options = {"max_epochs": 2, "accelerator": "cpu", "logger": "none"}
    options |= {"progress_bar": False, **trainer}
    own: dict[str, Any] = {f"trainer.{name}": x for name, x in options.items()}
    own["loader.batch_size"] = 50
    return with_method(settings, method, own)


# What a method brings along.


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_method_changes_the_settings_of_its_paper_and_no_others(method: str) -> None:
    settings = Settings(seed=3, data=DataSettings(source="digits"))
    changed = flat_settings(asdict(with_method(settings, method)))
    expected = flat_settings(asdict(settings))
    brought = paper_settings(method)
    assert changed == {**expected, "method": method, **brought}
    assert brought.keys() <= expected.keys()


def test_the_settings_of_the_papers() -> None:
    assert paper_settings("hadis") == {}
    assert paper_settings("propos") == {"model.hsd_weight": 0.0}
    assert paper_settings("byol") == {"model.hsd_weight": 0.0, "model.pcl_weight": 0.0}
    cc = with_method(Settings(), "cc")
    assert (cc.loader.batch_size, cc.optimizer.learning_rate) == (256, 3e-4)
    assert (cc.optimizer.weight_decay, cc.optimizer.warmup_epochs) == (0, 0)
    assert cc.trainer.max_epochs == 1000
    contrast = (cc.contrast.instance_temperature, cc.contrast.cluster_temperature)
    assert (*contrast, cc.contrast.output_dim) == (0.5, 1.0, 128)
    pici = with_method(Settings(), "pici")
    assert (pici.loader.batch_size, pici.optimizer.learning_rate) == (96, 1e-4)
    assert (pici.optimizer.weight_decay, pici.optimizer.warmup_epochs) == (0, 0)
    assert pici.trainer.max_epochs == 1050 and phases_of(pici) == (200, 50)
    sizes = pici.pici
    assert (sizes.patch_size, sizes.mask_ratio) == (16, 0.5)
    assert (sizes.width, sizes.depth, sizes.num_heads) == (384, 6, 12)
    decoder = (sizes.decoder_width, sizes.decoder_depth, sizes.decoder_num_heads)
    assert decoder == (512, 8, 16)


@pytest.mark.parametrize(
    ("epochs", "phases"), [(1050, (200, 50)), (105, (20, 5)), (10, (2, 1)), (1, (0, 0))]
)
def test_phases_keep_their_proportions(epochs: int, phases: tuple[int, int]) -> None:
    settings = with_method(Settings(), "pici", {"trainer.max_epochs": epochs})
    assert phases_of(settings) == phases
    settings.pici.interaction_epochs = 1
    assert phases_of(settings) == (phases[0], 1)
    settings.pici.pretraining_epochs = 0
    assert phases_of(settings) == (0, 1)


def test_own_values_win_over_those_of_the_paper() -> None:
    own = {"optimizer.learning_rate": 1e-3, "n_clusters": 7, "views.mean": [0.5]}
    settings = Settings()
    changed = with_method(settings, "cc", own)
    assert changed.optimizer.learning_rate == 1e-3 and changed.n_clusters == 7
    assert changed.loader.batch_size == 256 and changed.optimizer.weight_decay == 0
    own["views.mean"].append(0.1)  # type: ignore[attr-defined]
    assert changed.views.mean == [0.5]
    assert settings == Settings()  # as they were


def test_no_such_method_and_no_such_setting() -> None:
    names = re.escape("method must be one of hadis, propos, byol, cc, pici, got 'dec'")
    for call in (
        lambda: with_method(Settings(), "dec"),
        lambda: paper_settings("dec"),
        lambda: method_of(Settings(method="dec")),
        lambda: check_run(Settings(method="dec")),
        lambda: build_model(Settings(method="dec"), 3),
    ):
        with pytest.raises(SettingsError, match=names):
            call()
    for name in ("epochs", "trainer.epochs", "nothing.epochs", "seed.more", "a.b.c"):
        with pytest.raises(SettingsError, match=f"there is no setting '{name}'"):
            with_method(Settings(), "cc", {name: 1})


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("cc", {"optimizer.learning_rate": 0.05}, "must be <= 0.02 for method=cc"),
        ("pici", {"optimizer.learning_rate": 0.05}, "must be <= 0.02 for method=pici"),
        ("cc", {"optimizer.learning_rate": 0.0}, "optimizer.learning_rate must be > 0"),
        ("cc", {"contrast.instance_temperature": 0.0}, "contrast.instance_temperature"),
        ("pici", {"contrast.cluster_temperature": -1.0}, "contrast.cluster_temperatur"),
        (
            "cc",
            {"model.freeze_backbone": True, "model.weights": "a.pth"},
            "model.freeze_backbone clusters by k-means alone: it goes with method=hadi",
        ),
        (
            "pici",
            {"model.freeze_backbone": True, "model.weights": "a.pth"},
            "model.freeze_backbone",
        ),
        ("pici", {"model.weights": "a.pth"}, "model.weights is for a backbone by name"),
        (
            "pici",
            {"model.backbone": "small_resnet18"},
            "model.backbone must be masked_",
        ),
        (
            "pici",
            {"pici.patch_size": 5},
            "views.input_size must be a multiple of pici.patch_size=5, got 32",
        ),
        ("pici", {"pici.patch_size": 0}, "pici.patch_size must be >= 1, got 0"),
        ("pici", {"pici.mask_ratio": 1.5}, "pici.mask_ratio must be <= 1, got 1.5"),
        (
            "pici",
            {"pici.pretraining_epochs": 1000, "pici.interaction_epochs": 51},
            "together must be <= trainer.max_epochs=1050, got 1051",
        ),
        (
            "pici",
            {"pici.pretraining_epochs": 11, "trainer.max_epochs": 10},
            "together must be <= trainer.max_epochs=10, got 12",
        ),
        (
            "propos",
            {"model.hsd_weight": 1.0},
            "model.hsd_weight must be 0 for method=p",
        ),
        (
            "byol",
            {"model.pcl_weight": 0.1},
            "model.pcl_weight must be 0 for method=byo",
        ),
    ],
)
def test_what_does_not_go_with_a_method_is_named(
    method: str, changes: dict[str, Any], message: str
) -> None:
    settings = with_method(Settings(), method, changes)
    with pytest.raises(SettingsError, match=re.escape(message)):
        check_run(settings)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_settings_of_a_paper_are_possible(method: str) -> None:
    check_run(with_method(Settings(), method))
    check_run(tiny(method))


def test_settings_of_hadis_under_another_name_say_how_to_get_those_of_the_paper() -> (
    None
):
    with pytest.raises(SettingsError, match=r"with_method\(settings, 'cc'\) brings"):
        check_run(replace(Settings(), method="cc"))


@pytest.mark.parametrize("method", ["hadis", "propos", "byol", "cc"])
def test_the_network_of_pici_is_for_pici_alone(method: str) -> None:
    settings = with_method(Settings(), method, {"model.backbone": "masked_vit"})
    with pytest.raises(SettingsError, match=r"model\.backbone"):
        check_run(settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pici.width": 18}, "width"),
        ({"pici.num_heads": 3}, "num_heads=3"),
        ({"pici.decoder_width": 18}, "decoder_width"),
        ({"pici.mask_ratio": 0.0}, "mask_ratio"),
        ({"pici.mask_ratio": 0.99}, "mask_ratio"),
    ],
)
def test_networks_that_cannot_be_built_are_named(
    changes: dict[str, Any], words: str
) -> None:
    settings = with_method(tiny("pici"), "pici", changes | {"loader.batch_size": 8})
    with pytest.raises(SettingsError, match=f"method=pici: .*{words}"):
        build_model(settings, 1)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_models_and_clusters_of_the_methods(method: str) -> None:
    settings = tiny(method)
    model = build_model(settings, 1)
    kind = {"cc": CCModel, "pici": PICIModel}.get(method, HaDisModel)
    assert type(model) is kind
    found = method_of(settings)
    is_online = method in ("cc", "pici")
    assert found.partition_type is (HeadPartition if is_online else PrototypePartition)
    assert found.optimizer == ("Adam" if is_online else "SGD")
    clusters = found.build_callback(settings, [])
    assert clusters.n_clusters == 10
    # CC has no warm-up, that of PICI is its first phase, here of no epochs.
    assert found.warmup_epochs(settings) == (0 if is_online else 1)
    if is_online:
        assignments = model.embed_and_assign(torch.zeros(3, 1, 16, 16))[1]
        assert assignments.shape == (3, 10)


def test_titles_of_hadis_are_of_the_terms_that_are_left() -> None:
    for method, title in TITLES.items():
        settings = with_method(Settings(), method)
        assert method_of(settings).title(settings) == title
    method = HaDisMethod()
    for hsd_weight, pcl_weight, title in (
        (1.0, 0.1, "HaDis"),
        (0.0, 0.1, "ProPos"),
        (1.0, 0.0, "HaDis without PCL"),
        (0.0, 0.0, "BYOL"),
    ):
        model = ModelSettings(hsd_weight=hsd_weight, pcl_weight=pcl_weight)
        assert method.title(Settings(model=model)) == title
    frozen = ModelSettings(freeze_backbone=True, backbone="resnet18")
    assert method.title(Settings(model=frozen)) == "k-means on resnet18"


# HaDis knows none of the others.

HADIS_FILES = (
    "loss/hadis_loss.py", "loss/hsd_loss.py", "loss/pcl_loss.py", "loss/dsa_loss.py",
    "models/hadis_model.py", "models/heads.py", "training/hadis.py",
    "methods/hadis.py", "training/prototype_kmeans.py",
    "training/symmetric_terms.py",
)  # fmt: skip
OTHERS = re.compile(
    r"(?<![a-z])(cc|pici)(?![a-z])|contrastive.?clustering|cluster.?head"
)


@pytest.mark.parametrize("name", HADIS_FILES)
def test_no_file_of_hadis_knows_the_others(name: str) -> None:
    source = (PACKAGE / name).read_text(encoding="utf-8")
    assert OTHERS.findall(source.lower()) == []
    identifiers = {
        re.sub("([a-z])([A-Z])", r"\1_\2", node.id).lower()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name)
    }
    assert [found for found in identifiers if OTHERS.search(found)] == []


def test_the_search_would_find_the_others() -> None:
    for text in ("cc_loss", "method=cc", "CCLoss".lower()[:2], "(pici)", "import pici"):
        assert OTHERS.search(text)
    for text in ("contrastive clustering", "contrastive_clustering", "cluster head"):
        assert OTHERS.search(text)
    assert not OTHERS.search("acc accuracy accelerator picies cluster/acc")


# The command line.

OWN = """
import json
from dataclasses import asdict
from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings import DataSettings, LoaderSettings, Settings

SETTINGS = Settings(
    data=DataSettings(source="digits"), loader=LoaderSettings(batch_size=64)
)
METHODS = {"cc": {"optimizer.learning_rate": 1e-3, "trainer.max_epochs": 70}}

if __name__ == "__main__":
    launch(
        SETTINGS,
        name="own",
        description="Mine.",
        task=lambda settings: print(json.dumps(asdict(settings))),
        methods=METHODS,
    )
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "own.py").write_text(OWN)
    server = Lines(folder, folder)
    yield server
    server.close()


def composed(lines: Lines, *argv: str) -> list[dict[str, Any]]:
    """The settings of all runs that a command line asks the own recipe for."""
    done = lines.run(str(lines.out.parent / "own"), list(argv))
    assert (done.status, done.errors) == (0, ""), done.errors
    rows = [line for line in done.output.splitlines() if line.startswith("{")]
    return [flat_settings(json.loads(row)) for row in rows]


def test_a_method_brings_its_settings_along(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path
    (plain,) = composed(lines)
    assert plain["method"] == "hadis" and plain["loader.batch_size"] == 64
    (again,) = composed(lines, "method=hadis")
    differ = {name for name in plain if plain[name] != again[name]}
    assert differ <= {"output_dir"}
    (byol,) = composed(lines, "method=byol")
    assert (byol["model.hsd_weight"], byol["model.pcl_weight"]) == (0, 0)
    (pici,) = composed(lines, "method=pici")
    assert {name: pici[name] for name in paper_settings("pici")} == paper_settings(
        "pici"
    )
    # Of a method that the recipe has settings for, they win over the paper's.
    (cc,) = composed(lines, "method=cc")
    assert (cc["method"], cc["loader.batch_size"]) == ("cc", 256)
    assert (cc["optimizer.learning_rate"], cc["trainer.max_epochs"]) == (1e-3, 70)
    # What is not of the method stays the recipe's.
    assert cc["data.source"] == "digits"


@pytest.mark.parametrize("first", ["method", "setting"])
def test_what_is_given_wins_wherever_it_stands(
    lines: Lines, tmp_path: Path, first: str
) -> None:
    lines.cwd = tmp_path
    given = ["optimizer.learning_rate=2e-4", "loader.batch_size=32", "data.limit=99"]
    argv = ["method=cc", *given] if first == "method" else [*given, "method=cc"]
    (found,) = composed(lines, *argv)
    assert found["optimizer.learning_rate"] == 2e-4
    assert (found["loader.batch_size"], found["data.limit"]) == (32, 99)
    assert (found["optimizer.weight_decay"], found["trainer.max_epochs"]) == (0, 70)


def test_each_run_of_a_sweep_has_the_settings_of_its_method(
    lines: Lines, tmp_path: Path
) -> None:
    lines.cwd = tmp_path
    found = composed(lines, "--multirun", "method=hadis,cc,pici", "n_clusters=3")
    assert [row["method"] for row in found] == ["hadis", "cc", "pici"]
    assert [row["loader.batch_size"] for row in found] == [64, 256, 96]
    assert [row["optimizer.learning_rate"] for row in found] == [0.05, 1e-3, 1e-4]
    assert {row["n_clusters"] for row in found} == {3}


@pytest.mark.parametrize("recipe", ["digits", "own"])
def test_cfg_job_shows_the_settings_of_the_method(
    lines: Lines, tmp_path: Path, recipe: str
) -> None:
    lines.cwd = tmp_path
    name = str(lines.out.parent / "own") if recipe == "own" else recipe
    argv = ["--cfg", "job", "method=cc", "optimizer.weight_decay=0.125"]
    done = lines.run(name, argv)
    assert (done.status, done.errors) == (0, "")
    assert re.search("^method: cc$", done.output, re.MULTILINE)
    assert "weight_decay: 0.125" in done.output
    assert "warmup_epochs: 0" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["method=dec"], ["method must be one of byol, cc, ", "got 'dec'"]),
        (["method=null"], ["method must be one of", "got 'null'"]),
        (["method=[cc,pici]"], ["method must be one of", "got '[cc,pici]'"]),
        (["method=cc", "method=pici"], ["method is given twice"]),
        (["methods=cc"], ["methods", "did you mean method?"]),
        (["method=cc", "optimizer.learning_rate=0.5"], ["0.02", "Adam", "got 0.5"]),
        (["method=pici", "model.backbone=small_convnet"], ["model.backbone", "pici"]),
        (["method=pici", "pici.patch_size=3"], ["pici.patch_size=3", "got 16"]),
        (["method=byol", "model.pcl_weight=0.1"], ["model.pcl_weight must be 0"]),
        (["--multirun", "method=hadis,dec"], ["method must be one of", "'dec'"]),
    ],
)
def test_a_wrong_method_is_one_line_and_status_2(
    lines: Lines, tmp_path: Path, argv: list[str], words: list[str]
) -> None:
    lines.cwd = tmp_path
    done = lines.run("digits", argv)
    assert done.status == 2 and done.output == ""
    assert done.errors.startswith("error: ") and done.errors.count("\n") == 1
    for word in words:
        assert word in done.errors
    assert "Traceback" not in done.errors
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_methods(lines: Lines) -> None:
    done = lines.run("digits", ["--help"])
    assert done.status == 0
    assert "method=cc" in done.output
    assert "hadis, propos, byol, cc, pici" in " ".join(done.output.split())


# Whole runs.


_SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("hadis", "propos")]


@pytest.fixture(scope="module", params=["byol", "cc", "pici", *_SLOW])
def result(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RunResult:
    folder = tmp_path_factory.mktemp("runs") / request.param
    return run(tiny(request.param, folder))


def test_every_method_runs_from_end_to_end(result: RunResult) -> None:
    folder = result.output_dir
    content = json.loads((folder / "results.json").read_text())
    method = content["settings"]["method"]
    assert content["method"] == result.method == TITLES[method]
    assert content["scores"] == result.scores and result.epochs == 2
    expected = flat_settings(asdict(tiny(method, folder)))
    assert flat_settings(content["settings"]) == expected
    pictures = {"clusters.png", "confusion.png", "curves.png", "map.png"}
    assert {path.name for path in result.figures} == pictures
    assert all(path.is_file() for path in result.figures)
    assert f"method: {method}" in (folder / "settings.yaml").read_text()


def test_assignments_are_the_clusters_that_were_scored(result: RunResult) -> None:
    with (result.output_dir / "assignments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N
    digits = load_digits().target
    for row in rows:
        assert int(row["target"]) == digits[int(row["key"])]
        assert 0 < float(row["confidence"]) <= 1
        assert 0 <= float(row["distance"]) <= 2
    labels = [int(row["cluster"]) for row in rows]
    targets = [int(row["target"]) for row in rows]
    assert clustering_scores(targets, labels) == result.scores
    embeddings = np.load(result.output_dir / "embeddings.npy")
    lengths = np.linalg.norm(embeddings.astype(np.float32), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


def test_losses_are_logged_under_the_names_of_the_method(result: RunResult) -> None:
    with (result.output_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {name[6:] for name in rows[0] if name.startswith("train/loss")}
    terms = {
        "CC": {"instance", "cluster"},
        "PICI": {"reconstruction", "instance", "cluster", "interaction"},
    }.get(result.method, {"dsa", "hsd", "pcl"})
    assert names == {"loss"} | {f"loss_{term}" for term in terms}
    losses = [row for row in rows if row["train/loss"]]
    assert len(losses) == 2
    if result.method == "PICI":
        found = [float(row["train/loss_reconstruction"]) > 0 for row in losses]
        assert found == [True, False]
        found = [float(row["train/loss_interaction"]) > 0 for row in losses]
        assert found == [False, True]


def test_the_checkpoint_is_plain_and_knows_its_method(result: RunResult) -> None:
    path = result.output_dir / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    method = checkpoint["hyper_parameters"]["method"]
    assert TITLES[method] == result.method
    assert read_checkpoint(path)["hadis_lightly"]["settings"]["method"] == method
    names = {"ClusterHeadAssignment", "PrototypeKMeans"} & set(checkpoint["callbacks"])
    is_online = method in ("cc", "pici")
    assert names == {"ClusterHeadAssignment" if is_online else "PrototypeKMeans"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cc", "pici"])
def test_the_same_seed_gives_the_same_run(method: str, tmp_path: Path) -> None:
    made = [
        run(replace(tiny(method, tmp_path / str(number)), seed=seed))
        for number, seed in enumerate((0, 0, 1))
    ]
    tables = [(r.output_dir / "assignments.csv").read_bytes() for r in made]
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.slow
def test_a_sweep_over_methods_trains_each(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path
    done = lines.run(
        "digits",
        [
            "--multirun", "method=hadis,cc", "data.limit=150", "loader.batch_size=50",
            "trainer.max_epochs=1", "model.hidden_dim=32", "model.output_dim=16",
            "clustering.n_init=2", "quiet=true", "trainer.logger=none",
            "hydra.sweep.dir=sweep",
        ],
    )  # fmt: skip
    assert (done.status, done.output, done.errors) == (0, "", "")
    for number, (title, rate) in enumerate((("HaDis", 0.56), ("CC", None))):
        folder = tmp_path / "sweep" / str(number)
        content = json.loads((folder / "results.json").read_text())
        assert content["method"] == title
        found = content["settings"]["optimizer"]["learning_rate"]
        assert found == rate if rate is not None else found <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cc", "pici"])
@pytest.mark.parametrize(
    "changes",
    [
        {"data.pipeline": "workers", "loader.num_workers": 1},
        {"data.pipeline": "lightly", "loader.num_workers": 1},
        {"trainer.precision": "bf16-mixed"},
        {"trainer.precision": "64-true"},
        {"loader.even_clusters": True},
        {"trainer.log_every_n_steps": 1},
    ],
    ids=lambda changes: str(next(iter(changes.items()))),
)
def test_engines_precisions_and_even_clusters(
    method: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    settings = with_method(tiny(method), method, changes)
    settings.loader.batch_size, settings.trainer.max_epochs = 50, 2
    settings.output_dir = str(tmp_path / "run")
    result = run(settings)
    assert set(result.scores) == {"nmi", "acc", "ari"}
    assert result.method == TITLES[method]
