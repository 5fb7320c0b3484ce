"""One setting chooses the method, and brings the settings of its paper along."""

from __future__ import annotations

import ast
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hadis_lightly
from hadis_lightly.cluster import HeadPartition, PrototypePartition
from hadis_lightly.methods.hadis import HaDisMethod
from hadis_lightly.methods.pici import PICIMethod
from hadis_lightly.methods.registry import (
    build_model,
    check_run,
    method_of,
    paper_settings,
    with_method,
)
from hadis_lightly.models import CCModel, HaDisModel, PICIModel
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    ModelSettings,
    Settings,
    SettingsError,
    ViewSettings,
)
from hadis_lightly.settings.changes import flat_settings
from hadis_lightly.settings.papers import METHOD_NAMES
from hadis_lightly.settings.sections import PICISettings

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
    assert pici.trainer.max_epochs == 1050 and PICIMethod().phases(pici) == (200, 50)
    sizes = pici.pici
    assert (sizes.patch_size, sizes.mask_ratio) == (16, 0.5)
    assert (sizes.width, sizes.depth, sizes.num_heads) == (384, 6, 12)
    decoder = (sizes.decoder_width, sizes.decoder_depth, sizes.decoder_num_heads)
    assert decoder == (512, 8, 16)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1050, (200, 50)), (105, (20, 5)), (10, (2, 1)), (1, (0, 0))],
)
def test_phases_keep_their_proportions(epochs: int, expected: tuple[int, int]) -> None:
    settings = with_method(Settings(), "pici", {"trainer.max_epochs": epochs})
    phases = PICIMethod().phases
    assert phases(settings) == expected
    settings.pici.interaction_epochs = 1
    assert phases(settings) == (expected[0], 1)
    settings.pici.pretraining_epochs = 0
    assert phases(settings) == (0, 1)


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
    with pytest.raises(SettingsError, match=names):
        with_method(Settings(), "dec")
    with pytest.raises(SettingsError, match=names):
        check_run(Settings(method="dec"))
    for name in ("epochs", "trainer.epochs", "nothing.epochs"):
        with pytest.raises(SettingsError, match=f"there is no setting '{name}'"):
            with_method(Settings(), "cc", {name: 1})


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("cc", {"optimizer.learning_rate": 0.05}, "must be <= 0.02 for method=cc"),
        ("cc", {"contrast.instance_temperature": 0.0}, "contrast.instance_temperature"),
        (
            "pici",
            {"model.train": "nothing", "model.weights": "a.pth"},
            "model.train=nothing clusters by k-means alone: it goes with method=hadi",
        ),
        ("pici", {"model.weights": "a.pth"}, "model.weights is for a backbone by name"),
        ("pici", {"model.backbone": "small_resnet18"}, "model.backbone must be masked"),
        (
            "pici",
            {"pici.patch_size": 5},
            "views.input_size must be a multiple of pici.patch_size=5, got 32",
        ),
        (
            "pici",
            {"pici.pretraining_epochs": 9, "pici.interaction_epochs": 2}
            | {"trainer.max_epochs": 10},
            "together must be <= the 10 epochs of the run, got 11",
        ),
        ("byol", {"model.pcl_weight": 0.1}, "model.pcl_weight must be 0 for method=by"),
        ("hadis", {"model.backbone": "masked_vit"}, "model.backbone=masked_vit goes"),
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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pici.width": 18}, "width"),
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
    has_head = method in ("cc", "pici")
    assert found.partition_type is (HeadPartition if has_head else PrototypePartition)
    assert found.optimizer == ("Adam" if has_head else "SGD")
    clusters = found.build_callback(settings, [])
    assert clusters.n_clusters == 10
    # CC has no warm-up, that of PICI is its first phase, here of no epochs.
    assert clusters.warmup_epochs == (0 if has_head else 1)
    if has_head:
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
    frozen = ModelSettings(train="nothing", backbone="resnet18")
    assert method.title(Settings(model=frozen)) == "k-means on resnet18"


HADIS_FILES = (
    "loss/hadis_loss.py", "loss/hsd_loss.py", "loss/pcl_loss.py", "loss/dsa_loss.py",
    "models/hadis_model.py", "training/hadis.py",
    "methods/hadis.py", "training/prototype_kmeans.py",
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


@pytest.mark.parametrize(
    ("method", "train", "reason"),
    [
        ("cc", "all", "method=cc compares two views"),
        ("pici", "all", "method=pici compares two views"),
        ("hadis", "heads", "model.train=heads has features.n_views"),
    ],
)
def test_more_views_where_there_can_be_none(
    method: str, train: str, reason: str
) -> None:
    for name, value in (("n_views", 3), ("n_local_views", 1)):
        settings = with_method(tiny("hadis"), method)
        settings.model.train, settings.model.backbone = train, "pixels"
        setattr(settings.views, name, value)
        with pytest.raises(SettingsError, match=f"^views.{name} must be .*: {reason}"):
            check_run(settings)


def test_a_backbone_that_takes_views_of_one_size_alone() -> None:
    settings = tiny("hadis")
    settings.model.backbone = "small_convnet"
    settings.views.n_local_views = 2
    message = (
        "^views.n_local_views is 2, but model.backbone=small_convnet does not give"
    )
    with pytest.raises(SettingsError, match=message):
        build_model(settings, 1)
    settings.views.local_crop_size = settings.views.size_px
    build_model(settings, 1)
    settings.views.local_crop_size = None
    settings.model.backbone = "small_pooled_convnet"
    build_model(settings, 1)


def test_without_a_predictor_the_coding_rate_is_needed() -> None:
    settings = tiny("hadis")
    settings.model.predictor = False
    with pytest.raises(SettingsError, match=r"^model.predictor=false needs model\.cod"):
        check_run(settings)
    settings.model.coding_rate_weight = 0.01
    check_run(settings)
    model = build_model(settings, 1)
    assert isinstance(model, HaDisModel)
    z, p = model.forward_student(torch.rand(4, 1, 16, 16), diffuse=False)
    assert torch.equal(z, p)
