"""Losses of PICI: by their equations, and what must always hold."""

from __future__ import annotations

import math
import re

import pytest
import torch
from lightly.models.utils import normalize_mean_var
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

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
    for seed in range(3):
        prediction, patches = images(seed, n, m, p)
        loss = MaskedPatchLoss()(prediction, patches)
        expected = patches_by_loop(prediction, patches)
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        target = normalize_mean_var(patches)
        torch.testing.assert_close(loss, (prediction - target).square().mean())


@pytest.mark.parametrize(("n", "k"), [(1, 2), (7, 4), (20, 10)])
def test_interaction(n: int, k: int) -> None:
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(-1, k, (n,), generator=generator)
        loss = CrossLevelInteractionLoss()(scores(seed, n, k), labels)
        expected = interaction_by_loop(scores(seed, n, k), labels)
        assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_sum() -> None:
    inputs = everything()
    terms = PICILoss(K, 0.3, 0.7)(**inputs)
    cc = CCLoss(K, 0.3, 0.7)(**only("instance", "assignments"))
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


def test_weights_are_those_of_the_cluster_loss() -> None:
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    terms = PICILoss(K)(**everything(), weights=weights)
    cc = CCLoss(K)(**only("instance", "assignments"), weights=weights)
    torch.testing.assert_close(terms.cluster, cc.cluster)
    torch.testing.assert_close(terms.instance, cc.instance)


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


def test_pixels_get_no_gradient() -> None:
    prediction, patches = (x.requires_grad_() for x in images(0))
    MaskedPatchLoss()(prediction, patches).backward()
    assert patches.grad is None and prediction.grad is not None


def test_brightness_and_contrast_of_a_patch_do_not_matter() -> None:
    prediction, patches = images(0)
    scale = torch.linspace(50, 90, N * 4, dtype=torch.float64).reshape(N, 4, 1)
    brighter = MaskedPatchLoss()(prediction, 100 * patches)
    torch.testing.assert_close(
        MaskedPatchLoss()(prediction, scale * patches + 7), brighter, rtol=1e-6, atol=0
    )


def test_a_patch_of_one_colour_is_finite() -> None:
    prediction = torch.zeros(2, 3, 4, requires_grad=True)
    for colour in (0.0, 1.0, 255.0):
        loss = MaskedPatchLoss()(prediction, torch.full((2, 3, 4), colour))
        assert loss.item() == 0


def test_images_without_a_label_are_left_out() -> None:
    logits = scores(0).requires_grad_()
    known = LABELS >= 0
    loss = CrossLevelInteractionLoss()(logits, LABELS)
    (gradient,) = torch.autograd.grad(loss, logits)
    subset = CrossLevelInteractionLoss()(logits[known], LABELS[known])
    (expected,) = torch.autograd.grad(subset, logits)
    torch.testing.assert_close((loss, gradient), (subset, expected))


