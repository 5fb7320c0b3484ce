"""Shares of a set that real processes embed, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch import distributed as torch_dist

from hadis_lightly.training.embedding import embed_dataset
from tests.training.forked_processes import run_forked

pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)
N, WORLD_SIZE = 11, 2
IMAGES = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
NAMES = [f"{number:02}.png" for number in range(N)]
# Which images each process gets.
CASES = {
    "a share each": [list(range(rank, N, 2)) for rank in range(2)],
    "all of them each": [list(range(N))] * 2,
    "filled up with images of others": [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 0]],
    "nothing for one": [[], list(range(N))],
    "nothing for any": [[], []],
}


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 5)

    def embed(self, x: Tensor) -> Tensor:
        return self.layer(x)


def loader(rows: list[int], with_names: bool) -> list[Any]:
    """Batches of two."""
    return [
        (
            IMAGES[some],
            torch.tensor(some) % 4,
            [NAMES[row] for row in some] if with_names else torch.tensor(some),
        )
        for some in (rows[start : start + 2] for start in range(0, len(rows), 2))
    ]


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    url = f"file://{folder}/rendezvous"
    torch_dist.init_process_group(
        "gloo", init_method=url, rank=rank, world_size=WORLD_SIZE
    )
    results: dict[str, Any] = {}
    for case, rows in CASES.items():
        for with_names in (False, True):
            try:
                found = embed_dataset(Module(), loader(rows[rank], with_names))
            except ValueError as error:
                results[f"{case} {with_names}"] = str(error)
                continue
            keys = found.keys.as_list()
            results[f"{case} {with_names}"] = (found.embeddings, found.targets, keys)
    torch.save(results, f"{folder}/{rank}.pt")
    torch_dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    run_forked(process, WORLD_SIZE, str(folder))
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD_SIZE)]


@pytest.mark.parametrize("with_names", [False, True])
@pytest.mark.parametrize("case", list(CASES))
def test_every_image_counts_once(
    case: str, with_names: bool, results: list[dict[str, Any]]
) -> None:
    found = [result[f"{case} {with_names}"] for result in results]
    if case == "nothing for any":
        assert found == ["dataloader is empty: there is nothing to embed."] * 2
        return
    expected = embed_dataset(Module(), loader(list(range(N)), with_names))
    for embeddings, targets, keys in found:
        assert sorted(keys) == expected.keys.as_list()
        order = expected.keys.rows(keys)
        torch.testing.assert_close(embeddings, expected.embeddings[order])
        assert torch.equal(embeddings, found[0][0])
        assert torch.equal(targets, expected.targets[order])
        assert keys == expected.keys.as_list()
