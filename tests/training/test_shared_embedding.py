"""Shares of a set that real processes embed, put together."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch import distributed as torch_dist
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
)

from hadis_lightly.data.loading.process_shares import share_of
from hadis_lightly.training.embedding import embed_dataset
from tests.training.forked_processes import run_forked
from tests.training.plain_trainer import plain_trainer

pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)
N = 11
IMAGES = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
NAMES = [f"{number:02}.png" for number in range(N)]


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 5)
        self.num_images = 0

    def embed(self, x: Tensor) -> Tensor:
        self.num_images += len(x)
        return self.layer(x)


class WithClusters(Module):
    """Probabilities of three clusters beside each embedding."""

    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embeddings = self.embed(x)
        return embeddings, embeddings[:, :3].softmax(dim=1)


class SpoiltForOne(Module):
    """Loses digits where the offset is large: in the process of rank 1."""

    def embed(self, x: Tensor) -> Tensor:
        offset = 4096.0 * (torch_dist.get_rank() == 1)
        return super().embed(x) + offset - offset


class Images(Dataset[Any]):
    def __init__(self, with_names: bool) -> None:
        self.keys: Any = NAMES if with_names else range(N)

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], index % 4, self.keys[index]


class Stream(IterableDataset[Any]):
    def __init__(self, with_names: bool) -> None:
        self.images = Images(with_names)

    def __iter__(self) -> Iterator[Any]:
        return (self.images[index] for index in range(N))


def batches(rows: list[int], with_names: bool) -> list[Any]:
    """Batches of two, no loader of PyTorch's."""
    images = Images(with_names)
    return [
        next(iter(DataLoader([images[row] for row in some], len(some))))  # type: ignore[arg-type]
        for some in (rows[start : start + 2] for start in range(0, len(rows), 2))
    ]


ALL = list(range(N))
# The loader of each process, and how many images each embeds: a share, or all of them.
CASES: dict[str, tuple[Callable[[int, int, bool], Any], bool]] = {
    "a share each": (lambda rank, w, names: batches(ALL[rank::w], names), True),
    "all of them each": (lambda rank, w, names: batches(ALL, names), False),
    "filled up with images of others": (
        lambda rank, w, names: batches((ALL + ALL)[:12][rank::w], names),
        False,
    ),
    "nothing for one": (lambda rank, w, names: batches(ALL if rank else [], names), 0),
    "nothing for any": (lambda rank, w, names: [], 0),
    "a distributed sampler": (
        lambda rank, w, names: DataLoader(
            Images(names), 2, sampler=DistributedSampler(Images(names), shuffle=False)
        ),
        False,  # filled up
    ),
    "in order": (lambda rank, w, names: DataLoader(Images(names), 2), True),
    "shuffled": (lambda rank, w, names: DataLoader(Images(names), 2, True), True),
    "drawn from all": (
        lambda rank, w, names: DataLoader(
            Images(names), 2, sampler=SubsetRandomSampler(torch.arange(N))
        ),
        True,
    ),
    "a set of its own for each": (
        lambda rank, w, names: DataLoader(Subset(Images(names), ALL[rank::w]), 2),
        True,
    ),
    "a random sampler of its own for each": (
        lambda rank, w, names: DataLoader(
            Images(names), 12, sampler=SubsetRandomSampler(ALL[rank::w])
        ),
        True,
    ),
    "a loader of another kind for one": (
        lambda rank, w, names: (
            batches(ALL, names) if rank == 0 else DataLoader(Images(names), 2)
        ),
        False,
    ),
    "an own batch sampler": (
        lambda rank, w, names: DataLoader(
            Images(names), batch_sampler=BatchSampler(ALL, 2, drop_last=False)
        ),
        False,
    ),
    "a stream": (lambda rank, w, names: DataLoader(Stream(names), 2), False),
}


