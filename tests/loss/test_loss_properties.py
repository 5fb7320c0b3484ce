"""What must hold for any input: gradients, invariances, precision, bad input."""

from __future__ import annotations

import re

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor

from hadis_lightly.loss import DSALoss, HaDisLoss, HSDLoss, PCLLoss
from tests.loss.test_losses_by_equation import batch

LABELS = torch.tensor([0, 0, 1, 1, 1, 4, 4, 4])


def losses(z: Tensor, p: Tensor, t: Tensor, labels: Tensor = LABELS) -> list[Tensor]:
    return [
        DSALoss()(p, t),
        HSDLoss()(p, t),
        PCLLoss(5)(z, t, labels),
        HaDisLoss(5)(student=z, prediction=p, teacher=t, labels=labels).loss,
    ]


def test_gradcheck() -> None:
    z, p, t = batch(8, 4, seed=0)
    z, p = z.requires_grad_(), p.requires_grad_()

    def loss(z: Tensor, p: Tensor) -> Tensor:
        criterion = HaDisLoss(5, pcl_weight=1.0, pcl_temperature=0.2)
        return criterion(student=z, prediction=p, teacher=t, labels=LABELS).loss

    assert torch.autograd.gradcheck(lambda p: DSALoss()(p, t), (p,))
    assert torch.autograd.gradcheck(lambda z: PCLLoss(5)(z, t, LABELS), (z,))


def test_gradient_of_hsd_holds_its_weights_constant() -> None:
    """The weights w+ and w- carry no gradient, so gradcheck on HSD would not hold."""
    _, p, t = batch(8, 4, seed=0)
    p.requires_grad_()
    (gradient,) = torch.autograd.grad(HSDLoss()(p, t), p)

    t_unit = torch.nn.functional.normalize(t, dim=1)
    p_unit = torch.nn.functional.normalize(p.detach(), dim=1)
    a, d = torch.cdist(t_unit, t_unit), torch.cdist(t_unit, p_unit)
    is_negative = a > d.diagonal()[:, None]
    j_pos = d.masked_fill(is_negative, -1).argmax(1)
    j_neg = d.masked_fill(~is_negative, 9).argmin(1)
    rows = torch.arange(8)
    w_pos = (d[rows, j_pos] - a[rows, j_pos]).clamp_min(0)
    w_neg = (a[rows, j_neg] - d[rows, j_neg]).clamp_min(0) * is_negative.any(1)
    assert (w_pos > 0).any() and (w_neg > 0).any()

    def with_constant_weights(p: Tensor) -> Tensor:
        p = torch.nn.functional.normalize(p, dim=1)
        d_pos = (t_unit - p[j_pos]).norm(dim=1)
        d_neg = (t_unit - p[j_neg]).norm(dim=1)
        return torch.log1p(torch.exp((w_pos * d_pos - w_neg * d_neg) / 0.5)).mean()

    assert torch.autograd.gradcheck(with_constant_weights, (p,))
    (expected,) = torch.autograd.grad(with_constant_weights(p), p)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_no_gradient_reaches_the_teacher() -> None:
    z, p, t = batch(8, 4, seed=0)
    for x in (z, p, t):
        x.requires_grad_()
    torch.stack(losses(z, p, t)).sum().backward()
    assert t.grad is None
    assert z.grad is not None and z.grad.abs().sum() > 0
    assert p.grad is not None and p.grad.abs().sum() > 0


def test_dsa_is_lightlys_byol_loss_times_two_plus_two() -> None:
    _, p, t = batch(8, 4, seed=0)
    expected = 2 * NegativeCosineSimilarity()(p, t) + 2
    torch.testing.assert_close(DSALoss()(p, t), expected)


def test_scale_of_the_rows_does_not_matter() -> None:
    z, p, t = batch(8, 4, seed=1)
    scale = torch.linspace(0.1, 9, 8, dtype=torch.float64)[:, None]
    scaled = losses(z * scale, p * scale.flip(0), t * 3)
    for loss, expected in zip(scaled, losses(z, p, t), strict=True):
        torch.testing.assert_close(loss, expected)


def test_order_of_the_samples_does_not_matter() -> None:
    z, p, t = batch(8, 4, seed=2)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    permuted = losses(z[order], p[order], t[order], LABELS[order])
    for loss, expected in zip(permuted, losses(z, p, t), strict=True):
        torch.testing.assert_close(loss, expected)


def test_numbers_of_the_clusters_do_not_matter() -> None:
    z, _, t = batch(8, 4, seed=3)
    renumbered = torch.tensor([3, 1, 0, 4, 2])[LABELS]
    loss = PCLLoss(5)(z, t, renumbered)
    torch.testing.assert_close(loss, PCLLoss(5)(z, t, LABELS))


def test_absent_clusters_take_no_part() -> None:
    z, _, t = batch(8, 4, seed=3)
    expected = PCLLoss(3)(z, t, torch.tensor([0, 1, 2])[LABELS.clamp_max(2)])
    for n_clusters in (5, 50):
        torch.testing.assert_close(PCLLoss(n_clusters)(z, t, LABELS), expected)


