"""Generated wrong settings and images: each error names the argument and its value."""

from __future__ import annotations

import math
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
    HaDisCropTransform,
    HaDisTestTransform,
    HaDisTransform,
    HaDisViewTransform,
    ToNormalizedTensor,
)

no_numbers = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.floats(0, 1), max_size=3),
    st.sampled_from([math.nan, math.inf, -math.inf, 10**400]),
    st.complex_numbers(),
)


def outside(low: float, high: float) -> st.SearchStrategy[Any]:
    """No number, or one that is not within the two."""
    wrong = [no_numbers, st.floats(max_value=low, exclude_max=True)]
    if high < math.inf:
        wrong.append(st.floats(min_value=high, exclude_min=True))
        wrong.append(st.integers(min_value=math.floor(high) + 1))
    return st.one_of(wrong)


no_pairs = st.one_of(
    st.tuples(st.floats(1, 5), st.floats(0, 0.9)),
    st.tuples(st.floats(0, 1)),
    st.tuples(st.floats(0, 1), st.floats(1, 2), st.floats(2, 3)),
    st.tuples(st.floats(0, 1), st.sampled_from([math.nan, math.inf, None, "1"])),
    st.tuples(st.booleans(), st.floats(1, 2)),
    st.text(max_size=3),
)


def _is_no_pair(value: object) -> bool:
    """Whether it is neither a list of two, which may be right, nor None."""
    return value is not None and not (isinstance(value, list) and len(value) == 2)


no_size = st.one_of(no_numbers, st.integers(max_value=0), st.floats())
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "input_size": no_size,
    **dict.fromkeys(
        (
            "cj_prob", "random_gray_scale", "hf_prob", "vf_prob", "rr_prob",
            "gaussian_blur", "solarization_prob", "affine_translate",
        ),
        outside(0, 1),
    ),
    **dict.fromkeys(
        ("cj_bright", "cj_contrast", "cj_sat", "cj_strength"), outside(0, math.inf)
    ),
    "cj_hue": outside(0, 0.5),
    "min_scale": st.one_of(outside(0, 1), st.sampled_from([0, 0.0])),
    "affine_degrees": outside(0, 180),
    "affine_shear": outside(0, 89),
    "sigmas": st.one_of(no_pairs, no_numbers.filter(_is_no_pair), st.just((-1.0, 1.0))),
    "rr_degrees": st.one_of(no_pairs, outside(0, math.inf).filter(_is_no_pair)),
}  # fmt: skip
no_normalize = st.one_of(
    st.text(max_size=3),
    st.integers(),
    st.lists(st.floats(0, 1), max_size=3),
    st.fixed_dictionaries({"mean": st.just([0.5])}),
    st.sampled_from(
        [
            {},
            {"mean": [0.5], "std": [0.0]},
            {"mean": [0.5], "std": [-1.0]},
            {"mean": [0.5], "std": [1e-30]},
            {"mean": [1e300], "std": [1.0]},
            {"mean": [math.nan], "std": [1.0]},
            {"mean": [0.5], "std": [math.inf]},
            {"mean": [0.5, 0.5], "std": [0.5, 0.5]},
            {"mean": [0.5] * 3, "std": [0.5]},
            {"mean": [], "std": []},
            {"mean": ["0.5"], "std": [0.5]},
            {"mean": [True], "std": [0.5]},
            {"mean": 0.5, "std": 0.5},
            {"mean": "abc", "std": "abc"},
            {"mean": None, "std": None},
            {"mean": [0.5], "std": [0.5], "var": [0.5]},
        ]
    ),
)


@given(
    data=st.data(),
    call=st.sampled_from([HaDisTransform, HaDisViewTransform, BatchedViews]),
)
def test_wrong_settings(data: st.DataObject, call: Any) -> None:
    name = data.draw(st.sampled_from(sorted(WRONG)))
    value = data.draw(WRONG[name])
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**{name: value})
    assert str(caught.value).startswith(name)
    assert repr(value) in str(caught.value)


@given(strength=st.floats(1.2, 1e6), hue=st.floats(0.46, 0.5))
def test_strength_and_hue_together(strength: float, hue: float) -> None:
    with pytest.raises(ValueError, match=r"cj_strength \* cj_hue must be <= 0.5, got"):
        HaDisTransform(cj_strength=strength, cj_hue=hue)


