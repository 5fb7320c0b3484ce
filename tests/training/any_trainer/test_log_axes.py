"""Scores lie on the axes of Lightning's own metrics, in every kind of training."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

from hadis_lightly.training import PrototypeKMeans
from tests.training.any_trainer.parts import Net, fit, k_means


class TwoOptimizers(Net):
    """The same training, by hand and with an optimiser for each part."""

    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizers: Any = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        parts = self.net, self.classify
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in parts]


class Compiled(Net):
    """The same training with a compiled network."""

    def __init__(self, prototypes: PrototypeKMeans) -> None:
        super().__init__(prototypes)
        self.net.compile(backend="eager")


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def axes(rows: list[dict[str, str]], name: str) -> list[tuple[int, int]]:
    """Step and epoch of every value of a metric."""
    return [(int(row["step"]), int(row["epoch"])) for row in rows if row[name]]


def logged(folder: Path, module: type[Net] = Net, **options: Any) -> tuple[Any, Any]:
    prototypes = k_means()
    logger = CSVLogger(folder, name="", version="")
    torch.manual_seed(0)
    fit(prototypes, module(prototypes), max_epochs=3, logger=logger, **options)
    return prototypes, rows_of(folder)


# Four batches an epoch.
PLAIN = [(3, 0), (7, 1), (11, 2)]


@pytest.mark.parametrize("val", [False, True])
def test_scores_stand_beside_the_losses_of_their_epoch(
    tmp_path: Path, val: bool
) -> None:
    prototypes, rows = logged(tmp_path, val=val)
    assert axes(rows, "train/loss") == PLAIN
    # The clusters of the untrained network come before.
    assert axes(rows, "cluster/acc") == [(0, 0), *PLAIN]
    seen = [float(row["cluster/acc"]) for row in rows if row["cluster/acc"]]
    wanted = [entry["acc"] for entry in prototypes.history_]
    assert seen == pytest.approx(wanted)
    assert axes(rows, "cluster/silhouette") == [(0, 0), *PLAIN]


def test_epochs_without_a_clustering_log_no_scores(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    fit(k_means(every_n_epochs=2), max_epochs=3, logger=logger)
    assert axes(rows_of(tmp_path), "cluster/acc") == [(0, 0), (7, 1), (11, 2)]


@pytest.mark.parametrize("module", [TwoOptimizers, Compiled])
def test_another_way_to_the_same_steps_has_the_same_labels_and_axes(
    tmp_path: Path, module: type[Net]
) -> None:
    plain, plain_rows = logged(tmp_path / "plain")
    other, rows = logged(tmp_path / "other", module)
    assert torch.equal(other.labels_, plain.labels_)
    for name in ("train/loss", "cluster/acc"):
        assert axes(rows, name) == axes(plain_rows, name)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"precision": "bf16-mixed"}, PLAIN),
        # One step an epoch, as Lightning counts them for losses.
        ({"accumulate_grad_batches": 4}, [(0, 0), (1, 1), (2, 2)]),
    ],
)
def test_other_steps_have_their_own_axes(
    tmp_path: Path, options: dict[str, Any], steps: list[tuple[int, int]]
) -> None:
    prototypes, rows = logged(tmp_path, **options)
    assert axes(rows, "train/loss") == steps
    assert axes(rows, "cluster/acc") == [(0, 0), *steps]
    # Embeddings come in the run's precision, clusters are found in float32.
    assert prototypes.embeddings_.dtype == torch.float32
    assert prototypes.scores_["acc"] > 0.5


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler")
def test_a_network_compiled_to_code_has_the_same_labels(tmp_path: Path) -> None:
    class ToCode(Net):
        def __init__(self, prototypes: PrototypeKMeans) -> None:
            super().__init__(prototypes)
            self.net.compile(dynamic=False)

    plain, _ = logged(tmp_path / "plain")
    other, rows = logged(tmp_path / "other", ToCode)
    assert float((other.labels_ == plain.labels_).float().mean()) > 0.99
    assert axes(rows, "cluster/acc") == [(0, 0), *PLAIN]


def test_scores_are_in_lightnings_progress_bar() -> None:
    prototypes = k_means()
    trainer = fit(
        prototypes, None, TQDMProgressBar(), max_epochs=1, enable_progress_bar=True
    )
    shown = trainer.progress_bar_metrics
    assert {"cluster/nmi", "cluster/acc", "cluster/ari"} <= set(shown)
    assert not any("size" in name for name in shown)


def test_the_same_seeds_give_the_same_labels() -> None:
    first, second = k_means(), k_means()
    fit(first, max_epochs=2)
    fit(second, max_epochs=2)
    torch.testing.assert_close(
        F.normalize(first.embeddings_), F.normalize(second.embeddings_)
    )
    assert torch.equal(first.labels_, second.labels_)
