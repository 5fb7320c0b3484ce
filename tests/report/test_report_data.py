from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.report.some_data import some_data


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.zeros(59, dtype=np.int64)},
        {"labels": np.full(60, 3)},
        {"labels": np.full(60, -1)},
        {"labels": np.zeros(60)},
        {"confidence": np.ones((60, 1))},
        {"confidence": np.full(60, 1.2)},
        {"confidence": np.full(60, np.nan)},
        {"distance": np.full(60, -0.5)},
        {"targets": np.full(60, 3)},
        {"targets": np.full(60, -2)},
        {"prototypes": np.zeros(3)},
        {"prototypes": np.full((3, 2), np.nan)},
        {"points": np.zeros((60, 3))},
        {"keys": []},
        {"history": [{"nmi": 0.5}]},
        {"losses": {"loss": ([1, 2], [0.5])}},
        {"tree": {"levels": [3, 6], "merges": [(0, 1)], "links": [1.0]}},
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=rf"^{name} must"):
        some_data(**changes)


def test_classes_without_names_are_numbers() -> None:
    data = some_data(class_names=None)
    assert data.has_targets
    assert data.class_name(2) == "2"


def test_rounding_above_one_is_no_error() -> None:
    assert some_data(confidence=np.full(60, 1 + 1e-7)).n_images == 60


def test_one_class_is_none() -> None:
    """Every clustering agrees with it: there is nothing to compare."""
    assert not some_data(targets=np.zeros(60, dtype=np.int64)).has_targets
