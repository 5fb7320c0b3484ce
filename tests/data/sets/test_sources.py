"""Sources by name: digits, subsets, and wrong arguments."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import datasets

from hadis_lightly.data import SOURCE_NAMES, DataError, load_digits, load_source


def test_digits_are_scikit_learns() -> None:
    digits = load_source("digits")
    reference = datasets.load_digits()
    assert len(digits) == len(set(digits.keys)) == 1797
    assert digits.keys[1796] == "001796" and digits.num_channels == 1
    assert digits.class_names == tuple("0123456789")
    assert digits.targets.dtype == np.int64
    np.testing.assert_array_equal(digits.targets, reference.target)
    image, target = digits[3]
    assert (image.mode, image.size, target) == ("L", (8, 8), 3)
    pixels = np.asarray(image)
    np.testing.assert_allclose(pixels / 255 * 16, reference.images[3], atol=0.05)


def test_limit_draws_the_same_images_for_a_seed() -> None:
    first, second = (load_source("digits", limit=50, seed=4) for _ in range(2))
    assert first.keys == second.keys == sorted(first.keys)
    assert len(set(first.keys)) == len(first) == 50
    assert first.keys != load_source("digits", limit=50, seed=5).keys
    assert set(first.keys) < set(load_source("digits", limit=60, seed=4).keys)


def test_limit_keeps_everything_aligned() -> None:
    everything = load_digits()
    some = everything.random_subset(40)
    for index, key in enumerate(some.keys):
        assert some[index] == everything[int(key)]
    assert some.images.shape == (40, 8, 8, 1)
    assert some.description.endswith("10 classes; a random 40 of them (seed 0)")
    assert list(pickle.loads(pickle.dumps(some))) == list(some)
    assert everything.random_subset(5000) is everything


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits", {"limit": 0}, "limit must be at least 1, got 0"),
        ("digits", {"path": "somewhere"}, "takes no path"),
        ("digits", {"num_channels": 3}, "num_channels is 3 but"),
        ("digits", {"num_channels": 4}, "must be 1 or 3, got 4"),
        ("digits", {"unlabelled": True}, "only stl10 has unlabelled images, not 'dig"),
        ("npz", {}, "data=npz needs a path"),
        ("folder", {}, "data=folder needs a path"),
        ("stl11", {}, "unknown data source 'stl11'.*" + ".*".join(SOURCE_NAMES)),
    ],
)
def test_wrong_arguments_are_named(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_source(name, **options)  # type: ignore[arg-type]
