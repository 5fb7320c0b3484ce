"""From keys to rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hadis_lightly.data.key_index import KeyIndex


def test_indices() -> None:
    index = KeyIndex([torch.tensor([4, 0]), torch.tensor([7])])
    assert index.as_list() == [4, 0, 7]
    rows = index.rows(torch.tensor([7, 4, 4, 0]))
    assert rows.dtype == torch.long and rows.tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize(
    "keys", [[2, 1], (2, 1), torch.tensor([2, 1], dtype=torch.int32)]
)
def test_integers_of_any_kind(keys: object) -> None:
    index = KeyIndex([[1], [2]])
    assert index.rows(keys).tolist() == [1, 0]  # type: ignore[arg-type]


def test_names() -> None:
    index = KeyIndex([("b/1.png", "a/1.png"), ["10"]])
    assert index.as_list() == index.keys == ["b/1.png", "a/1.png", "10"]
    rows = index.rows(("10", "b/1.png"))
    assert rows.dtype == torch.long and rows.tolist() == [2, 0]
    assert index.rows([]).shape == (0,)


def test_rows_lead_back_to_their_keys() -> None:
    keys = torch.randperm(100, generator=torch.Generator().manual_seed(0)) * 3
    index = KeyIndex(keys.split(16))
    assert torch.equal(index.rows(keys), torch.arange(100))
    some = keys[torch.tensor([5, 99, 0])]
    assert isinstance(index.keys, torch.Tensor)
    assert torch.equal(index.keys[index.rows(some)], some)


@pytest.mark.parametrize("key", [1, 100, -1])
def test_unknown_index(key: int) -> None:
    index = KeyIndex([torch.tensor([0, 4])])
    with pytest.raises(ValueError, match=f"^unknown key {key}: the dataloader"):
        index.rows(torch.tensor([0, key]))


def test_unknown_name() -> None:
    index = KeyIndex([["a.png", "b.png"]])
    with pytest.raises(ValueError, match=r"^unknown key 'c\.png': the dataloader"):
        index.rows(["a.png", "c.png"])
    with pytest.raises(TypeError, match=r"are like 'a\.png', but here tensor\(0\)"):
        index.rows(torch.tensor([0, 1]))


@pytest.mark.parametrize("batches", [[["a", "b"], ["a"]], [[1, 2], [1]]])
def test_keys_must_differ(batches: list[list[str]] | list[list[int]]) -> None:
    with pytest.raises(
        ValueError, match=r"keys must differ, .* 2 different ones for 3"
    ):
        KeyIndex(batches)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[]], "at least one"),
        ([[0, -2]], "got indices from -2 to 0"),
        ([[0, 10**12]], "got indices from 0 to 1000000000000"),
        ([[0.5]], "names or an integer tensor"),
        ([[1, "a"]], "all indices or all names"),
        ([["a"], [1]], "all indices or all names"),
    ],
)
def test_wrong_keys(batches: list[list[int]], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        KeyIndex(batches)


INDICES = KeyIndex([torch.tensor([4, 0, 7])])
PATHS = KeyIndex([["b.png", "a.png", "c.png"]])


@pytest.mark.parametrize("default", [-1, 9])
def test_unknown_keys_have_the_default_row(default: int) -> None:
    rows = INDICES.rows_or(torch.tensor([7, 5, 99, -1, 4]), default)
    assert rows.tolist() == [2, default, default, default, 0]
    rows = PATHS.rows_or(("c.png", "?", "b.png"), default)
    assert rows.dtype == torch.long and rows.tolist() == [2, default, 0]
    assert INDICES.rows_or(["a.png"], default).tolist() == [default]
    assert PATHS.rows_or([0, 1], default).tolist() == [default] * 2
    assert INDICES.rows_or([]).shape == PATHS.rows_or([]).shape == (0,)


@pytest.mark.parametrize(
    ("index", "same", "others"),
    [
        (INDICES, [[0, 4], [7]], [[[0, 4]], [[0, 4, 7, 8]], [[0, 4, 8]]]),
        (PATHS, [["a.png", "b.png", "c.png"]], [[["a.png", "b.png", "d.png"]]]),
    ],
)
def test_the_same_keys_in_any_order(index: KeyIndex, same: Any, others: Any) -> None:
    again = KeyIndex(same)
    assert index.has_same_keys(again) and again.has_same_keys(index)
    for other in map(KeyIndex, [*others, [["x"]], [[1]]]):
        assert not index.has_same_keys(other) and not other.has_same_keys(index)


@pytest.mark.parametrize("index", [INDICES, PATHS])
def test_keys_at_some_rows(index: KeyIndex) -> None:
    keys = index.as_list()
    assert index.at(torch.tensor([2, 0])).as_list() == [keys[2], keys[0]]
    assert len(index) == 3 and index.at(torch.arange(3)) is index


def test_what_differs_is_counted_with_an_example() -> None:
    later = KeyIndex([["c.png", "d.png", "b.png", "e.png"]])
    with pytest.raises(ValueError, match="the same images in every pass") as caught:
        later.rows_of_same(PATHS)
    expected = "of the 3 of an earlier pass there are 1 missing (such as 'a.png') and "
    assert expected + "2 new (such as 'd.png')" in str(caught.value)
    with pytest.raises(ValueError, match=r"there are 1 missing .such as 7.. A likely"):
        KeyIndex([[4, 0]]).rows_of_same(INDICES)
    with pytest.raises(ValueError, match=r"3 missing .* 3 new \(such as 'b.png'\)"):
        PATHS.rows_of_same(INDICES)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_on_the_accelerator() -> None:
    index = KeyIndex([torch.tensor([4, 0]), torch.tensor([7])])
    rows = index.rows(torch.tensor([7, 4]), device="cuda")
    assert rows.device.type == "cuda" and rows.tolist() == [2, 0]
