"""Generated inputs of the losses, each against what must hold of the answer.

References are the loops in ``test_losses_by_equation.py``, in float64.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from hadis_lightly.loss import DSALoss, HaDisLoss, HSDLoss, PCLLoss
from tests.loss.test_losses_by_equation import dsa_by_loop, hsd_by_loop, pcl_by_loop

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Largest power of ten of the rows that every dtype holds, squares included.
MAX_POWER = {
    torch.float16: 3,
    torch.bfloat16: 17,
    torch.float32: 17,
    torch.float64: 150,
}
temperatures = st.floats(1e-2, 1e3)
weights = st.one_of(st.just(0.0), st.floats(0, 100))


def rows(seed: int, n: int, d: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype)


@st.composite
def embeddings(draw: st.DrawFn, count: int = 2, min_d: int = 1) -> list[Tensor]:
    """Plain random embeddings of one shape and dtype: no ties, no zeros."""
    n, d = draw(st.integers(1, 9)), draw(st.integers(min_d, 6))
    dtype = draw(st.sampled_from(DTYPES))
    seed = draw(st.integers(0, 2**31))
    return [rows(seed + i, n, d, dtype) for i in range(count)]


@st.composite
def odd_embeddings(draw: st.DrawFn) -> list[Tensor]:
    """Three of one shape: duplicates, zero rows, ties, each row of a scale of its own.

    Their dtypes may differ, but for float64.
    """
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    dtypes = [draw(st.sampled_from(DTYPES)) for _ in range(3)]
    if torch.float64 in dtypes:
        dtypes = [torch.float64] * 3
    made = []
    for dtype in dtypes:
        x = rows(draw(st.integers(0, 2**31)), n, d)
        if draw(st.booleans()):
            x = x.round()  # ties, and some zero rows
        if draw(st.booleans()):
            x[draw(st.integers(0, n - 1)) :] = x[0].clone()
        if draw(st.booleans()):
            x[:: draw(st.integers(1, 3))] = 0
        limit = MAX_POWER[dtype]
        powers = st.lists(st.integers(-limit, limit), min_size=n, max_size=n)
        x = x * 10.0 ** torch.tensor(draw(powers), dtype=torch.float64).unsqueeze(1)
        made.append(x.to(dtype))
    return made


@st.composite
def labels_for(draw: st.DrawFn, n: int, n_clusters: int) -> Tensor:
    kinds = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.uint64)
    labels = draw(
        st.lists(st.integers(0, min(n_clusters, 200) - 1), min_size=n, max_size=n)
    )
    return torch.tensor(labels, dtype=draw(st.sampled_from(kinds)))


n_clusters_ = st.one_of(st.integers(2, 6), st.sampled_from([50, 200, 10**6, 2**40]))


def tolerance(dtype: torch.dtype) -> float:
    return 1e-9 if dtype == torch.float64 else 2e-4


@given(x=embeddings(), data=st.data())
def test_dsa_is_its_equation(x: list[Tensor], data: st.DataObject) -> None:
    expected = dsa_by_loop(x[0].double(), x[1].double())
    assert float(DSALoss()(*x)) == pytest.approx(expected, abs=tolerance(x[0].dtype))


@given(x=embeddings(min_d=2), temperature=temperatures)
def test_hsd_is_its_equation(x: list[Tensor], temperature: float) -> None:
    # In float64 alone: which pairs are the hardest may hang on the last digit.
    p, t = x[0].double(), x[1].double()
    expected = hsd_by_loop(p, t, max(temperature, 0.05))
    loss = float(HSDLoss(max(temperature, 0.05))(p, t))
    assert loss == pytest.approx(expected, rel=1e-6, abs=1e-9)
    if x[0].dtype != torch.float64:
        of_low = HSDLoss(temperature)(*x)
        assert_close(of_low, HSDLoss(temperature)(x[0].float(), x[1].float()))


@given(x=embeddings(), k=n_clusters_, temperature=st.floats(0.1, 100), data=st.data())
def test_pcl_is_its_equation(
    x: list[Tensor], k: int, temperature: float, data: st.DataObject
) -> None:
    labels = data.draw(labels_for(len(x[0]), k))
    z, t = x[0].double(), x[1].double()
    for side in (z, t):
        unit = side / side.norm(dim=1, keepdim=True)
        means = [unit[labels == label].mean(0) for label in set(labels.tolist())]
        assume(min(float(mean.norm()) for mean in means) > 0.05)
    expected = pcl_by_loop(z, t, labels, temperature)
    loss = float(PCLLoss(k, temperature)(*x, labels))
    limit = tolerance(x[0].dtype) * max(1, 1 / temperature) * 20
    assert loss == pytest.approx(expected, abs=limit, rel=1e-9)


@given(
    x=odd_embeddings(),
    k=n_clusters_,
    tau=temperatures,
    hsd_weight=weights,
    pcl_weight=weights,
    data=st.data(),
)
def test_whatever_comes_is_finite_and_within_bounds(
    x: list[Tensor],
    k: int,
    tau: float,
    hsd_weight: float,
    pcl_weight: float,
    data: st.DataObject,
) -> None:
    labels = data.draw(st.one_of(st.none(), labels_for(len(x[0]), k)))
    x = [tensor.requires_grad_() for tensor in x]
    criterion = HaDisLoss(k, hsd_weight, pcl_weight, tau, tau)
    terms = criterion(student=x[0], prediction=x[1], teacher=x[2], labels=labels)
    dsa, hsd, pcl = (float(term.detach()) for term in terms[1:])
    assert -1e-6 <= dsa <= 4 + 1e-4
    # w+ d+ and w- d- are at most 4.
    assert 0 <= hsd <= 4 / tau + math.log(2) + 1e-3
    assert (hsd > 0 or 4 / tau > 80) if hsd_weight > 0 else hsd == 0
    assert -1e-4 / tau <= pcl <= 2 / tau + math.log(len(x[0])) + 1e-2 / tau
    if pcl_weight == 0 or labels is None or len(set(labels.tolist())) == 1:
        assert pcl == pytest.approx(0, abs=1e-4 / tau)
    total = dsa + hsd_weight * hsd + pcl_weight * pcl
    assert float(terms.loss.detach()) == pytest.approx(total, rel=1e-4, abs=1e-4)

    terms.loss.backward()
    assert x[2].grad is None
    for tensor in x[:2]:
        # Of a row of length r a gradient is 1 / r large: more than half precision has.
        if tensor.grad is not None and tensor.dtype != torch.float16:
            assert torch.isfinite(tensor.grad).all()


# In one dimension all distances are 0 or 2: which pair is the hardest is left open.
@given(x=embeddings(3, min_d=2), k=n_clusters_, data=st.data())
def test_order_and_scale_and_numbers_of_clusters_do_not_matter(
    x: list[Tensor], k: int, data: st.DataObject
) -> None:
    x = [tensor.double() for tensor in x]
    n = len(x[0])
    labels = data.draw(labels_for(n, k)).long()
    names = ("student", "prediction", "teacher")
    criterion = HaDisLoss(k, 1.5, 0.7)
    terms = criterion(**dict(zip(names, x, strict=True)), labels=labels)

    order = torch.tensor(data.draw(st.permutations(range(n))))
    moved = {name: tensor[order] for name, tensor in zip(names, x, strict=True)}
    assert_close(criterion(**moved, labels=labels[order]), terms)

    # Powers of two leave every digit as it is.
    powers = data.draw(st.lists(st.integers(-30, 30), min_size=n, max_size=n))
    scale = 2.0 ** torch.tensor(powers, dtype=torch.float64).unsqueeze(1)
    scaled = {name: tensor * scale for name, tensor in zip(names, x, strict=True)}
    assert_close(criterion(**scaled, labels=labels), terms)

    renamed = HaDisLoss(k + 7, 1.5, 0.7)
    turned = (labels + data.draw(st.integers(0, 6))) % (k + 7)
    assert_close(renamed(**dict(zip(names, x, strict=True)), labels=turned), terms)


@given(x=embeddings(3), value=st.sampled_from([math.nan, math.inf]), data=st.data())
def test_what_is_not_finite_shows_in_the_loss(
    x: list[Tensor], value: float, data: st.DataObject
) -> None:
    n, d = x[0].shape
    which = data.draw(st.integers(0, 2))
    x[which][data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, d - 1))] = value
    labels = torch.arange(n) % 2
    terms = HaDisLoss(2)(student=x[0], prediction=x[1], teacher=x[2], labels=labels)
    # One cluster has nothing to contrast with.
    assert (which == 0 and n == 1) or terms.loss.isnan()