def test_no_label_at_all_is_a_loss_of_0() -> None:
    logits = scores(0).requires_grad_()
    loss = CrossLevelInteractionLoss()(logits, torch.full((N,), -1))
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_interaction_is_of_logits_not_of_probabilities() -> None:
    """Right and certain is no loss; a softmax of a softmax would leave 0.55 for K=2."""
    logits, labels = 50 * torch.eye(2), torch.tensor([0, 1])
    assert CrossLevelInteractionLoss()(logits, labels).item() == 0
    doubled = CrossLevelInteractionLoss()(logits.softmax(1), labels)
    assert doubled.item() == pytest.approx(math.log1p(math.exp(-1)), abs=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("n", [1, 5])
def test_whatever_the_logits_is_finite(n: int, scale: float) -> None:
    logits = (scale * scores(1, n).float()).requires_grad_()
    loss = CrossLevelInteractionLoss()(logits, torch.zeros(n, dtype=torch.int32))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_order_of_images_and_clusters_does_not_matter() -> None:
    inputs = everything()
    expected = PICILoss(K)(**inputs)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    turned = torch.tensor([2, 0, 1])
    moved = {name: x[order] for name, x in inputs.items()}
    for name in ("assignments0", "assignments1", "logits0", "logits1"):
        moved[name] = moved[name][:, turned]
    for name in ("labels0", "labels1"):
        labels = moved[name]
        moved[name] = turned.argsort()[labels.clamp_min(0)].where(labels >= 0, -1)
    torch.testing.assert_close(PICILoss(K)(**moved), expected)


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


def test_float64_stays_float64() -> None:
    assert all(term.dtype == torch.float64 for term in PICILoss(K)(**everything()))


def test_nothing_depends_on_values() -> None:
    inputs = everything()
    with FakeTensorMode():
        fake = {name: torch.empty(x.shape, dtype=x.dtype) for name, x in inputs.items()}
        terms = PICILoss(K)(**fake)
    assert all(term.shape == () for term in terms)


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
            lambda: MaskedPatchLoss()(P[0], P[0]),
            ValueError,
            "prediction must have shape (n, m, p), got (2, 12)",
        ),
        (
            lambda: MaskedPatchLoss()(P[:, :0], P[:, :0]),
            ValueError,
            "prediction must have shape (n, m, p), got (4, 0, 12)",
        ),
        (
            lambda: MaskedPatchLoss()(P[..., :1], P[..., :1]),
            ValueError,
            "prediction must have patches of 2 pixels or more, got 1",
        ),
        (lambda: MaskedPatchLoss()(P, P.byte()), TypeError, "patches must be a float"),
        (lambda: MaskedPatchLoss()(None, P), TypeError, "prediction must be a float"),
        (
            lambda: MaskedPatchLoss()(P, P.double()),
            TypeError,
            "float64 goes with float64 only",
        ),
        (
            lambda: CrossLevelInteractionLoss()(L, Y.float()),
            TypeError,
            "labels must be an integer tensor, got torch.float32",
        ),
        (
            lambda: CrossLevelInteractionLoss()(Y, Y),
            TypeError,
            "logits must be a floating point tensor, got torch.int64",
        ),
        (
            lambda: CrossLevelInteractionLoss()(L, Y[:2]),
            ValueError,
            "labels must have shape (4,), got (2,)",
        ),
        (
            lambda: CrossLevelInteractionLoss()(L, Y + 1),
            ValueError,
            "labels must lie in [0, 3) or be -1, got values from 0 to 3",
        ),
        (
            lambda: CrossLevelInteractionLoss()(L, Y - 1),
            ValueError,
            "labels must lie in [0, 3) or be -1, got values from -2 to 1",
        ),
        (lambda: PICILoss(1), ValueError, "n_clusters must be at least 2, got 1"),
        (
            lambda: PICILoss(3, instance_temperature=0),
            ValueError,
            "instance_temperature must be > 0, got 0",
        ),
        (
            lambda: PICILoss(3)(),
            ValueError,
            "PICILoss needs the inputs of",
        ),
        (
            lambda: PICILoss(3)(instance0=L),
            ValueError,
            "instance0 given, but not instance1",
        ),
        (
            lambda: PICILoss(3)(prediction0=P, patches0=P),
            ValueError,
            "prediction0, patches0 given, but not prediction1, patches1",
        ),
        (
            lambda: PICILoss(3)(logits0=L, labels0=Y, logits1=L, labels1=Y + 1),
            ValueError,
            "labels1 must lie in [0, 3) or be -1",
        ),
        (
            lambda: PICILoss(4)(logits0=L, labels0=Y, logits1=L, labels1=Y),
            ValueError,
            "logits0 must have n_clusters=4 columns, got 3",
        ),
        (
            lambda: PICILoss(4)(assignments0=L, assignments1=L),
            ValueError,
            "assignments0 must have n_clusters=4 columns, got 3",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]
