"""Generated keys, losses and batches of the callbacks, and options that are wrong."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import HaDisModel
from hadis_lightly.training import HaDis, PrototypeKMeans
from hadis_lightly.training.embedding import embed_dataset
from hadis_lightly.training.key_index import KeyIndex
from hadis_lightly.training.loss_log import LossLog

no_numbers = st.one_of(
    st.none(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.booleans()
)
no_counts = st.one_of(no_numbers, st.floats(), st.integers(-(2**70), -1))
no_share = st.one_of(
    no_numbers,
    st.floats(max_value=0, exclude_max=True),
    st.floats(min_value=1, exclude_min=True),
    st.just(math.nan),
)
no_scale = st.one_of(
    no_numbers,
    st.floats(max_value=0, exclude_max=True),
    st.sampled_from([math.nan, math.inf]),
)
no_flags = st.one_of(st.none(), st.integers(), st.text(max_size=5))
indices = st.lists(st.integers(0, 5000), min_size=1, max_size=30, unique=True)
names = st.lists(st.text(max_size=4), min_size=1, max_size=30, unique=True)


def in_batches(keys: list[Any], size: int) -> list[list[Any]]:
    return [keys[i : i + size] for i in range(0, len(keys), size)]


@given(
    keys=st.one_of(indices, names),
    size=st.integers(1, 9),
    dtype=st.sampled_from([torch.int64, torch.int32, torch.int16, None]),
    data=st.data(),
)
def test_rows_are_where_the_keys_came(
    keys: list[Any], size: int, dtype: torch.dtype | None, data: st.DataObject
) -> None:
    batches: list[Any] = in_batches(keys, size)
    asked: Any = data.draw(st.lists(st.sampled_from(keys), max_size=20))
    expected = [keys.index(key) for key in asked]
    if isinstance(keys[0], int) and dtype is not None:
        batches = [torch.tensor(batch, dtype=dtype) for batch in batches]
        asked = torch.tensor(asked, dtype=dtype)
    index = KeyIndex(batches)
    assert len(index) == len(keys)
    assert index.as_list() == keys
    assert index.names() == [str(key) for key in keys]
    if len(asked):
        assert index.rows(asked).tolist() == expected


@given(keys=st.one_of(indices, names), other=st.one_of(st.integers(), st.text()))
def test_unknown_keys_are_named(keys: list[Any], other: int | str) -> None:
    index = KeyIndex([keys])
    if other in keys:
        assert index.rows([other]).tolist() == [keys.index(other)]  # type: ignore[list-item]
        return
    with pytest.raises((TypeError, ValueError), match=r"^keys? ") as caught:
        index.rows([keys[0], other])
    assert repr(other) in str(caught.value) or "keys must be all" in str(caught.value)


@given(keys=st.one_of(indices, names), data=st.data())
def test_keys_that_come_twice(keys: list[Any], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3))
    with pytest.raises(ValueError, match=f"gave {len(keys)} different ones for "):
        KeyIndex([keys, again])


@given(
    wrong=st.sampled_from(
        [
            (None, "None"), ([], "[]"), ([[]], "[[]]"), ("abc", "'abc'"), (5, "5"),
            ([[0.5]], "torch.float32"), ([torch.tensor([True])], "torch.bool"),
            ([torch.tensor([1j])], "torch.complex64"), ([torch.tensor(1)], "()"),
            ([[1, "a"]], "all indices or all names"), ([["a", 1]], "got 1"),
            ([["a"], [1]], "got 1"), ([[2**62]], str(2**62)), ([[-7]], "-7"),
            ([[0, 10**12]], str(10**12)), ([[2**70]], "all indices"), ([[None]], "all"),
        ]
    )
)  # fmt: skip
def test_wrong_keys(wrong: tuple[Any, str]) -> None:
    with pytest.raises(
        (TypeError, ValueError), match=r"^(keys|batches) must "
    ) as caught:
        KeyIndex(wrong[0])
    assert wrong[1] in str(caught.value)


@given(
    steps=st.lists(
        st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=1, max_size=20
    ),
    interval=st.integers(1, 5),
)
def test_means_are_means(steps: list[list[float]], interval: int) -> None:
    log = LossLog(["a", "b"])
    arrived = []
    for number, losses in enumerate(steps, start=1):
        log.add(torch.tensor(losses), for_interval=True)
        if number % interval == 0:
            arrived.append(log.end_interval(number))
    arrived.append(log.arrived())
    expected = torch.tensor(steps, dtype=torch.float64).mean(0)
    near = {"abs": 1e-5 * max(abs(loss) for losses in steps for loss in losses) + 1e-30}
    for place, name in enumerate(("a", "b")):
        mean = float(log.means_of_epoch()[name])
        assert mean == pytest.approx(float(expected[place]), **near)
    ends = list(range(interval, len(steps) + 1, interval))
    assert [got[0] for got in arrived if got is not None] == ends
    for got in arrived:
        if got is not None:
            part = torch.tensor(steps[got[0] - interval : got[0]], dtype=torch.float64)
            assert got[1]["a"] == pytest.approx(
                float(part[:, 0].mean()), rel=1e-3, abs=1
            )


@given(length=st.integers(0, 5).filter(lambda n: n != 2))
def test_wrong_losses(length: int) -> None:
    log = LossLog(["a", "b"])
    with pytest.raises(
        ValueError, match=rf"losses must have shape \(2,\), got \({length}"
    ):
        log.add(torch.zeros(length))
    for wrong in ("loss", [1, 2], [None]):
        with pytest.raises(TypeError, match="names must be a list of names, got"):
            LossLog(wrong)  # type: ignore[arg-type]


class Embedding(pl.LightningModule):
    """Embeds images as the numbers that they are."""

    def embed(self, x: Tensor) -> Tensor:
        assert not self.training
        return x.flatten(1)


@given(
    n=st.integers(1, 20),
    size=st.integers(1, 7),
    d=st.integers(1, 4),
    seed=st.integers(0),
)
def test_sets_are_embedded_image_by_image(n: int, size: int, d: int, seed: int) -> None:
    rng = random.Random(seed)
    images = torch.tensor([[rng.gauss(0, 1) for _ in range(d)] for _ in range(n)])
    images[:: max(1, n // 3)] *= 1e-20  # some of them come out as zeros
    keys = rng.sample(range(1000), n)
    targets = [rng.randrange(-1, 4) for _ in range(n)]
    loader = list(
        zip(
            images.split(size),
            in_batches(targets, size),
            in_batches(keys, size),
            strict=True,
        )
    )
    module = Embedding().train()
    embedded = embed_dataset(module, loader)
    assert_close(embedded.embeddings, nn.functional.normalize(images, dim=1))
    assert embedded.targets.tolist() == targets
    assert embedded.keys.as_list() == keys
    assert module.training


X = torch.zeros(2, 3)


@given(
    wrong=st.sampled_from(
        [
            (None, "NoneType"), (X, "Tensor of length 2"), ({"x": X}, "dict of length"),
            ((X, [0, 1]), "tuple of length 2"), (5, "int"), ("abc", "str of length 3"),
            ((X.tolist(), [0, 1], [0, 1]), "images as a tensor"),
            ((X, [0], [0, 1]), "targets must have shape (2,)"),
            ((X, ["a", "b"], [0, 1]), "targets must be class numbers"),
            ((X, None, [0, 1]), "targets must be class numbers"),
            ((X, [0, 1], [0]), "keys must be 2"), ((X, [0, 1], None), "keys must be 2"),
            ((X, [0, 1], 7), "keys must be 2"),
        ]
    )
)  # fmt: skip
def test_wrong_batches(wrong: tuple[Any, str]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        embed_dataset(Embedding(), [wrong[0]])
    assert wrong[1] in str(caught.value)


@given(
    loader=st.sampled_from([None, 5, 0.5, torch.relu]),
    shape=st.sampled_from([(2,), (1, 4), (2, 2, 2)]),
)
def test_wrong_loaders_and_modules(loader: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="dataloader must be iterable, got"):
        embed_dataset(Embedding(), loader)
    with pytest.raises(TypeError, match="dataloader must be iterable, got"):
        PrototypeKMeans(3, loader)
    with pytest.raises(ValueError, match="dataloader is empty"):
        embed_dataset(Embedding(), [])
    with pytest.raises(TypeError, match=r"module must have embed\(x\), got"):
        embed_dataset(pl.LightningModule(), [])

    class Wrong(Embedding):
        def embed(self, x: Tensor) -> Tensor:
            return torch.zeros(shape)

    with pytest.raises(ValueError, match=r"embed\(x\) must return \(2, d\)") as caught:
        embed_dataset(Wrong(), [(X, [0, 1], [0, 1])])
    assert str(shape) in str(caught.value)


@given(
    bad=st.one_of(
        st.tuples(st.just("n_clusters"), st.one_of(no_counts, st.sampled_from([0, 1]))),
        st.tuples(st.just("warmup_epochs"), no_counts),
        st.tuples(
            st.sampled_from(["every_n_epochs", "n_init"]),
            st.one_of(no_counts, st.just(0)),
        ),
        st.tuples(st.just("random_state"), no_counts.filter(lambda x: x is not None)),
        st.tuples(st.sampled_from(["whiten", "warm_start"]), no_flags),
    )
)
def test_wrong_options_of_the_prototypes(bad: tuple[str, Any]) -> None:
    name, value = bad
    with pytest.raises((TypeError, ValueError)) as caught:
        PrototypeKMeans(**{"n_clusters": 3, "dataloader": [], name: value})
    assert str(caught.value).startswith(name) and repr(value) in str(caught.value)


def is_given(value: object) -> bool:
    return value is not None


@given(
    bad=st.one_of(
        st.tuples(st.just("learning_rate"), st.one_of(no_scale, st.just(0.0))),
        st.tuples(
            st.sampled_from(["weight_decay", "prediction_head_lr_scale"]), no_scale
        ),
        st.tuples(st.sampled_from(["momentum", "teacher_momentum"]), no_share),
        st.tuples(st.just("final_teacher_momentum"), no_share.filter(is_given)),
        st.tuples(st.just("warmup_epochs"), no_counts),
        st.tuples(
            st.just("log_every_n_steps"),
            st.one_of(no_counts, st.just(0)).filter(is_given),
        ),
        st.tuples(st.just("seed"), no_counts.filter(is_given)),
        st.tuples(st.sampled_from(["concatenate_views", "fused"]), no_flags),
        st.tuples(
            st.just("compile_mode"), st.one_of(st.text(max_size=5), st.integers())
        ),
    )
)
def test_wrong_options_of_hadis(bad: tuple[str, Any]) -> None:
    name, value = bad
    model = HaDisModel(nn.Flatten(), nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises((TypeError, ValueError)) as caught:
        HaDis(model, HaDisLoss(2), **{name: value})
    assert str(caught.value).startswith(name) and repr(value) in str(caught.value)
