"""From keys to rows."""

from __future__ import annotations

import pytest
import torch

from hadis_lightly.training.key_index import KeyIndex


def test_indices() -> None:
    index = KeyIndex([torch.tensor([4, 0]), torch.tensor([7])])
    assert len(index) == 3
    assert isinstance(index.keys, torch.Tensor) and index.keys.tolist() == [4, 0, 7]
    rows = index.rows(torch.tensor([7, 4, 4, 0]))
    assert rows.dtype == torch.long and rows.tolist() == [2, 0, 0, 1]
    assert index.names() == ["4", "0", "7"]


@pytest.mark.parametrize(
    "keys", [[2, 1], (2, 1), torch.tensor([2, 1], dtype=torch.int32)]
)
def test_integers_of_any_kind(keys: object) -> None:
    index = KeyIndex([[1], [2]])
    assert index.rows(keys).tolist() == [1, 0]  # type: ignore[arg-type]


def test_names() -> None:
    index = KeyIndex([("b/1.png", "a/1.png"), ["a/2.png"]])
    assert len(index) == 3
    assert index.keys == index.names() == ["b/1.png", "a/1.png", "a/2.png"]
    rows = index.rows(("a/2.png", "b/1.png"))
    assert rows.dtype == torch.long and rows.tolist() == [2, 0]
    assert rows.device.type == "cpu"


def test_names_that_look_like_numbers_stay_names() -> None:
    assert KeyIndex([["10", "9"]]).rows(["9"]).tolist() == [1]


def test_nothing_asked_for() -> None:
    assert KeyIndex([torch.tensor([3])]).rows(
        torch.tensor([], dtype=torch.long)
    ).shape == (0,)
    assert KeyIndex([["a"]]).rows([]).shape == (0,)


def test_rows_lead_back_to_their_keys() -> None:
    keys = torch.randperm(100, generator=torch.Generator().manual_seed(0)) * 3
    index = KeyIndex(keys.split(16))
    assert torch.equal(index.rows(keys), torch.arange(100))
    some = keys[torch.tensor([5, 99, 0])]
    assert isinstance(index.keys, torch.Tensor)
    assert torch.equal(index.keys[index.rows(some)], some)


@pytest.mark.parametrize("key", [1, 5, 100, -1, -5])
def test_unknown_index(key: int) -> None:
    index = KeyIndex([torch.tensor([0, 4])])
    with pytest.raises(ValueError, match=f"^key {key} did not come out of"):
        index.rows(torch.tensor([0, key]))


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"^key 'c\.png' did not come out of"):
        KeyIndex([["a.png", "b.png"]]).rows(["a.png", "c.png"])


@pytest.mark.parametrize("batches", [[["a", "b"], ["a"]], [[1, 2], [1]]])
def test_keys_must_differ(batches: list[list[str]] | list[list[int]]) -> None:
    with pytest.raises(
        ValueError, match=r"keys must differ, .* 2 different ones for 3"
    ):
        KeyIndex(batches)


def test_negative_index() -> None:
    with pytest.raises(ValueError, match="keys must be >= 0, got -2"):
        KeyIndex([[0, -2]])


@pytest.mark.parametrize(
    "keys", [torch.tensor([0.5]), torch.tensor([[1]]), torch.tensor(1), [0.5]]
)
def test_keys_of_the_wrong_kind(keys: object) -> None:
    with pytest.raises(TypeError, match="keys must be names or an integer tensor"):
        KeyIndex([keys])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="keys must be names or an integer tensor"):
        KeyIndex([[0, 1]]).rows(keys)  # type: ignore[arg-type]


def test_indices_and_names_do_not_mix() -> None:
    with pytest.raises(TypeError, match="keys must be all indices or all names"):
        KeyIndex([[1, "a"]])  # type: ignore[list-item]


def test_names_asked_for_where_keys_are_indices() -> None:
    with pytest.raises(TypeError, match="keys must be"):
        KeyIndex([[0, 1]]).rows(["a"])


def test_indices_asked_for_where_keys_are_names() -> None:
    with pytest.raises(ValueError, match="did not come out of"):
        KeyIndex([["a", "b"]]).rows(torch.tensor([0, 1]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_on_the_accelerator() -> None:
    index = KeyIndex([torch.tensor([4, 0]), torch.tensor([7])])
    rows = index.rows(torch.tensor([7, 4]), device="cuda")
    assert rows.device.type == "cuda" and rows.tolist() == [2, 0]
