"""What must hold for any input: gradients, invariances, precision, bad input."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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


def test_absent_clusters_take_no_part() -> None:
    z, _, t = batch(8, 4, seed=3)
    expected = PCLLoss(3)(z, t, torch.tensor([0, 1, 2])[LABELS.clamp_max(2)])
    for n_clusters in (5, 50):
        torch.testing.assert_close(PCLLoss(n_clusters)(z, t, LABELS), expected)


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


@st.composite
def odd_embeddings(draw: st.DrawFn) -> list[Tensor]:
    """Three of one shape: duplicates, zero rows, ties, rows of scales far apart."""
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    dtype = draw(st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
    made = []
    for seed in draw(st.tuples(*[st.integers(0, 2**31)] * 3)):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, d, generator=generator, dtype=torch.float64)
        if draw(st.booleans()):
            x = x.round()  # ties, and some zero rows
        if draw(st.booleans()):
            x[draw(st.integers(0, n - 1)) :] = x[0].clone()
        powers = draw(st.lists(st.integers(-17, 17), min_size=n, max_size=n))
        x = x * 10.0 ** torch.tensor(powers, dtype=torch.float64).unsqueeze(1)
        made.append(x.to(dtype).requires_grad_())
    return made


@given(x=odd_embeddings(), k=st.sampled_from([2, 5, 50, 2**40]), data=st.data())
def test_whatever_comes_is_finite_and_within_bounds(
    x: list[Tensor], k: int, data: st.DataObject
) -> None:
    n, tau = len(x[0]), 0.5
    labels = data.draw(st.lists(st.integers(0, min(k, 9) - 1), min_size=n, max_size=n))
    terms = HaDisLoss(k)(
        student=x[0], prediction=x[1], teacher=x[2], labels=torch.tensor(labels)
    )
    dsa, hsd, pcl = (float(term.detach()) for term in terms[1:])
    assert -1e-6 <= dsa <= 4 + 1e-4
    assert 0 < hsd <= 4 / tau + math.log(2) + 1e-3  # w+ d+ and w- d- are at most 4
    assert -1e-3 <= pcl <= 2 / tau + math.log(n) + 1e-2
    if len(set(labels)) == 1:
        assert pcl == pytest.approx(0, abs=1e-3)
    terms.loss.backward()
    assert x[2].grad is None
    assert all(tensor.grad.isfinite().all() for tensor in x[:2])


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite_shows_in_the_loss(which: int, value: float) -> None:
    inputs = batch(8, 4, seed=0)
    inputs[which][3, 2] = value
    z, p, t = inputs
    terms = HaDisLoss(5)(student=z, prediction=p, teacher=t, labels=LABELS)
    assert terms.loss.isnan()


X = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DSALoss()(X, X[:2]), ValueError, "teacher has shape (2, 3), but"),
        (lambda: DSALoss()(X[0], X[0]), ValueError, "prediction must have shape (n, d"),
        (lambda: DSALoss()(X.long(), X), TypeError, "prediction must be a floating"),
        (lambda: HSDLoss()(X, X.double()), TypeError, "float64 goes with float64 only"),
        (lambda: HSDLoss(float("nan")), ValueError, "temperature must be > 0, got nan"),
        (lambda: HaDisLoss(2.5), TypeError, "n_clusters must be an integer, got 2.5"),
        (lambda: HaDisLoss(3, hsd_weight=-1), ValueError, "hsd_weight must be >= 0"),
        (
            lambda: PCLLoss(3)(X, X, torch.tensor([0, -1, 2, 2])),
            ValueError,
            "labels must lie in [0, 3), got values from -1 to 2",
        ),
        (
            lambda: PCLLoss(3)(X, X, torch.zeros(4)),
            TypeError,
            "labels must be an integer tensor, got torch.float32",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    low = [x.to(dtype) for x in batch(8, 4, seed=6)]
    in_float32 = [x.float() for x in low]
    expected = losses(*in_float32)
    assert all(loss.dtype == torch.float32 for loss in expected)
    torch.testing.assert_close(losses(*low), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = losses(*in_float32)
    torch.testing.assert_close(under_autocast, expected, rtol=0, atol=0)
    assert all(x.dtype == torch.float64 for x in losses(*batch(8, 4, seed=8)))