@given(
    normalize=no_normalize,
    call=st.sampled_from(
        [
            ToNormalizedTensor,
            lambda wrong: HaDisTransform(normalize=wrong),
            lambda wrong: BatchedViews(normalize=wrong),
            lambda wrong: HaDisTestTransform(normalize=wrong),
            lambda wrong: BatchedTestTransform(normalize=wrong),
        ]
    ),
)
def test_wrong_normalize(normalize: Any, call: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"normalize.* must .*got"):
        call(normalize)


@given(
    bad=st.one_of(
        st.tuples(st.just("input_size"), no_size),
        st.tuples(st.just("num_views"), no_size),
        st.tuples(st.just("min_scale"), WRONG["min_scale"]),
    ),
    call=st.sampled_from(
        [HaDisCropTransform, HaDisTestTransform, BatchedTestTransform]
    ),
)
def test_wrong_sizes(bad: tuple[str, Any], call: Any) -> None:
    name, value = bad
    call = call if name == "input_size" else HaDisCropTransform
    with pytest.raises(ValueError, match=f"^{name} must be") as caught:
        call(**{name: value})
    assert repr(value) in str(caught.value)


@given(
    bad=st.one_of(
        st.tuples(st.just("generator"), st.one_of(st.integers(), st.text(max_size=3))),
        st.tuples(
            st.just("dtype"),
            st.sampled_from([torch.uint8, torch.complex64, "float32", None, 3]),
        ),
        st.tuples(
            st.just("memory_format"),
            st.sampled_from([torch.preserve_format, torch.channels_last_3d, "x", None]),
        ),
    ),
    is_made_of_a_transform=st.booleans(),
)
def test_wrong_options_of_batches(
    bad: tuple[str, Any], is_made_of_a_transform: bool
) -> None:
    name, value = bad
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be") as caught:
        if is_made_of_a_transform:
            BatchedViews.from_transform(HaDisTransform(8), **{name: value})
        else:
            BatchedViews(8, **{name: value})
    assert str(value) in str(caught.value) or repr(value) in str(caught.value)


@given(
    image=st.one_of(
        st.sampled_from(["1", "P", "PA", "LA", "RGBA", "CMYK", "YCbCr", "I", "F"]).map(
            lambda mode: (Image.new(mode, (6, 5)), mode)
        ),
        st.sampled_from([(0, 0), (0, 5), (5, 0)]).map(
            lambda size: (Image.new("RGB", size), str(size))
        ),
        st.sampled_from(
            [
                (None, "NoneType"), ("a.png", "str"), (b"png", "bytes"), (3, "int"),
                (np.zeros((5, 6, 3), np.uint8), "ndarray"),
                (torch.zeros(3, 5, 6), "Tensor"), ([Image.new("L", (5, 6))], "list"),
            ]
        ),
    ),
    call=st.sampled_from(
        [
            HaDisTransform(5, normalize=None),
            HaDisViewTransform(5, normalize=None),
            HaDisCropTransform(5),
            HaDisTestTransform(5, normalize=None),
            ToNormalizedTensor(None),
        ]
    ),
)  # fmt: skip
def test_wrong_images(image: tuple[Any, str], call: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^image must ") as caught:
        call(image[0])
    assert image[1] in str(caught.value)


@given(channels=st.sampled_from([1, 3]), is_batch=st.booleans())
def test_wrong_channels(channels: int, is_batch: bool) -> None:
    normalize = {"mean": [0.5] * channels, "std": [0.5] * channels}
    batch = torch.zeros(2, 4 - channels, 5, 5, dtype=torch.uint8)
    image = Image.new("RGB" if channels == 1 else "L", (5, 5))
    calls: list[Any] = [
        lambda: HaDisTransform(5, normalize=normalize)(image),
        lambda: HaDisTestTransform(5, normalize=normalize)(image),
    ]
    if is_batch:
        calls = [
            lambda: BatchedViews(5, normalize=normalize)(batch),
            lambda: BatchedTestTransform(5, normalize=normalize)(batch),
        ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"normalize has {channels} channel\(s\)"):
            call()
