"""Two real processes against one that has the whole batch: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as torch_dist
from torch import multiprocessing as torch_mp
from torch.nn.parallel import DistributedDataParallel

from hadis_lightly.loss import CCLoss, CodingRateLoss, HaDisLoss, PCLLoss, PICILoss

WORLD_SIZE, N_PER_PROCESS, DIM, N_CLUSTERS = 2, 7, 5, 4
N = WORLD_SIZE * N_PER_PROCESS
# Cluster 0 is in both processes, 1 and 3 in one each, 2 in neither.
LABELS = torch.tensor([0, 0, 1, 1, 0, 1, 1, 3, 0, 3, 3, 0, 0, 3])
# One process has more images with a label, and of weight above 0, than the other.
PSEUDO_LABELS = torch.tensor([0, -1, -1, -1, 3, -1, 1, 2, 0, 3, 3, 1, -1, 2])
WEIGHTS = torch.tensor([1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1])
CASES = ("pcl", "hadis", "hadis without labels", "cc", "cc with weights", "pici")
CASES += ("coding rate",)
Result = dict[str, Tensor]
pytestmark = pytest.mark.skipif(
    not torch_dist.is_available(), reason="needs torch.distributed"
)


class Networks(nn.Module):
    """Two layers, so small that float64 shows every error."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(DIM, DIM)
        self.second = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.first(x)
        return z, self.second(z)


def inputs() -> tuple[Networks, Tensor, Tensor]:
    """Networks and two views; the same in every process."""
    torch.manual_seed(0)
    x = torch.randn(N, DIM, dtype=torch.float64)
    return Networks().double(), x, x + torch.randn_like(x) / 2


def loss_of(case: str, networks: nn.Module, mine: slice, gather: bool) -> Tensor:
    _, x, t = inputs()
    # Both views in one pass, as DistributedDataParallel counts them.
    z, p = networks(torch.cat([x[mine], t[mine]]))
    (z0, z1), (p0, p1) = z.chunk(2), p.chunk(2)
    if case == "pcl":
        pcl = PCLLoss(N_CLUSTERS, gather_distributed=gather)
        loss: Tensor = pcl(p0, t[mine], LABELS[mine]) + pcl(p1, x[mine], LABELS[mine])
        return loss
    if case == "coding rate":
        rate: Tensor = CodingRateLoss(gather_distributed=gather)(p0)
        return rate
    if "hadis" in case:
        hadis = HaDisLoss(N_CLUSTERS, pcl_weight=1.0, gather_distributed=gather)
        labels = None if case == "hadis without labels" else LABELS[mine]
        return hadis(student=z0, prediction=p0, teacher=t[mine], labels=labels).loss
    logits0, logits1 = 3 * p0[:, :N_CLUSTERS], 3 * p1[:, :N_CLUSTERS]
    contrasted = {
        "instance0": z0,
        "instance1": z1,
        "assignments0": logits0.softmax(1),
        "assignments1": logits1.softmax(1),
        "weights": None if case == "cc" else WEIGHTS[mine],
    }
    if "cc" in case:
        cc = CCLoss(N_CLUSTERS, gather_distributed=gather)
        return cc(**contrasted).loss
    return PICILoss(N_CLUSTERS, gather_distributed=gather)(
        **contrasted,
        prediction0=z0.unsqueeze(1),
        patches0=t[mine].unsqueeze(1),
        prediction1=z1.unsqueeze(1),
        patches1=x[mine].unsqueeze(1),
        logits0=logits0,
        labels0=PSEUDO_LABELS[mine],
        logits1=logits1,
        labels1=PSEUDO_LABELS.roll(1)[mine],
    ).loss


def result(case: str, mine: slice, gather: bool, several: bool = False) -> Result:
    """The loss and its gradients; averaged over the processes if there are several."""
    networks, *_ = inputs()
    wrapped = DistributedDataParallel(networks) if several else networks
    loss = loss_of(case, wrapped, mine, gather)
    loss.backward()
    gradients = {name: p.grad for name, p in networks.named_parameters()}
    return {"loss": loss.detach(), **gradients}


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
    gathered = {case: result(case, part(rank), True, several=True) for case in CASES}
    alone = {case: result(case, part(rank), False) for case in CASES}
    torch.save((gathered, alone), f"{folder}/{rank}.pt")
    torch_dist.barrier()
    torch_dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[dict[str, Result], dict[str, Result]]]:
    """What each of two processes computed, with and without gathering."""
    folder = tmp_path_factory.mktemp("gloo")
    torch_mp.spawn(process, args=(str(folder),), nprocs=WORLD_SIZE)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD_SIZE)]


def assert_equal(ours: Result, expected: Result) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(
    case: str, results: list[tuple[dict[str, Result], dict[str, Result]]]
) -> None:
    """DDP averages the gradients; that average is the gradient of one process."""
    expected = result(case, slice(None), gather=False)
    for rank, (gathered, alone) in enumerate(results):
        assert_equal(gathered[case], expected)
        assert_equal(alone[case], result(case, part(rank), gather=False))


@pytest.mark.parametrize("case", CASES)
def test_gathering_in_one_process_changes_nothing(case: str) -> None:
    expected = result(case, slice(None), gather=False)
    assert_equal(result(case, slice(None), gather=True), expected)
