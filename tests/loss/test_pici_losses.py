"""Losses of PICI: by their equations, and what must always hold."""

from __future__ import annotations

import math
import re

import pytest
import torch
from lightly.models.utils import normalize_mean_var
from torch import Tensor

from hadis_lightly.loss import (
    CCLoss,
    CrossLevelInteractionLoss,
    MaskedPatchLoss,
    PICILoss,
)
from tests.loss.test_cc_losses import rows, soft

N, K = 6, 3
LABELS = torch.tensor([0, 2, -1, 1, 1, 2])


def patches_by_loop(prediction: Tensor, patches: Tensor) -> float:
    total, count = 0.0, 0
    for image, true_image in zip(prediction.tolist(), patches.tolist(), strict=True):
        for patch, pixels in zip(image, true_image, strict=True):
            mean = sum(pixels) / len(pixels)
            variance = sum((v - mean) ** 2 for v in pixels) / (len(pixels) - 1)
            for guess, pixel in zip(patch, pixels, strict=True):
                normalised = (pixel - mean) / math.sqrt(variance + 1e-6)
                total, count = total + (guess - normalised) ** 2, count + 1
    return total / count


def interaction_by_loop(logits: Tensor, labels: Tensor) -> float:
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        if label >= 0:
            denominator = sum(math.exp(logit) for logit in row)
            losses.append(-math.log(math.exp(row[label]) / denominator))
    return sum(losses) / len(losses) if losses else 0.0


