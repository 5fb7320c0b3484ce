"""How hard each image is: averages, whole sets, processes, checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.loss.hsd_loss import hsd_terms
from hadis_lightly.training.hardness_record import HardnessRecord

N = 6


class Prototypes:
    """Six images whose keys are their rows."""

    labels_ = torch.zeros(N, dtype=torch.long)

    def rows(self, keys: torch.Tensor) -> torch.Tensor:
        return keys


def record(decay: float = 0.5) -> HardnessRecord:
    return HardnessRecord(Prototypes(), decay)  # type: ignore[arg-type]


def batch(log: HardnessRecord, keys: list[int], values: list[float]) -> None:
    module: Any = SimpleNamespace(last_hardness=torch.tensor(values))
    log.on_train_batch_end(None, module, None, ((), (), torch.tensor(keys)), 0)  # type: ignore[arg-type]


def end_epoch(log: HardnessRecord) -> None:
    log.on_train_epoch_end(None, None)  # type: ignore[arg-type]


def test_an_epoch_counts_decay_times_as_much_as_the_one_after_it() -> None:
    log = record(decay=0.5)
    batch(log, [0, 1, 2], [1.0, 2.0, 3.0])
    end_epoch(log)
    batch(log, [0, 1, 3], [4.0, 2.0, 5.0])
    expected = [(4 + 0.5 * 1) / 1.5, 2.0, 3.0, 5.0, np.nan, np.nan]
    within = log.hardness_
    end_epoch(log)
    assert log.hardness_ is not None and within is not None
    np.testing.assert_allclose(log.hardness_, expected, rtol=1e-6)
    np.testing.assert_allclose(within, expected, rtol=1e-6)


def test_without_memory_the_last_epoch_counts_and_what_was_not_in_it_stays() -> None:
    log = record(decay=0.0)
    batch(log, [0, 1], [1.0, 2.0])
    end_epoch(log)
    assert log.hardness_ is not None
    np.testing.assert_allclose(log.hardness_[:2], [1.0, 2.0])
    batch(log, [0], [5.0])
    assert log.hardness_[0] == 5.0 and log.hardness_[1] == 2.0


def of_two_processes(rank: int, folder: str, saves: bool) -> None:
    """One epoch and a half; saved and loaded within the second one, or not."""
    init = f"file://{folder}/init_{saves}"
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    log = record()
    batch(log, [2 * rank, 2 * rank + 1], [1.0 + rank, 2.0])
    end_epoch(log)
    batch(log, [rank], [3.0 + rank])
    if saves:
        state = log.state_dict()  # of which only the first one's is written
        if rank == 0:
            torch.save(state, f"{folder}/state")
        dist.barrier()
        log = record()
        log.load_state_dict(torch.load(f"{folder}/state"))
    batch(log, [rank + 2], [7.0])
    end_epoch(log)
    assert log.hardness_ is not None
    torch.save(log.hardness_, f"{folder}/{saves}_{rank}")
    dist.destroy_process_group()


def test_two_processes_go_on_from_what_the_first_one_has_saved(tmp_path: Path) -> None:
    for saves in (False, True):
        mp.spawn(of_two_processes, (str(tmp_path), saves), nprocs=2)
    names = [f"{saves}_{rank}" for saves in (False, True) for rank in (0, 1)]
    found = [torch.load(tmp_path / name) for name in names]
    for hardness in found:
        assert torch.equal(hardness.nan_to_num(), found[0].nan_to_num())
    expected = [(3 + 0.5) / 1.5, (4 + 1) / 1.5, (7 + 1) / 1.5, (7 + 1) / 1.5]
    np.testing.assert_allclose(found[0][:4], expected, rtol=1e-6)


def test_an_image_that_comes_twice_in_an_epoch_counts_twice() -> None:
    log = record()
    batch(log, [0, 1], [1.0, 1.0])
    batch(log, [0, 2], [3.0, 1.0])
    assert log.hardness_ is not None
    assert log.hardness_[0] == 2.0


def test_a_checkpoint_within_an_epoch_goes_on_as_if_nothing_had_happened() -> None:
    log, other = record(), record()
    for one in (log, other):
        batch(one, [0, 1], [1.0, 2.0])
        end_epoch(one)
        batch(one, [1, 2], [4.0, 5.0])
    resumed = record()
    resumed.load_state_dict(log.state_dict())
    for one in (resumed, other):
        batch(one, [0], [7.0])
        end_epoch(one)
    assert resumed.hardness_ is not None and other.hardness_ is not None
    assert torch.equal(resumed.hardness_.nan_to_num(), other.hardness_.nan_to_num())


def test_without_hsd_there_is_nothing_to_record() -> None:
    log = record()
    module: Any = SimpleNamespace(last_hardness=None)
    log.on_train_batch_end(None, module, None, ((), (), torch.arange(2)), 0)  # type: ignore[arg-type]
    end_epoch(log)
    assert log.hardness_ is None and log.state_dict() == {}


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        record(decay)


def test_hardness_is_the_sum_of_both_weights_of_equation_7() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    t = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    p, t = (x / x.norm(dim=1, keepdim=True) for x in (p, t))
    expected = []
    for i in range(9):
        A = [float((t[i] - t[j]).norm()) for j in range(9)]
        D = [float((t[i] - p[j]).norm()) for j in range(9)]
        positives = [j for j in range(9) if A[j] <= D[i]]
        negatives = [j for j in range(9) if A[j] > D[i]]
        hardest = max(positives, key=lambda j: D[j])
        weight = max(0.0, D[hardest] - A[hardest])
        if negatives:
            hardest = min(negatives, key=lambda j: D[j])
            weight += max(0.0, A[hardest] - D[hardest])
        expected.append(weight)
    np.testing.assert_allclose(hsd_terms(p, t).hardness, expected, rtol=1e-10)
    assert not hsd_terms(p.requires_grad_(), t).hardness.requires_grad


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_loss_returns_hardness_on_request(weight: float) -> None:
    p, t = torch.randn(5, 3), torch.randn(5, 3)
    criterion = HaDisLoss(2, hsd_weight=weight)
    tensors = {"student": p, "prediction": p, "teacher": t}
    terms, hardness = criterion(**tensors, return_hardness=True)
    assert terms == criterion(**tensors)
    assert (hardness is None) == (weight == 0)
    if hardness is not None:
        assert torch.equal(hardness, hsd_terms(p, t).hardness)