def test_equal_inputs() -> None:
    _, p, _ = batch(8, 4, seed=4)
    p = p.float()
    assert DSALoss()(p, p).item() == 0
    assert HSDLoss()(p, p).item() == pytest.approx(0.693147, abs=1e-6)


def test_duplicates_are_positives_of_each_other() -> None:
    """Their distance is exactly 0, in float32 too: not above a boundary of 0."""
    row = torch.randn(1, 256, generator=torch.Generator().manual_seed(0))
    rows = row.expand(6, 256).clone()
    assert HSDLoss()(rows, rows).item() == pytest.approx(0.693147, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_degenerate_batches_are_finite(n: int) -> None:
    labels = torch.zeros(n, dtype=torch.long)
    ones, zeros = torch.ones(n, 4), torch.zeros(n, 4)
    for a, b in ((ones, ones), (ones, zeros), (zeros, ones), (zeros, zeros)):
        z, p = a.clone().requires_grad_(), a.clone().requires_grad_()
        for loss in losses(z, p, b, labels):
            assert torch.isfinite(loss)
            loss.backward()
        assert torch.isfinite(z.grad).all() and torch.isfinite(p.grad).all()


def test_one_cluster_in_the_batch_has_nothing_to_contrast() -> None:
    z, _, t = batch(8, 4, seed=5)
    loss = PCLLoss(5)(z, t, torch.full((8,), 3))
    assert loss.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    z, p, t = (x.to(dtype) for x in batch(8, 4, seed=6))
    for loss, expected in zip(
        losses(z, p, t), losses(z.float(), p.float(), t.float()), strict=True
    ):
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected)


def test_autocast_does_not_lower_the_precision() -> None:
    z, p, t = (x.float() for x in batch(64, 32, seed=7))
    labels = torch.arange(64) % 5
    expected = losses(z, p, t, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for loss, exact in zip(losses(z, p, t, labels), expected, strict=True):
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, exact, rtol=0, atol=0)


def test_float64_stays_float64() -> None:
    for loss in losses(*batch(8, 4, seed=8)):
        assert loss.dtype == torch.float64


def test_the_graph_has_no_breaks() -> None:
    torch._dynamo.reset()
    z, p, t = (x.float() for x in batch(8, 4, seed=9))
    criterion = HaDisLoss(5)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    arguments = {"student": z, "prediction": p, "teacher": t, "labels": LABELS}
    for term, expected in zip(
        compiled(**arguments), criterion(**arguments), strict=True
    ):
        torch.testing.assert_close(term, expected)


X = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DSALoss()(X, X[:2]), ValueError, "teacher has shape (2, 3), but"),
        (lambda: HSDLoss()(X, X.T), ValueError, "teacher has shape (3, 4), but"),
        (lambda: DSALoss()(X[0], X[0]), ValueError, "prediction must have shape (n, d"),
        (lambda: DSALoss()(X[:0], X[:0]), ValueError, "got (0, 3)"),
        (lambda: DSALoss()(X.long(), X), TypeError, "prediction must be a floating"),
        (lambda: DSALoss()(None, X), TypeError, "prediction must be a floating"),
        (
            lambda: HSDLoss(temperature=0.0),
            ValueError,
            "temperature must be > 0, got 0",
        ),
        (lambda: HSDLoss(float("nan")), ValueError, "temperature must be > 0, got nan"),
        (lambda: PCLLoss(3, temperature=-1), ValueError, "temperature must be > 0"),
        (lambda: PCLLoss(1), ValueError, "n_clusters must be at least 2, got 1"),
        (lambda: HaDisLoss(2.5), TypeError, "n_clusters must be an integer, got 2.5"),
        (lambda: HSDLoss()(X, X.double()), TypeError, "float64 goes with float64 only"),
        (
            lambda: PCLLoss(3)(X, X, torch.ones(4, dtype=torch.bool)),
            TypeError,
            "labels must be an integer tensor, got torch.bool",
        ),
        (lambda: HaDisLoss(0), ValueError, "n_clusters must be at least 2, got 0"),
        (lambda: HaDisLoss(3, hsd_weight=-1), ValueError, "hsd_weight must be >= 0"),
        (lambda: HaDisLoss(3, pcl_weight=-1), ValueError, "pcl_weight must be >= 0"),
        (
            lambda: HaDisLoss(3, pcl_temperature=0),
            ValueError,
            "pcl_temperature must be > 0, got 0",
        ),
        (
            lambda: PCLLoss(3)(X, X, torch.tensor([0, 1, 2, 3])),
            ValueError,
            "labels must lie in [0, 3), got values from 0 to 3",
        ),
        (
            lambda: PCLLoss(3)(X, X, torch.tensor([0, -1, 2, 2])),
            ValueError,
            "labels must lie in [0, 3), got values from -1 to 2",
        ),
        (
            lambda: PCLLoss(3)(X, X, torch.tensor([0, 1])),
            ValueError,
            "labels must have shape (4,), got (2,)",
        ),
        (
            lambda: PCLLoss(3)(X, X, torch.zeros(4)),
            TypeError,
            "labels must be an integer tensor, got torch.float32",
        ),
        (
            lambda: HaDisLoss(3)(student=X, prediction=X, teacher=X[:1]),
            ValueError,
            "teacher has shape (1, 3), but student has (4, 3)",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]
