"""Two real processes against one that has the whole batch: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as torch_dist
from torch import multiprocessing as torch_mp
from torch.nn.parallel import DistributedDataParallel

from hadis_lightly.loss import HaDisLoss, PCLLoss

WORLD_SIZE, N_PER_PROCESS, DIM, N_CLUSTERS = 2, 7, 5, 4
# Cluster 0 is in both processes, 1 and 3 in one each, 2 in neither.
LABELS = torch.tensor([0, 0, 1, 1, 0, 1, 1, 3, 0, 3, 3, 0, 0, 3])
CASES = ("pcl", "hadis", "hadis without labels")
Result = dict[str, Tensor]


class Networks(nn.Module):
    """Projection and prediction, so small that float64 shows every error."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(DIM, DIM)
        self.prediction = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.projection(x)
        return z, self.prediction(z)


def inputs() -> tuple[Networks, Tensor, Tensor]:
    """Networks, images and teacher embeddings; the same in every process."""
    torch.manual_seed(0)
    n = WORLD_SIZE * N_PER_PROCESS
    x = torch.randn(n, DIM, dtype=torch.float64)
    return Networks().double(), x, torch.randn_like(x)


def loss_of(
    case: str, networks: nn.Module, x: Tensor, t: Tensor, labels: Tensor, gather: bool
) -> Tensor:
    z, p = networks(x)
    if case == "pcl":
        # DistributedDataParallel wants every parameter to take part.
        criterion = PCLLoss(N_CLUSTERS, gather_distributed=gather)
        loss: Tensor = criterion(z, t, labels) + criterion(p, t, labels)
        return loss
    hadis = HaDisLoss(N_CLUSTERS, pcl_weight=1.0, gather_distributed=gather)
    known = None if case == "hadis without labels" else labels
    return hadis(student=z, prediction=p, teacher=t, labels=known).loss


def result(networks: nn.Module, loss: Tensor) -> Result:
    loss.backward()
    gradients = {
        name.removeprefix("module."): parameter.grad
        for name, parameter in networks.named_parameters()
        if parameter.grad is not None
    }
    return {"loss": loss.detach(), **gradients}


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch_dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD_SIZE,
    )
    mine = slice(rank * N_PER_PROCESS, (rank + 1) * N_PER_PROCESS)
    results: dict[str, Result] = {}
    for case in CASES:
        networks, x, t = inputs()
        ddp = DistributedDataParallel(networks)
        loss = loss_of(case, ddp, x[mine], t[mine], LABELS[mine], gather=True)
        results[case] = result(ddp, loss)
    networks, x, t = inputs()
    loss = loss_of("hadis", networks, x[mine], t[mine], LABELS[mine], gather=False)
    results["not gathered"] = result(networks, loss)
    torch.save(results, f"{folder}/{rank}.pt")
    torch_dist.barrier()
    torch_dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Result]]:
    """What each of two processes computed."""
    folder = tmp_path_factory.mktemp("gloo")
    torch_mp.spawn(process, args=(str(folder),), nprocs=WORLD_SIZE)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD_SIZE)]


def assert_equal(ours: Result, expected: Result) -> None:
    assert ours.keys() == expected.keys() and len(expected) > 1
    for name, value in expected.items():
        torch.testing.assert_close(
            ours[name], value, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.skipif(not torch_dist.is_available(), reason="needs torch.distributed")
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(case: str, results: list[dict[str, Result]]) -> None:
    """DDP averages the gradients; that average is the gradient of one process."""
    networks, x, t = inputs()
    loss = loss_of(case, networks, x, t, LABELS, gather=False)
    expected = result(networks, loss)
    for rank in range(WORLD_SIZE):
        assert_equal(results[rank][case], expected)


@pytest.mark.skipif(not torch_dist.is_available(), reason="needs torch.distributed")
def test_without_gathering_each_process_has_its_own_loss(
    results: list[dict[str, Result]],
) -> None:
    for rank in range(WORLD_SIZE):
        mine = slice(rank * N_PER_PROCESS, (rank + 1) * N_PER_PROCESS)
        networks, x, t = inputs()
        loss = loss_of("hadis", networks, x[mine], t[mine], LABELS[mine], gather=False)
        assert_equal(results[rank]["not gathered"], result(networks, loss))


def test_gathering_in_one_process_changes_nothing() -> None:
    outcomes = []
    for gather in (False, True):
        networks, x, t = inputs()
        loss = loss_of("hadis", networks, x, t, LABELS, gather=gather)
        outcomes.append(result(networks, loss))
    assert_equal(*outcomes)
