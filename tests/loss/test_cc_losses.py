"""Losses of Contrastive Clustering: by their equations, and what must always hold."""

from __future__ import annotations

import math
import re
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from hadis_lightly.loss import CCLoss, ClusterContrastiveLoss
from hadis_lightly.loss.nt_xent import nt_xent_loss as instance_contrastive_loss

CONTRAST = ClusterContrastiveLoss()


def cosine(a: list[float], b: list[float]) -> float:
    length = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    inner = sum(v * w for v, w in zip(a, b, strict=True))
    return inner / length if length > 0 else 0.0


def nt_xent_by_loop(x0: Tensor, x1: Tensor, temperature: float) -> float:
    n, rows, total = len(x0), [*x0.tolist(), *x1.tolist()], 0.0
    for i in range(2 * n):
        partner = i + n if i < n else i - n
        denominator = sum(
            math.exp(cosine(rows[i], rows[j]) / temperature)
            for j in range(2 * n)
            if j != i
        )
        positive = math.exp(cosine(rows[i], rows[partner]) / temperature)
        total -= math.log(positive / denominator)
    return total / (2 * n)


def entropy_by_loop(a: Tensor) -> float:
    n, k = a.shape
    sizes = [sum(float(a[i, j]) for i in range(n)) / n for j in range(k)]
    return -sum(p * math.log(p) for p in sizes if p > 0)


def cluster_by_loop(a0: Tensor, a1: Tensor, temperature: float) -> float:
    contrast = nt_xent_by_loop(a0.T, a1.T, temperature)
    return contrast - entropy_by_loop(a0) - entropy_by_loop(a1)


