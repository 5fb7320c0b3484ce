"""A warm-up ends before the training does, or it is said; it costs little."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor

from hadis_lightly.cluster import KMeans
from tests.training.any_trainer.parts import Net, fit, k_means, loader


class Blind(Net):
    """Asks for no labels."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.prototypes = None
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("options", "epochs"),
    [({"max_epochs": 2}, 2), ({"max_epochs": 9, "max_steps": 5}, 2)],
)
def test_a_warm_up_that_never_ends_is_said_once(
    options: dict[str, int], epochs: int
) -> None:
    prototypes = k_means(warmup_epochs=2)
    with pytest.warns(UserWarning, match="warmup_epochs=2") as said:
        fit(prototypes, **options)
    (message,) = [str(w.message) for w in said if "warmup" in str(w.message)]
    assert f"training has {epochs} epochs: there will be no" in message


@pytest.mark.parametrize("warmup_epochs", [0, 1])
def test_a_warm_up_that_ends_is_not(warmup_epochs: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prototypes = k_means(warmup_epochs=warmup_epochs)
        module = Net(prototypes)
        fit(prototypes, module, max_epochs=2)
    assert (module.seen[0][1] is None) == (warmup_epochs == 1)
    assert module.seen[-1][1] is not None


def test_who_asks_for_no_labels_misses_none() -> None:
    fit(k_means(warmup_epochs=50), Blind(), max_epochs=1)


def test_restarts_begin_when_labels_count(monkeypatch: pytest.MonkeyPatch) -> None:
    restarts: list[int] = []
    fit_kmeans = KMeans.fit

    def noting(self: KMeans, *args: Any, **options: Any) -> KMeans:
        restarts.append(self.n_init)
        return fit_kmeans(self, *args, **options)

    monkeypatch.setattr(KMeans, "fit", noting)
    fit(k_means(warmup_epochs=2, n_init=5), max_epochs=4)
    assert restarts == [1, 1, 5, 5, 5]
    restarts.clear()
    # The last clusters are the result, warm-up or not.
    fit(k_means(warmup_epochs=9, n_init=5), Blind(), max_epochs=2)
    assert restarts == [1, 1, 5]
    restarts.clear()
    stopping = EarlyStopping("cluster/acc", mode="max", patience=1, min_delta=2.0)
    fit(k_means(warmup_epochs=50, n_init=5), Blind(), stopping, max_epochs=9)
    assert restarts == [1, 1, 1, 5]
    restarts.clear()
    fit(k_means(n_init=5), fast_dev_run=True)
    assert restarts == [1, 1]


def test_a_missing_key_is_known_before_the_warm_up_is_over() -> None:
    prototypes = k_means(plain=loader(90), warmup_epochs=1)
    with pytest.raises(ValueError, match="Does it drop the last batch"):
        fit(prototypes, max_epochs=2)


def test_a_callback_that_no_trainer_has_says_so() -> None:
    forgotten = k_means()
    with pytest.warns(UserWarning, match="no Trainer has it"):
        fit(k_means(), Net(forgotten), max_epochs=1)
