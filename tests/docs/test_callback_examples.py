"""PrototypeKMeans in lightly's own examples: few lines, scores, and it resumes."""

from __future__ import annotations

import re
from functools import partialmethod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from hadis_lightly.training import PrototypeKMeans
from tests.docs.shell_lines import EXAMPLES, ROOT, blocks
from tests.docs.test_examples import load, quiet
from tests.training.any_trainer.parts import fit, k_means

NAMES = ["clusters_byol", "clusters_simclr", "clusters_fastsiam", "clusters_dino"]
NUM_IMAGES, BATCH_SIZE, NUM_EPOCHS = 40, 20, 3
# Every line of the callback has one of them.
_ADDED = re.compile(r"hadis_lightly|PrototypeKMeans|plain = ")

lightlys = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")


@pytest.fixture
def folder(one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits in a folder per class."""
    monkeypatch.chdir(tmp_path)  # Lightning logs and saves where it runs
    pl.seed_everything(0, verbose=False)
    digits = load_digits()
    for i in range(NUM_IMAGES):
        place = tmp_path / "digits" / str(digits.target[i])
        place.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[i] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).resize((24, 24)).save(place / f"{i}.png")
    return tmp_path / "digits"


class Watched(PrototypeKMeans):
    """Keeps the clusters with which it starts to train."""

    at_start: Tensor

    def on_train_start(self, *args: Any) -> None:
        super().on_train_start(*args)
        self.at_start = self.labels_.clone()


def train(example: ModuleType, folder: Path, max_epochs: int) -> pl.Trainer:
    module = example.main(str(folder), 16, BATCH_SIZE, max_epochs, num_workers=0)
    trainer: pl.Trainer = module.trainer
    assert trainer.current_epoch == max_epochs
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    return trainer


def clusters_of(trainer: pl.Trainer) -> Watched:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    (found,) = (each for each in callbacks if isinstance(each, Watched))
    return found


def logged(trainer: pl.Trainer, name: str) -> list[tuple[int, float]]:
    """Step and value of a metric in Lightning's default log."""
    log = EventAccumulator(str(trainer.log_dir)).Reload()
    return [(event.step, event.value) for event in log.Scalars(name)]


@quiet
@lightlys
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("name", NAMES)
def test_an_example_with_the_callback_is_scored_saved_and_resumed(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = load(name)
    monkeypatch.setattr(example, "PrototypeKMeans", Watched)
    trainer = train(example, folder, NUM_EPOCHS)
    before = clusters_of(trainer)
    assert [row["epoch"] for row in before.history_] == [0, 1, 2, 3]
    assert sorted(before.targets_.unique()) == list(range(10))
    steps = NUM_IMAGES // BATCH_SIZE
    rows = logged(trainer, "cluster/nmi")
    assert [step for step, _ in rows] == [0, *(steps * e - 1 for e in (1, 2, 3))]
    scores = [row["nmi"] for row in before.history_]
    assert [score for _, score in rows] == pytest.approx(scores)

    (checkpoint,) = folder.parent.glob("lightning_logs/version_0/**/*.ckpt")
    again = partialmethod(pl.Trainer.fit, ckpt_path=checkpoint)
    monkeypatch.setattr(pl.Trainer, "fit", again)
    after = clusters_of(train(example, folder, NUM_EPOCHS + 1))
    assert torch.equal(after.at_start, before.labels_)
    assert after.history_[:-1] == before.history_
    assert after.history_[-1]["epoch"] == NUM_EPOCHS + 1


def lines_of(name: str) -> tuple[list[str], list[int]]:
    """Lines of an example without its title, and the numbers of the callback's."""
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()
    added = [n for n, line in enumerate(lines, 1) if n > 1 and _ADDED.search(line)]
    return lines, added


@quiet
@lightlys
@pytest.mark.parametrize("name", NAMES)
def test_the_callback_takes_five_lines(name: str, folder: Path) -> None:
    """Without them the file is an example of lightly alone, which trains."""
    lines, added = lines_of(name)
    assert len(added) <= 5
    plain = [line for n, line in enumerate(lines[1:], 2) if n not in added]
    if name == "clusters_byol":
        byol = (EXAMPLES / "byol.py").read_text(encoding="utf-8").splitlines()[1:]
        assert list(filter(None, plain)) == list(filter(None, byol))  # run elsewhere
    else:
        module = ModuleType("plain")
        exec("\n".join(plain), module.__dict__)
        train(module, folder, max_epochs=1)


def test_the_page_shows_which_lines_are_the_callbacks() -> None:
    page = dict(blocks(ROOT / "docs" / "callback.md"))
    for name in NAMES[1:]:
        options = page[f"{{literalinclude}} examples/{name}.py"]
        shown = re.findall(r":emphasize-lines: ([\d,]+)", options)
        assert shown == [",".join(map(str, lines_of(name)[1]))]


def test_the_loss_of_fastsiam_is_the_mean_over_all_pairs() -> None:
    """By hand: each view's prediction against the mean projection of the others."""
    torch.manual_seed(0)
    model = load("clusters_fastsiam").Model()
    views = [torch.randn(6, 3, 16, 16) for _ in range(4)]
    model.log = lambda *args, **options: None
    with torch.no_grad():
        loss = model.training_step((views, None, None), 0)
        z = [model.projection_head(model(view)) for view in views]
        p = [model.prediction_head(each) for each in z]
        terms = []
        for i in range(4):
            target = sum(z[j] for j in range(4) if j != i) / 3
            terms.append(-torch.cosine_similarity(p[i], target).mean())
    assert float(loss) == pytest.approx(float(sum(terms)) / 4, abs=1e-5)


def test_a_score_is_monitored(tmp_path: Path) -> None:
    prototypes = k_means()
    own, *others = load("monitor_scores").main(prototypes)
    options: dict[str, Any] = {"enable_checkpointing": True}
    fit(own, None, *others, max_epochs=2, default_root_dir=tmp_path, **options)
    (path,) = tmp_path.rglob("*.ckpt")
    best = max(prototypes.history_[1:], key=lambda entry: entry["nmi"])
    assert path.name == f"{best['epoch'] - 1:.0f}-{best['nmi']:.3f}.ckpt"