def process(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    url = f"file://{folder}/rendezvous"
    torch_dist.init_process_group(
        "gloo", init_method=url, rank=rank, world_size=world_size
    )
    torch.manual_seed(rank)  # those that shuffle shuffle differently
    results: dict[str, Any] = {}
    for case, (loader, _) in CASES.items():
        for with_names in (False, True):
            module = Module()
            try:
                found = embed_dataset(module, loader(rank, world_size, with_names))
            except ValueError as error:
                results[f"{case} {with_names}"] = str(error)
                continue
            keys = found.keys.as_list()
            of_case = found.embeddings, found.targets, keys, module.num_images
            results[f"{case} {with_names}"] = of_case
    results |= special_cases()
    torch.save(results, f"{folder}/{rank}.pt")
    torch_dist.destroy_process_group()


def special_cases() -> dict[str, Any]:
    loader = DataLoader(Images(with_names=True), 2, shuffle=True)
    dropping = DataLoader(Images(with_names=False), 3, drop_last=True)
    sent: list[int] = []
    gather = torch_dist.all_gather_object

    def measured(received: list[Any], own: Any) -> None:
        sent.append(len(pickle.dumps(own)))
        gather(received, own)

    torch_dist.all_gather_object = measured  # type: ignore[assignment]
    try:
        first = embed_dataset(Module(), loader)
        bytes_first, sent[:] = sum(sent), []
        second = embed_dataset(Module(), loader, keys=first.keys)
    finally:
        torch_dist.all_gather_object = gather
    clusters = embed_dataset(WithClusters(), loader)
    limited = embed_dataset(Module(), DataLoader(Images(False), 2), max_batches=1)
    rank = torch_dist.get_rank()
    few = batches([[0, 2], [1, 3], []][rank], with_names=False)
    rounded, exact = (
        embed_dataset(SpoiltForOne(), few, plain_trainer(precision=precision))
        for precision in ("bf16-mixed", "32-true")
    )
    return {
        "precision": (rounded.embeddings, exact.embeddings),
        "bytes": (bytes_first, sum(sent)),
        "second": (second.embeddings, second.keys is first.keys),
        "kept": share_of(loader) is share_of(loader) is not loader,
        "settings that differ": settings_that_differ(),
        "dropping": embed_dataset(Module(), dropping).keys.as_list(),
        "probabilities": (clusters.embeddings, clusters.probabilities),
        "limited": limited.keys.as_list(),
    }


def collate(images: list[Any]) -> list[Any]:
    return images


def settings_that_differ() -> list[str]:
    settings: dict[str, Any] = {
        "batch_size": 3,
        "num_workers": 2,
        "collate_fn": collate,
        "timeout": 5,
        "worker_init_fn": print,
        "generator": torch.Generator(),
        "prefetch_factor": 4,
        "persistent_workers": True,
        "multiprocessing_context": "spawn",
    }
    loader = DataLoader(Images(with_names=False), shuffle=True, **settings)
    share = share_of(loader)
    names = [*settings, "dataset"]
    return [name for name in names if getattr(share, name) != getattr(loader, name)]


@pytest.fixture(scope="module", params=[2, 3])
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    run_forked(process, request.param, request.param, str(folder))
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("with_names", [False, True])
@pytest.mark.parametrize("case", list(CASES))
def test_every_image_counts_once_in_an_order_that_is_the_same_everywhere(
    case: str, with_names: bool, results: list[dict[str, Any]]
) -> None:
    found = [result[f"{case} {with_names}"] for result in results]
    world_size = len(results)
    if case == "nothing for any":
        message = "dataloader is empty: there is nothing to embed."
        assert found == [message] * world_size
        return
    expected = embed_dataset(Module(), batches(ALL, with_names))
    for rank, (embeddings, targets, keys, num_images) in enumerate(found):
        assert keys == found[0][2] and torch.equal(embeddings, found[0][0])
        if case == "a random sampler of its own for each":
            assert sorted(keys) == expected.keys.as_list()
            order = expected.keys.rows(keys)
        else:
            assert keys == expected.keys.as_list()
            order = torch.arange(N)
        torch.testing.assert_close(embeddings, expected.embeddings[order])
        assert torch.equal(targets, expected.targets[order])
        if CASES[case][1]:
            assert num_images == len(ALL[rank::world_size])


def test_all_processes_embed_in_one_precision(results: list[dict[str, Any]]) -> None:
    for result in results:
        found, exact = result["precision"]
        assert len(found) == 4 and torch.equal(found, exact)


def test_names_are_exchanged_in_the_first_pass_alone(
    results: list[dict[str, Any]],
) -> None:
    expected = embed_dataset(Module(), DataLoader(Images(with_names=True), 2))
    for result in results:
        before, after = result["bytes"]
        assert before - after > sum(map(len, NAMES)) // len(results) > 10
        embeddings, keeps_keys = result["second"]
        torch.testing.assert_close(embeddings, expected.embeddings)
        assert keeps_keys


def test_the_loader_of_a_share_is_kept_for_its_workers(
    results: list[dict[str, Any]],
) -> None:
    assert all(result["kept"] for result in results)


def test_a_last_batch_that_is_left_out_is_that_of_one_process(
    results: list[dict[str, Any]],
) -> None:
    assert all(result["dropping"] == ALL[:9] for result in results)


def test_probabilities_are_shared_with_the_embeddings(
    results: list[dict[str, Any]],
) -> None:
    expected = embed_dataset(WithClusters(), DataLoader(Images(with_names=True), 2))
    for result in results:
        embeddings, probabilities = result["probabilities"]
        torch.testing.assert_close(embeddings, expected.embeddings)
        torch.testing.assert_close(probabilities, expected.probabilities)


def test_batches_are_limited_in_each_process(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["limited"] == ALL[: 2 * len(results)]


def test_settings_of_a_loader_are_those_of_its_share(
    results: list[dict[str, Any]],
) -> None:
    assert all(result["settings that differ"] == [] for result in results)
