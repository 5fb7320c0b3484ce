"""The three phases of PICI."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from hadis_lightly.loss import PICILoss
from tests.training.test_no_synchronization import (
    needs_pretence,
    on_the_pretended_gpu,
    pretended_gpu,
)
from tests.training.two_head_modules import (
    STEPS,
    K,
    Recorder,
    clusters_of,
    fit,
    make_pici_model,
    pici,
    some_apart,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


# One epoch of pretraining, two in between, one at the end.

PHASES = {
    "loss_reconstruction": {0, 1, 2},
    "loss_instance": {1, 2, 3},
    "loss_cluster": {1, 2, 3},
    "loss_interaction": {3},
}
HEADS = {"instance_head", "cluster_head"}


@pytest.fixture(scope="module")
def four_epochs() -> Recorder:
    recorder = Recorder()
    clusters = clusters_of(interaction_epochs=1, warmup_epochs=1)
    module = pici(clusters, pretraining_epochs=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        fit(module, recorder, max_epochs=4)
    return recorder


@pytest.mark.parametrize("term", PHASES)
def test_each_term_of_pici_has_its_phases(four_epochs: Recorder, term: str) -> None:
    for step, losses in enumerate(four_epochs.losses):
        assert (losses[term] != 0) == (step // STEPS in PHASES[term]), step
        others = sum(losses[name] for name in PHASES)
        assert losses["loss"] == pytest.approx(others, rel=1e-5)


def test_each_part_of_pici_is_trained_in_its_phases(four_epochs: Recorder) -> None:
    for step, trained in enumerate(four_epochs.trained):
        phase = (0, 1, 1, 2)[step // STEPS]
        expected = {"autoencoder.encoder"}
        expected |= {"decoder"} if phase < 2 else set()
        expected |= HEADS if phase > 0 else set()
        assert trained == expected, step


def test_without_clusters_there_is_no_last_phase() -> None:
    recorder = Recorder()
    fit(pici(pretraining_epochs=1), recorder, max_epochs=3)
    assert {losses["loss_interaction"] for losses in recorder.losses} == {0.0}
    assert recorder.losses[-1]["loss_reconstruction"] > 0


def test_the_last_phase_pulls_the_head_to_the_pseudo_labels() -> None:
    clusters = clusters_of(interaction_epochs=15)
    recorder = Recorder()
    module = pici(clusters, learning_rate=3e-3)
    fit(module, recorder, max_epochs=15)
    first, last = recorder.losses[0], recorder.losses[-1]
    assert last["loss_interaction"] < 0.2 < first["loss_interaction"]
    assert clusters.scores_["acc"] > 0.9


def test_training_only_images_of_pici_have_no_pseudo_label_either() -> None:
    training_only = some_apart()
    clusters = clusters_of(interaction_epochs=1)
    module = pici(clusters, training_only=training_only)
    seen: list[tuple[Tensor, Tensor]] = []
    forward = module.criterion.forward

    def criterion(**inputs: Any) -> Any:
        assert inputs["labels0"] is inputs["labels1"]
        seen.append((inputs["labels0"], inputs["weights"]))
        return forward(**inputs)

    module.criterion.forward = criterion  # type: ignore[method-assign]
    recorder = Recorder()
    fit(module, recorder)
    labels, weights = (torch.cat(column) for column in zip(*seen, strict=True))
    assert torch.equal(labels == -1, training_only)
    assert torch.equal(weights == 0, training_only)
    assert recorder.losses[0]["loss_interaction"] > 0
    last = recorder.losses[-1]
    assert last["loss_interaction"] == last["loss_cluster"] == 0
    assert last["loss"] == last["loss_instance"] > 0


@needs_pretence
@pytest.mark.parametrize("has_weights", [False, True])
def test_no_phase_of_pici_on_a_gpu_needs_a_value(has_weights: bool) -> None:
    module, model = pici(), make_pici_model()
    with pretended_gpu():
        on_the_pretended_gpu(model)
        x0, x1 = torch.empty(2, 8, 3, 8, 8).unbind()
        weights = torch.empty(8) if has_weights else None
        labels = torch.empty(8, dtype=torch.long)
        common = (model, PICILoss(K), x0, x1)
        of_phases = [
            module._masked_terms(*common, None, with_contrasts=False),
            module._masked_terms(*common, weights, with_contrasts=True),
            module._interaction_terms(*common, weights, labels),
        ]
    for terms in of_phases:
        assert {term.device.type for term in terms} == {"cuda"}
