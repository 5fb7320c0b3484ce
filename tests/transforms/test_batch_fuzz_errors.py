"""Generated wrong batches: each error names the argument and what was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hadis_lightly.transforms import (
    BatchedTestTransform,
    BatchedViews,
    HaDisTestTransform,
    HaDisViewTransform,
)


@given(
    shape=st.one_of(
        st.lists(st.integers(0, 5), max_size=3),
        st.lists(st.integers(1, 5), min_size=6, max_size=6),
        st.tuples(
            st.integers(1, 4), st.sampled_from([2, 4, 5]), st.just(5), st.just(5)
        ),
        st.tuples(st.just(1), st.just(3), st.just(0), st.integers(0, 5)),
        st.tuples(st.just(1), st.just(3), st.just(3), st.just(5), st.just(5)),
    ),
    call=st.sampled_from([BatchedViews(5), BatchedTestTransform(5)]),
)
def test_wrong_shapes(shape: list[int], call: Any) -> None:
    with pytest.raises(ValueError, match=r"^images must have") as caught:
        call(torch.zeros(tuple(shape), dtype=torch.uint8))
    assert str(tuple(shape)) in str(caught.value)


@given(
    bad=st.sampled_from(
        [
            (torch.zeros(1, 3, 5, 5), "torch.float32"),
            (torch.zeros(1, 3, 5, 5, dtype=torch.int64), "torch.int64"),
            (torch.zeros(1, 3, 5, 5, dtype=torch.bool), "torch.bool"),
            (torch.zeros(1, 3, 5, 5, dtype=torch.uint8, device="meta"), "meta"),
            (np.zeros((1, 3, 5, 5), np.uint8), "ndarray"),
            (Image.new("RGB", (5, 5)), "Image"),
            ([torch.zeros(3, 5, 5)], "list"),
            (None, "NoneType"),
        ]
    ),
    call=st.sampled_from(
        [
            BatchedViews(5),
            BatchedViews(5).uniforms,
            BatchedViews(5).draw,
            BatchedTestTransform(5),
        ]
    ),
)
def test_wrong_batches(bad: tuple[Any, str], call: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^images must ") as caught:
        call(bad[0])
    assert bad[1] in str(caught.value)


@given(n=st.integers(0, 5), wrong=st.integers(0, 5), views=st.integers(0, 3))
def test_draws_of_other_images(n: int, wrong: int, views: int) -> None:
    images = torch.zeros(n, 3, 5, 5, dtype=torch.uint8)
    made = BatchedViews(5)
    size = made.uniforms(images).shape[2]
    if (views, wrong) != (2, n):
        with pytest.raises(ValueError, match=r"uniforms must have shape \(2, "):
            made.make(images, torch.zeros(views, wrong, size))
    if wrong != n:
        with pytest.raises(ValueError, match=rf"keys must have shape \({n},\), got"):
            made.keyed_uniforms(images, torch.arange(wrong), seed=0, epoch=0)
    with pytest.raises(TypeError, match="keys must be an integer tensor, got"):
        made.keyed_uniforms(images, torch.rand(n), seed=0, epoch=0)


@given(
    transform=st.one_of(
        st.none(),
        st.integers(),
        st.text(max_size=5),
        st.lists(st.integers(), max_size=3),
        st.sampled_from([Image.new, HaDisTestTransform(5), HaDisViewTransform(5)]),
    )
)
def test_no_transforms(transform: Any) -> None:
    with pytest.raises(ValueError, match="transform must be a multi-view transform"):
        BatchedViews.from_transform(transform)
