from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hadis_lightly.data import IndexedDataset, load_digits


def to_sum(image: object) -> int:
    return int(np.asarray(image).sum())


def test_sample_target_index() -> None:
    dataset = IndexedDataset([("a", 1), ("b", 0)])
    assert len(dataset) == 2
    assert list(dataset) == [("a", 1, 0), ("b", 0, 1)]


def test_rest_of_a_tuple_is_dropped() -> None:
    assert IndexedDataset([("a", 1, "a.png", 7)])[0] == ("a", 1, 0)


@pytest.mark.parametrize("item", ["bare", ("bare",), ("bare", None), ("bare", -7)])
def test_unknown_target_is_minus_one(item: object) -> None:
    assert IndexedDataset([item])[0] == ("bare", -1, 0)


def test_a_list_of_views_is_one_sample() -> None:
    views = [torch.zeros(1), torch.ones(1)]
    assert IndexedDataset([views])[0] == (views, -1, 0)


@pytest.mark.parametrize(
    "target", [2, np.int64(2), np.array(2), torch.tensor(2), torch.tensor([2])]
)
def test_target_becomes_an_int(target: object) -> None:
    found = IndexedDataset([("a", target)])[0][1]
    assert found == 2
    assert type(found) is int


@pytest.mark.parametrize("target", [0.5, "cat", torch.tensor([0, 1])])
def test_target_that_is_no_integer_is_named(target: object) -> None:
    dataset = IndexedDataset([("a", 0), ("b", target)])
    with pytest.raises(TypeError, match="target of sample 1 must be an integer"):
        dataset[1]


def test_negative_index_and_out_of_range() -> None:
    dataset = IndexedDataset(["a", "b"])
    assert dataset[-1] == ("b", -1, 1)
    for index in (2, -3):
        with pytest.raises(IndexError, match="out of range"):
            dataset[index]


def test_iterable_dataset_is_refused() -> None:
    with pytest.raises(TypeError, match="got generator"):
        IndexedDataset(item for item in "ab")


def test_can_be_pickled() -> None:
    dataset = IndexedDataset(load_digits().random_subset(3), transform=to_sum)
    assert list(pickle.loads(pickle.dumps(dataset))) == list(dataset)


# Python 3.12 warns of every fork in a process that has threads.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_works_in_data_loader_workers() -> None:
    dataset = IndexedDataset(load_digits().random_subset(20), transform=to_sum)
    loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=2)
    rows = [torch.stack(batch, dim=1) for batch in loader]
    found = sorted(map(tuple, torch.cat(rows).tolist()), key=lambda row: row[2])
    assert found == list(dataset)
