from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
)

from hadis_lightly.data import IndexedDataset, load_digits


class Labelled(Dataset[tuple[str, int]]):
    """Says its targets without being read, and fails if it is read."""

    def __init__(self, targets: object) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[str, int]:
        raise RuntimeError("read")


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
        with pytest.raises(IndexError, match=f"{index} is out of range for 2"):
            dataset[index]


def test_iterable_dataset_is_refused() -> None:
    with pytest.raises(TypeError, match="got generator"):
        IndexedDataset(item for item in "ab")


@pytest.mark.parametrize(
    "targets",
    [[0, -1, 2], np.array([0, -5, 2]), torch.tensor([0, -1, 2]), (0, None, 2)],
)
def test_targets_without_reading_a_sample(targets: object) -> None:
    found = IndexedDataset(Labelled(targets)).targets
    assert found is not None
    assert found.dtype == np.int64
    assert found.tolist() == [0, -1, 2]


@pytest.mark.parametrize(
    "targets",
    [
        *(None, [0, 1], ["a.png", "b.png", "c.png"], "abc", 3, np.int64(3)),
        *(torch.tensor(3), {0: 1, 1: 1, 2: 1}, lambda: [0, 1, 2], [0.5, 1.0, 2.0]),
    ],
)
def test_no_targets_where_none_are_offered(targets: object) -> None:
    assert IndexedDataset(Labelled(targets)).targets is None


def test_targets_pass_through_torch_wrappers() -> None:
    base = Labelled([4, 5, 6])
    subset = Subset(base, [2, 0])
    assert IndexedDataset(subset).targets.tolist() == [6, 4]
    assert IndexedDataset(ConcatDataset([subset, base])).targets.tolist() == [
        *(6, 4),
        *(4, 5, 6),
    ]
    tensors = TensorDataset(torch.zeros(2, 1), torch.tensor([1, 0]))
    assert IndexedDataset(tensors).targets.tolist() == [1, 0]
    assert IndexedDataset(TensorDataset(torch.zeros(2, 1))).targets is None
    assert IndexedDataset(ConcatDataset([base, Labelled(None)])).targets is None


def test_empty_subset_has_no_targets_but_is_known() -> None:
    found = IndexedDataset(Subset(Labelled([4, 5, 6]), [])).targets
    assert found is not None
    assert (found.dtype, found.shape) == (np.int64, (0,))


def test_targets_are_those_the_samples_show() -> None:
    base = Labelled([4, 5, 6])
    base.target_transform = lambda target: target // 2
    assert IndexedDataset(base).targets.tolist() == [2, 2, 3]


def test_targets_agree_with_the_samples_of_a_source() -> None:
    digits = load_digits().random_subset(30)
    dataset = IndexedDataset(digits)
    assert [dataset[i][1] for i in range(30)] == dataset.targets.tolist()


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
