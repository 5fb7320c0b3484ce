"""CC and PICI: two real processes against one that has the whole batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as torch_dist
from torch import multiprocessing as torch_mp
from torch.nn.parallel import DistributedDataParallel

from hadis_lightly.loss import CCLoss, ClusterContrastiveLoss, PICILoss
from tests.loss.test_distributed_losses import Result, assert_equal, result

WORLD_SIZE, N_PER_PROCESS, DIM, N_CLUSTERS = 2, 7, 5, 4
N = WORLD_SIZE * N_PER_PROCESS
# One process has more images with a label, and of weight above 0, than the other.
LABELS = torch.tensor([0, -1, -1, -1, 3, -1, 1, 2, 0, 3, 3, 1, -1, 2])
WEIGHTS = torch.tensor([1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1])
CASES = ("cluster", "cc", "cc with weights", "pici")
pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)


class Networks(nn.Module):
    """Two heads, so small that float64 shows every error."""

    def __init__(self) -> None:
        super().__init__()
        self.instance = nn.Linear(DIM, DIM)
        self.cluster = nn.Linear(DIM, N_CLUSTERS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.instance(x), 3 * self.cluster(x)


def inputs() -> tuple[Networks, Tensor, Tensor]:
    """Networks and two views; the same in every process."""
    torch.manual_seed(0)
    x = torch.randn(N, DIM, dtype=torch.float64)
    return Networks().double(), x, x + torch.randn_like(x) / 2


def loss_of(
    case: str, networks: nn.Module, x0: Tensor, x1: Tensor, mine: slice, gather: bool
) -> Tensor:
    # Both views in one pass, as DistributedDataParallel counts them.
    instance, logits = networks(torch.cat([x0[mine], x1[mine]]))
    (z0, z1), (l0, l1) = instance.chunk(2), logits.chunk(2)
    a0, a1 = l0.softmax(1), l1.softmax(1)
    if case == "cluster":
        # DistributedDataParallel wants every parameter to take part.
        criterion = ClusterContrastiveLoss(gather_distributed=gather)
        loss: Tensor = criterion(a0, a1) + criterion(z0.softmax(1), z1.softmax(1))
        return loss
    contrasted = {
        "instance0": z0,
        "instance1": z1,
        "assignments0": a0,
        "assignments1": a1,
    }
    if case == "pici":
        pici = PICILoss(N_CLUSTERS, gather_distributed=gather)
        return pici(
            **contrasted,
            prediction0=z0.unsqueeze(1),
            patches0=x1[mine].unsqueeze(1),
            prediction1=z1.unsqueeze(1),
            patches1=x0[mine].unsqueeze(1),
            logits0=l0,
            labels0=LABELS[mine],
            logits1=l1,
            labels1=LABELS.roll(1)[mine],
            weights=WEIGHTS[mine],
        ).loss
    weights = WEIGHTS[mine] if case == "cc with weights" else None
    cc = CCLoss(N_CLUSTERS, gather_distributed=gather)
    return cc(**contrasted, weights=weights).loss


def part(rank: int) -> slice:
    return slice(rank * N_PER_PROCESS, (rank + 1) * N_PER_PROCESS)


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch_dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD_SIZE,
    )
    results: dict[str, Result] = {}
    for case in CASES:
        networks, x0, x1 = inputs()
        ddp = DistributedDataParallel(networks)
        results[case] = result(ddp, loss_of(case, ddp, x0, x1, part(rank), gather=True))
    networks, x0, x1 = inputs()
    loss = loss_of("pici", networks, x0, x1, part(rank), gather=False)
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


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(case: str, results: list[dict[str, Result]]) -> None:
    """DDP averages the gradients; that average is the gradient of one process."""
    networks, x0, x1 = inputs()
    loss = loss_of(case, networks, x0, x1, slice(None), gather=False)
    expected = result(networks, loss)
    for rank in range(WORLD_SIZE):
        assert_equal(results[rank][case], expected)


def test_without_gathering_each_process_has_its_own_loss(
    results: list[dict[str, Result]],
) -> None:
    for rank in range(WORLD_SIZE):
        networks, x0, x1 = inputs()
        loss = loss_of("pici", networks, x0, x1, part(rank), gather=False)
        assert_equal(results[rank]["not gathered"], result(networks, loss))


def test_gathering_in_one_process_changes_nothing() -> None:
    outcomes = []
    for gather in (False, True):
        networks, x0, x1 = inputs()
        loss = loss_of("pici", networks, x0, x1, slice(None), gather=gather)
        outcomes.append(result(networks, loss))
    assert_equal(*outcomes)
