"""Generated wrong inputs of the losses: each error names the argument and its value."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hadis_lightly.loss import DSALoss, HaDisLoss, HSDLoss, PCLLoss

BAD_EMBEDDINGS: dict[str, tuple[Any, str]] = {
    "None": (None, "NoneType"),
    "list": ([[1.0, 2.0]], "list"),
    "array": (np.ones((2, 3)), "float64"),
    "string": ("embeddings", "str"),
    "integers": (torch.ones(2, 3, dtype=torch.int64), "torch.int64"),
    "bytes": (torch.ones(2, 3, dtype=torch.uint8), "torch.uint8"),
    "booleans": (torch.ones(2, 3, dtype=torch.bool), "torch.bool"),
    "complex": (torch.ones(2, 3, dtype=torch.complex64), "torch.complex64"),
    "scalar": (torch.tensor(1.0), "()"),
    "vector": (torch.ones(3), "(3,)"),
    "flat images": (torch.ones(2, 3, 1, 1), "(2, 3, 1, 1)"),
    "no rows": (torch.ones(0, 3), "(0, 3)"),
    "no columns": (torch.ones(2, 0), "(2, 0)"),
    "more rows": (torch.ones(5, 3), "(5, 3)"),
    "more columns": (torch.ones(2, 7), "(2, 7)"),
    "meta": (torch.ones(2, 3, device="meta"), "meta"),
    "sparse": (torch.ones(2, 3).to_sparse(), "sparse"),
    "double": (torch.ones(2, 3, dtype=torch.float64), "float64"),
}


@given(
    kind=st.sampled_from(sorted(BAD_EMBEDDINGS)),
    which=st.integers(0, 2),
    loss=st.sampled_from(["dsa", "hsd", "pcl", "hadis"]),
)
def test_wrong_embeddings(kind: str, which: int, loss: str) -> None:
    bad, shown = BAD_EMBEDDINGS[kind]
    names = {
        "dsa": ("prediction", "teacher"),
        "hsd": ("prediction", "teacher"),
        "pcl": ("student", "teacher"),
        "hadis": ("student", "prediction", "teacher"),
    }[loss]
    good: dict[str, Any] = {name: torch.ones(2, 3) for name in names}
    name = names[which % len(names)]
    good[name] = bad
    criterion: Any = {
        "dsa": DSALoss(),
        "hsd": HSDLoss(),
        "pcl": PCLLoss(3),
        "hadis": HaDisLoss(3),
    }[loss]
    if loss == "pcl":
        good["labels"] = torch.tensor([0, 1])
    with pytest.raises((TypeError, ValueError)) as caught:
        criterion(**good)
    assert name in str(caught.value)
    assert shown in str(caught.value)


@st.composite
def bad_labels(draw: st.DrawFn) -> tuple[Any, str]:
    """Labels of four samples in five clusters that are wrong, and what must be said."""
    length = draw(st.sampled_from([0, 1, 3, 5, 100]))
    low = draw(st.integers(-(2**40), -1))
    high = draw(st.integers(5, 2**40))
    where = draw(st.integers(0, 3))
    low_labels, high_labels = torch.zeros(4).long(), torch.zeros(4).long()
    low_labels[where], high_labels[where] = low, high
    return draw(
        st.sampled_from(
            [
                (torch.zeros(length).long(), f"({length},)"),
                (torch.zeros(4, 1).long(), "(4, 1)"),
                (torch.tensor(0), "()"),
                (low_labels, str(low)),
                (high_labels, str(high)),
                (high_labels.clamp(max=255).to(torch.uint8), str(min(high, 255))),
                (torch.zeros(4), "torch.float32"),
                (torch.zeros(4, dtype=torch.bool), "torch.bool"),
                (torch.zeros(4, dtype=torch.complex64), "torch.complex64"),
                ([0, 1, 2, 3], "list"),
                (np.zeros(4, dtype=int), "int64"),
                ("0123", "str"),
                (torch.zeros(4, device="meta").long(), "meta"),
            ]
        )
    )


@given(bad=bad_labels(), is_whole=st.booleans())
def test_wrong_labels(bad: tuple[Any, str], is_whole: bool) -> None:
    labels, shown = bad
    x = torch.eye(4)
    with pytest.raises((TypeError, ValueError), match=re.escape(shown)) as caught:
        if is_whole:
            HaDisLoss(5)(student=x, prediction=x, teacher=x, labels=labels)
        else:
            PCLLoss(5)(x, x, labels)
    assert "labels" in str(caught.value)


not_numbers = st.one_of(
    st.text(max_size=5),
    st.none(),
    st.booleans(),
    st.lists(st.floats(), max_size=2),
    st.just(torch.tensor([0.5])),
    st.complex_numbers(),
)
not_positive = st.one_of(
    st.floats(max_value=0),
    st.sampled_from([math.nan, math.inf, 0, 0.0]),
    st.integers(max_value=0),
)
negative = st.one_of(
    st.floats(max_value=0, exclude_max=True),
    st.sampled_from([math.nan, math.inf]),
    st.integers(max_value=-1),
)
not_counts = st.one_of(
    not_numbers, st.floats(), st.integers(max_value=1), st.integers(2**63, 2**70)
)


@given(
    bad=st.one_of(
        st.tuples(
            st.sampled_from(["hsd_temperature", "pcl_temperature", "temperature"]),
            st.one_of(not_numbers, not_positive),
        ),
        st.tuples(
            st.sampled_from(["hsd_weight", "pcl_weight"]),
            st.one_of(not_numbers, negative),
        ),
        st.tuples(st.just("n_clusters"), not_counts),
        st.tuples(
            st.just("gather_distributed"),
            st.one_of(st.none(), st.integers(), st.text(max_size=5)),
        ),
    )
)
def test_wrong_options(bad: tuple[str, Any]) -> None:
    name, value = bad
    calls: list[Any] = [HSDLoss] if name == "temperature" else [HaDisLoss]
    if name in ("temperature", "n_clusters", "gather_distributed"):
        calls.append(PCLLoss)
    for call in calls:
        options = {name: value}
        if call is not HSDLoss:
            options = {"n_clusters": 3} | options
        with pytest.raises((TypeError, ValueError)) as caught:
            call(**options)
        assert str(caught.value).startswith(name)
        assert repr(value) in str(caught.value)