def images(seed: int, n: int = N, m: int = 4, p: int = 12) -> tuple[Tensor, Tensor]:
    """Predictions, and pixels in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randn(n, m, p, generator=generator, dtype=torch.float64)
    return prediction, torch.rand(n, m, p, generator=generator, dtype=torch.float64)


def scores(seed: int, n: int = N, k: int = K) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, k, generator=generator, dtype=torch.float64)


def everything() -> dict[str, Tensor]:
    """The inputs of all terms."""
    (prediction0, patches0), (prediction1, patches1) = images(0), images(1)
    (instance0, instance1), (a0, a1) = rows(N, 5, seed=2), soft(N, K, seed=3)
    return {
        "prediction0": prediction0,
        "patches0": patches0,
        "prediction1": prediction1,
        "patches1": patches1,
        "instance0": instance0,
        "instance1": instance1,
        "assignments0": a0,
        "assignments1": a1,
        "logits0": scores(4),
        "labels0": LABELS,
        "logits1": scores(5),
        "labels1": LABELS.flip(0),
    }


def only(*names: str) -> dict[str, Tensor]:
    return {key: x for key, x in everything().items() if key.startswith(names)}


TERMS = {
    "reconstruction": ("prediction", "patches"),
    "instance": ("instance",),
    "cluster": ("assignments",),
    "interaction": ("logits", "labels"),
}


@pytest.mark.parametrize(("n", "m", "p"), [(1, 1, 2), (3, 8, 16), (5, 2, 48)])
def test_masked_patches(n: int, m: int, p: int) -> None:
    prediction, patches = (x.requires_grad_() for x in images(0, n, m, p))
    loss = MaskedPatchLoss()(prediction, patches)
    expected = patches_by_loop(prediction, patches)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    target = normalize_mean_var(patches.detach())
    torch.testing.assert_close(loss, (prediction - target).square().mean())
    loss.backward()
    assert patches.grad is None and prediction.grad is not None


@pytest.mark.parametrize(("n", "k"), [(1, 2), (7, 4), (20, 10)])
def test_interaction(n: int, k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, k, (n,), generator=generator)
    for given in (labels, labels.clamp_max(-1)):  # also none labelled
        loss = CrossLevelInteractionLoss()(scores(0, n, k), given)
        expected = interaction_by_loop(scores(0, n, k), given)
        assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_sum() -> None:
    inputs = everything()
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    terms = PICILoss(K, 0.3, 0.7)(**inputs, weights=weights)
    cc = CCLoss(K, 0.3, 0.7)(**only("instance", "assignments"), weights=weights)
    reconstruction = [
        patches_by_loop(inputs[f"prediction{v}"], inputs[f"patches{v}"]) for v in (0, 1)
    ]
    interaction = [
        interaction_by_loop(inputs[f"logits{v}"], inputs[f"labels{v}"]) for v in (0, 1)
    ]
    torch.testing.assert_close(terms.instance, cc.instance)
    torch.testing.assert_close(terms.cluster, cc.cluster)
    assert terms.reconstruction.item() == pytest.approx(sum(reconstruction) / 2)
    assert terms.interaction.item() == pytest.approx(sum(interaction) / 2)
    assert terms.loss.item() == pytest.approx(sum(float(term) for term in terms[1:]))


@pytest.mark.parametrize(
    "phase",
    [
        ("reconstruction",),
        ("reconstruction", "instance", "cluster"),
        ("instance", "cluster", "interaction"),
        ("interaction",),
    ],
)
def test_terms_without_inputs_are_0(phase: tuple[str, ...]) -> None:
    full = PICILoss(K)(**everything())._asdict()
    given = only(*(name for term in phase for name in TERMS[term]))
    terms = PICILoss(K)(**given)._asdict()
    for name in TERMS:
        expected = full[name] if name in phase else torch.zeros_like(full[name])
        torch.testing.assert_close(terms[name], expected)
    torch.testing.assert_close(terms["loss"], sum(full[name] for name in phase))


def test_gradcheck() -> None:
    inputs = everything()
    constant = {
        name: x for name, x in inputs.items() if name.startswith(("patches", "labels"))
    }
    names = [name for name in inputs if name not in constant]

    def loss(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, tensors, strict=True))
        return PICILoss(K)(**given, **constant).loss

    variables = tuple(inputs[name].requires_grad_() for name in names)
    assert torch.autograd.gradcheck(loss, variables)


def test_a_patch_of_one_colour_is_finite() -> None:
    prediction = torch.zeros(2, 3, 4, requires_grad=True)
    for colour in (0.0, 1.0, 255.0):
        loss = MaskedPatchLoss()(prediction, torch.full((2, 3, 4), colour))
        assert loss.item() == 0


def test_interaction_is_of_logits_not_of_probabilities() -> None:
    """Right and certain is no loss; a softmax of a softmax would leave 0.55 for K=2."""
    logits, labels = 50 * torch.eye(2), torch.tensor([0, 1])
    assert CrossLevelInteractionLoss()(logits, labels).item() == 0
    doubled = CrossLevelInteractionLoss()(logits.softmax(1), labels)
    assert doubled.item() == pytest.approx(math.log1p(math.exp(-1)), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    inputs = {
        name: x.to(dtype) if x.is_floating_point() else x
        for name, x in everything().items()
    }
    in_float32 = {
        name: x.float() if x.is_floating_point() else x for name, x in inputs.items()
    }
    terms, expected = PICILoss(K)(**inputs), PICILoss(K)(**in_float32)
    assert all(term.dtype == torch.float32 for term in terms)
    torch.testing.assert_close(terms, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = PICILoss(K)(**in_float32)
    torch.testing.assert_close(under_autocast, expected, rtol=0, atol=0)


def test_the_graph_has_no_breaks() -> None:
    torch._dynamo.reset()
    criterion = PICILoss(K)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(**everything()), criterion(**everything()))


P, L, Y = torch.ones(4, 2, 12), torch.ones(4, 3), torch.tensor([0, 1, 2, -1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: MaskedPatchLoss()(P, P[:, :1]),
            ValueError,
            "patches has shape (4, 1, 12), but prediction has (4, 2, 12)",
        ),
        (
            lambda: MaskedPatchLoss()(P[..., :1], P[..., :1]),
            ValueError,
            "prediction must have patches of 2 pixels or more, got 1",
        ),
        (
            lambda: PICILoss(3)(logits0=L, labels0=Y, logits1=L, labels1=Y + 1),
            ValueError,
            "labels1 must lie in [0, 3) or be -1, got values from 0 to 3",
        ),
        (lambda: PICILoss(3)(), ValueError, "PICILoss needs the inputs of"),
        (
            lambda: PICILoss(3)(prediction0=P, patches0=P),
            ValueError,
            "prediction0, patches0 given, but not prediction1, patches1",
        ),
        (
            lambda: PICILoss(4)(logits0=L, labels0=Y, logits1=L, labels1=Y),
            ValueError,
            "logits0 must have n_clusters=4 columns, got 3",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]
