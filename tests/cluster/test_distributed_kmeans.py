"""Restarts shared among real processes, against one process that makes them all."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as torch_dist
from torch import multiprocessing as torch_mp

from hadis_lightly.cluster import KMeans, fit_partition

pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)
Result = dict[str, Tensor]
# A server imports torch once, and its children need not.
START_METHOD = "spawn"
if "forkserver" in multiprocessing.get_all_start_methods():
    START_METHOD = "forkserver"
    multiprocessing.set_forkserver_preload(["hadis_lightly.cluster", "pytest"])


def rows(seed: int = 0, n: int = 600) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    component = torch.randint(7, (n,), generator=generator)
    noise = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    return means[component] + 0.8 * noise


def fitted(distributed: bool, X: Tensor, k: int = 8, **settings: Any) -> Result:
    kmeans = KMeans(k, distributed=distributed, **settings).fit(X)
    return {
        "labels": kmeans.labels_,
        "centers": kmeans.cluster_centers_,
        "inertia": torch.tensor(kmeans.inertia_, dtype=torch.float64),
        "n_iter": torch.tensor(kmeans.n_iter_),
        "predicted": kmeans.predict(X),
    }


def partitioned(distributed: bool, X: Tensor, **settings: Any) -> Result:
    found = fit_partition(X, 8, distributed=distributed, **settings)
    result = {
        "labels": found.labels,
        "centers": found.centers,
        "prototypes": found.prototypes,
    }
    if found.whitening is not None:
        result |= found.whitening.state_dict()
    return result


def with_a_generator(distributed: bool, X: Tensor) -> Result:
    """Two fits from one generator, in a state of its own in each process but 0."""
    rank = torch_dist.get_rank() if torch_dist.is_initialized() else 0
    generator = torch.Generator().manual_seed(5 + rank)
    first = fitted(distributed, X, random_state=generator)
    second = fitted(distributed, X, random_state=generator)
    return first | {f"second {name}": value for name, value in second.items()}


def without_a_seed(X: Tensor) -> Result:
    """From the global generator, which is in another state in every process."""
    torch.manual_seed(torch_dist.get_rank())
    return fitted(True, X)


CASES: dict[str, Callable[[bool], Result]] = {
    "five restarts": lambda shared: fitted(shared, rows(), n_init=5, random_state=0),
    "one restart": lambda shared: fitted(shared, rows(), n_init=1, random_state=2),
    "random rows": lambda shared: fitted(shared, rows(), init="random", random_state=3),
    "many clusters": lambda shared: fitted(
        shared, rows(n=32 * 256), k=256, n_init=3, random_state=0
    ),
    "euclidean": lambda shared: fitted(
        shared, rows(1), metric="euclidean", random_state=4
    ),
    "subsample": lambda shared: fitted(
        shared, rows(n=3000), n_init=5, subsample=300, random_state=0
    ),
    "a generator": lambda shared: with_a_generator(shared, rows()),
    "cosine": lambda shared: partitioned(shared, rows(), random_state=0),
    "whitened": lambda shared: partitioned(shared, rows(), random_state=0, whiten=True),
    "from labels": lambda shared: partitioned(
        shared, rows(), start=torch.arange(600) % 8, whiten=True
    ),
}


def process(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch_dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world_size,
    )
    results = {name: case(True) for name, case in CASES.items()}
    results["no seed"] = without_a_seed(rows())
    complaints = []
    for settings, X in (({}, rows(n=600 + rank)), ({"n_init": 3 + rank}, rows())):
        try:
            fitted(True, X, **settings)
        except ValueError as error:
            complaints.append(str(error))
    torch.save((results, complaints), f"{folder}/{rank}.pt")
    torch_dist.barrier()
    torch_dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[dict[str, Result], list[str]]]:
    """What each of some processes found, and what it complained about."""
    world_size = int(request.param)
    folder = tmp_path_factory.mktemp(f"gloo{world_size}")
    torch_mp.start_processes(
        process,
        args=(world_size, str(folder)),
        nprocs=world_size,
        start_method=START_METHOD,
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(world_size)]


def test_processes_find_the_same_bits(
    found: list[tuple[dict[str, Result], list[str]]],
) -> None:
    first, _ = found[0]
    assert first.keys() == {*CASES, "no seed"}
    for results, _ in found[1:]:
        for case, expected in first.items():
            for name, value in expected.items():
                assert torch.equal(results[case][name], value), (case, name)


@pytest.mark.parametrize("case", CASES)
def test_processes_find_what_one_finds(
    case: str, found: list[tuple[dict[str, Result], list[str]]]
) -> None:
    expected, result = CASES[case](False), found[0][0][case]
    assert result.keys() == expected.keys() and len(expected) >= 3
    for name, value in expected.items():
        if value.dtype == torch.int64:
            assert torch.equal(result[name], value), name
        else:
            torch.testing.assert_close(result[name], value, rtol=1e-12, atol=1e-12)


def test_processes_that_differ_are_told(
    found: list[tuple[dict[str, Result], list[str]]],
) -> None:
    world_size = len(found)
    sizes = list(range(600, 600 + world_size))
    restarts = list(range(3, 3 + world_size))
    for _, complaints in found:
        assert complaints == [
            f"rows must be the same in all processes, got {sizes}.",
            f"n_init must be the same in all processes, got {restarts}.",
        ]