def soft(n: int, k: int, seed: int, sharpness: float = 2.0) -> tuple[Tensor, Tensor]:
    """Assignments of two views that agree about as much as in training."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, k, generator=generator, dtype=torch.float64)
    other = logits + torch.randn(n, k, generator=generator, dtype=torch.float64) / 2
    return (sharpness * logits).softmax(1), (sharpness * other).softmax(1)


def rows(n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    return x[0], x[0] + x[1] / 2


def named(x: tuple[Tensor, Tensor], a: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    names = ("instance0", "instance1", "assignments0", "assignments1")
    return dict(zip(names, (*x, *a), strict=True))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
@pytest.mark.parametrize(("n", "k"), [(1, 2), (1, 5), (2, 2), (7, 4), (24, 10)])
def test_cluster_loss(n: int, k: int, temperature: float) -> None:
    for seed in range(3):
        a0, a1 = soft(n, k, seed)
        loss = ClusterContrastiveLoss(k, temperature=temperature)(a0, a1)
        expected = cluster_by_loop(a0, a1, temperature)
        assert loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 2), (7, 4), (16, 8)])
def test_instance_loss(n: int, d: int, temperature: float) -> None:
    for seed in range(3):
        x0, x1 = rows(n, d, seed)
        loss = instance_contrastive_loss(x0, x1, temperature)
        expected = nt_xent_by_loop(x0, x1, temperature)
        assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_instance_loss_is_lightlys(temperature: float) -> None:
    x0, x1 = (x.requires_grad_() for x in rows(9, 5, seed=0))
    ours = instance_contrastive_loss(x0, x1, temperature)
    lightlys = NTXentLoss(temperature=temperature)(x0, x1)
    torch.testing.assert_close(ours, lightlys)
    torch.testing.assert_close(
        torch.autograd.grad(ours, (x0, x1)), torch.autograd.grad(lightlys, (x0, x1))
    )


def test_lightlys_depends_on_values_where_ours_does_not() -> None:
    """The reason for an instance loss of our own."""
    with FakeTensorMode():
        x = torch.randn(4, 3)
        with pytest.raises(DynamicOutputShapeException):
            NTXentLoss()(x, x)
        a = torch.rand(4, 5).softmax(1)
        terms = CCLoss(5)(**named((x, x), (a, a)), weights=torch.ones(4))
    assert terms.loss.shape == ()


def test_sum() -> None:
    x, a = rows(12, 6, seed=0), soft(12, 5, seed=1)
    criterion = CCLoss(5, instance_temperature=0.3, cluster_temperature=0.7)
    terms = criterion(**named(x, a))
    instance, cluster = nt_xent_by_loop(*x, 0.3), cluster_by_loop(*a, 0.7)
    assert terms.instance.item() == pytest.approx(instance, rel=1e-10)
    assert terms.cluster.item() == pytest.approx(cluster, rel=1e-10)
    assert terms.loss.item() == pytest.approx(instance + cluster, rel=1e-10)
    assert criterion.n_clusters == 5


def test_temperatures_are_the_papers() -> None:
    x, a = rows(12, 6, seed=0), soft(12, 5, seed=1)
    terms = CCLoss(5)(**named(x, a))
    assert terms.instance.item() == pytest.approx(nt_xent_by_loop(*x, 0.5))
    assert terms.cluster.item() == pytest.approx(cluster_by_loop(*a, 1.0))


def test_gradcheck() -> None:
    x, a = rows(5, 4, seed=0), soft(5, 3, seed=1)
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5])

    def loss(x0: Tensor, x1: Tensor, a0: Tensor, a1: Tensor) -> Tensor:
        return CCLoss(3)(**named((x0, x1), (a0, a1)), weights=weights).loss

    inputs = tuple(t.requires_grad_() for t in (*x, *a))
    assert torch.autograd.gradcheck(loss, inputs)
    logits = torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: CONTRAST(*z.softmax(2)), (logits,))


def test_order_of_images_and_clusters_does_not_matter() -> None:
    x, a = rows(9, 4, seed=2), soft(9, 5, seed=3)
    expected = CCLoss(5)(**named(x, a))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(9, generator=generator)
    clusters = torch.randperm(5, generator=generator)
    moved = named(
        (x[0][order], x[1][order]),
        (a[0][order][:, clusters], a[1][order][:, clusters]),
    )
    torch.testing.assert_close(CCLoss(5)(**moved), expected)
    # The views may change places; the clusters of one view alone may not.
    swapped = named((x[1], x[0]), (a[1], a[0]))
    torch.testing.assert_close(CCLoss(5)(**swapped), expected)
    assert CONTRAST(a[0], a[1].roll(1, 1)) > expected.cluster + 0.01


def test_even_and_certain_clusters_are_best() -> None:
    """What the loss asks for: all clusters used, each image in one, views agreeing."""
    k = 4
    certain = torch.eye(k).repeat(5, 1)
    best = math.log1p((2 * k - 2) / math.e) - 2 * math.log(k)
    assert CONTRAST(certain, certain).item() == pytest.approx(best, abs=1e-6)
    uniform = torch.full((5 * k, k), 1 / k)
    collapsed = torch.eye(k)[:1].repeat(5 * k, 1)
    for worse in (uniform, collapsed, *[x.float() for x in soft(20, k, 0)]):
        assert CONTRAST(worse, worse) > best + 0.1


@pytest.mark.parametrize(("n", "k"), list(product([1, 2, 8], [2, 3, 10])))
def test_degenerate_assignments_are_finite(n: int, k: int) -> None:
    cases = {
        "collapsed": torch.eye(k)[:1].repeat(n, 1),
        "collapsed elsewhere": torch.eye(k)[1:2].repeat(n, 1),
        "one-hot": torch.eye(k)[torch.arange(n) % k],
        "uniform": torch.full((n, k), 1 / k),
        "zeros": torch.zeros(n, k),
        "tiny": torch.eye(k)[:1].repeat(n, 1).clamp_min(1e-30),
    }
    for names in product(cases, repeat=2):
        first, second = (cases[name] for name in names)
        a0, a1 = first.clone().requires_grad_(), second.clone().requires_grad_()
        loss = CONTRAST(a0, a1)
        loss.backward()
        assert loss.isfinite() and loss >= -2 * math.log(k) - 1e-5
        for a in (a0, a1):
            assert a.grad is not None and a.grad.isfinite().all()
            assert a.grad.abs().max() < 1e4
        if "tiny" in names:  # a column without a direction, for the loop it has one
            continue
        expected = cluster_by_loop(first.double(), second.double(), 1.0)
        assert loss.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_gradient_through_a_saturated_softmax_is_finite(scale: float) -> None:
    logits = (scale * torch.randn(2, 16, 4)).requires_grad_()
    CONTRAST(*logits.softmax(2)).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_the_entropy_ends_a_collapse() -> None:
    """From nearly one cluster for all, descent finds the planted ones."""
    generator = torch.Generator().manual_seed(0)
    x = torch.eye(3).repeat(10, 1) + 0.1 * torch.randn(30, 3, generator=generator)
    weight = torch.randn(3, 3, generator=generator).requires_grad_()
    bias = torch.tensor([4.0, 0.0, 0.0], requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.1)
    for _ in range(200):
        noise = 0.1 * torch.randn(2, 30, 3, generator=generator)
        a0, a1 = ((x + noise) @ weight + bias).softmax(2)
        loss = CONTRAST(a0, a1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    labels = (x @ weight + bias).argmax(1)
    assert sorted(labels[:3].tolist()) == [0, 1, 2]
    assert torch.equal(labels, labels[:3].repeat(10))


def test_weights_choose_the_images_that_take_part() -> None:
    x, a = rows(8, 4, seed=4), soft(8, 3, seed=5)
    a0, a1 = (t.requires_grad_() for t in a)
    used = torch.tensor([True, False, True, True, False, True, False, True])
    subset = CONTRAST(a0[used], a1[used])
    expected = torch.autograd.grad(subset, (a0, a1))
    for weights in (used, used.long(), used.double(), used.half()):
        loss = CONTRAST(a0, a1, weights)
        torch.testing.assert_close(loss, subset)
        torch.testing.assert_close(torch.autograd.grad(loss, (a0, a1)), expected)
    terms = CCLoss(3)(**named(x, (a0, a1)), weights=used)
    torch.testing.assert_close(terms.cluster, subset)
    torch.testing.assert_close(terms.instance, instance_contrastive_loss(*x))


def test_a_weight_counts_like_that_many_images() -> None:
    a0, a1 = soft(4, 3, seed=6)
    weights = torch.tensor([1, 3, 2, 0])
    repeated = torch.arange(4).repeat_interleave(weights)
    expected = CONTRAST(a0[repeated], a1[repeated])
    torch.testing.assert_close(CONTRAST(a0, a1, weights), expected)
    torch.testing.assert_close(CONTRAST(a0, a1, weights * 0.25), expected)
    torch.testing.assert_close(CONTRAST(a0, a1, torch.ones(4)), CONTRAST(a0, a1))


def test_no_image_taking_part_is_a_loss_of_0() -> None:
    a0, a1 = (a.float().requires_grad_() for a in soft(6, 3, seed=7))
    loss = CONTRAST(a0, a1, torch.zeros(6))
    loss.backward()
    assert loss.item() == 0
    for a in (a0, a1):
        assert a.grad is not None and torch.equal(a.grad, torch.zeros_like(a))


def test_weights_get_no_gradient() -> None:
    weights = torch.ones(6, requires_grad=True)
    assert not CONTRAST(*soft(6, 3, seed=7), weights).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x, a = (tuple(t.to(dtype) for t in pair) for pair in (rows(8, 4, 0), soft(8, 3, 1)))
    terms = CCLoss(3)(**named(x, a))
    in_float32 = {name: t.float() for name, t in named(x, a).items()}
    for term, expected in zip(terms, CCLoss(3)(**in_float32), strict=True):
        assert term.dtype == torch.float32
        torch.testing.assert_close(term, expected)


def test_autocast_does_not_lower_the_precision() -> None:
    x = tuple(t.float() for t in rows(64, 32, seed=7))
    a = tuple(t.float() for t in soft(64, 10, seed=8))
    expected = CCLoss(10)(**named(x, a))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = CCLoss(10)(**named(x, a))
    torch.testing.assert_close(terms, expected, rtol=0, atol=0)


def test_float64_stays_float64() -> None:
    for term in CCLoss(3)(**named(rows(8, 4, 0), soft(8, 3, 1))):
        assert term.dtype == torch.float64


def test_scale_of_the_instance_embeddings_does_not_matter() -> None:
    x0, x1 = rows(8, 4, seed=1)
    scale = torch.linspace(0.1, 9, 8, dtype=torch.float64)[:, None]
    loss = instance_contrastive_loss(x0 * scale, x1 * scale.flip(0))
    torch.testing.assert_close(loss, instance_contrastive_loss(x0, x1))


@pytest.mark.parametrize("n", [1, 4])
def test_degenerate_instances_are_finite(n: int) -> None:
    for first, second in product((torch.ones(n, 3), torch.zeros(n, 3)), repeat=2):
        x0, x1 = first.clone().requires_grad_(), second.clone().requires_grad_()
        loss = instance_contrastive_loss(x0, x1)
        loss.backward()
        assert loss.isfinite() and x0.grad.isfinite().all() and x1.grad.isfinite().all()
        if n == 1:
            assert loss.item() == 0


def test_the_graph_has_no_breaks() -> None:
    torch._dynamo.reset()
    inputs = {
        name: t.float() for name, t in named(rows(8, 4, 0), soft(8, 3, 1)).items()
    }
    criterion = CCLoss(3)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    for weights in (None, torch.arange(8) % 2):
        torch.testing.assert_close(
            compiled(**inputs, weights=weights), criterion(**inputs, weights=weights)
        )


A, Z = torch.full((4, 2), 0.5), F.normalize(torch.ones(4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CONTRAST(A, A[:2]), ValueError, "assignments1 has shape (2, 2), but"),
        (lambda: CONTRAST(A[0], A[0]), ValueError, "assignments0 must have shape (n,"),
        (lambda: CONTRAST(A.long(), A), TypeError, "assignments0 must be a floating"),
        (
            lambda: ClusterContrastiveLoss(3)(A, A),
            ValueError,
            "assignments0 must have n_clusters=3 columns, got 2",
        ),
        (
            lambda: CONTRAST(A[:, :1], A[:, :1]),
            ValueError,
            "assignments0 must have at least 2 columns, got 1",
        ),
        (
            lambda: ClusterContrastiveLoss(1),
            ValueError,
            "n_clusters must be at least 2, got 1",
        ),
        (
            lambda: ClusterContrastiveLoss(temperature=0.0),
            ValueError,
            "temperature must be > 0, got 0.0",
        ),
        (
            lambda: CONTRAST(A, A, torch.ones(3)),
            ValueError,
            "weights must have shape (4,), got (3,)",
        ),
        (
            lambda: CONTRAST(A, A, torch.tensor([1.0, 2.0, -3.0, 0.0])),
            ValueError,
            "weights must be finite and >= 0, got values from -3.0 to 2.0",
        ),
        (
            lambda: CONTRAST(A, A, torch.full((4,), math.nan)),
            ValueError,
            "weights must be finite and >= 0, got values from nan",
        ),
        (lambda: CONTRAST(A, A, [1, 1, 1, 1]), TypeError, "weights must be a tensor"),
        (lambda: CCLoss(0), ValueError, "n_clusters must be at least 2, got 0"),
        (lambda: CCLoss(None), TypeError, "n_clusters must be an integer, got None"),
        (
            lambda: CCLoss(2, instance_temperature=-1),
            ValueError,
            "instance_temperature must be > 0, got -1",
        ),
        (
            lambda: CCLoss(2, cluster_temperature=math.nan),
            ValueError,
            "cluster_temperature must be > 0, got nan",
        ),
        (
            lambda: CCLoss(2, gather_distributed=1),
            TypeError,
            "gather_distributed must be True or False, got 1",
        ),
        (
            lambda: CCLoss(2)(**named((Z, Z[:, :2]), (A, A))),
            ValueError,
            "instance1 has shape (4, 2), but instance0 has (4, 3)",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]
