"""Means of losses that are looked at late."""

from __future__ import annotations

import pytest
import torch

from hadis_lightly.training.loss_log import LossLog


def test_means_of_an_epoch() -> None:
    log = LossLog(["a", "b"])
    assert log.means_of_epoch() == {}
    for step in range(4):
        log.add(torch.tensor([float(step), 10.0]))
    means = log.means_of_epoch()
    assert {name: float(mean) for name, mean in means.items()} == {"a": 1.5, "b": 10.0}
    log.start_epoch()
    log.add(torch.tensor([7.0, 8.0]))
    assert float(log.means_of_epoch()["a"]) == 7.0


def test_means_of_an_interval_come_with_the_next_one() -> None:
    log = LossLog(["a"])
    log.add(torch.tensor([1.0]), for_interval=True)
    log.add(torch.tensor([3.0]), for_interval=True)
    assert log.end_interval(step=2) is None
    log.add(torch.tensor([5.0]), for_interval=True)
    assert log.end_interval(step=3) == (2, {"a": 2.0})
    assert log.arrived() == (3, {"a": 5.0})
    assert log.arrived() is None


def test_what_is_added_stays_as_it_is_and_keeps_no_graph() -> None:
    losses = torch.ones(1, requires_grad=True) * 2
    log = LossLog(["a"])
    log.add(losses)
    log.add(losses)
    assert losses.item() == 2.0
    assert not log.means_of_epoch()["a"].requires_grad


def test_half_precision_is_summed_in_full() -> None:
    log = LossLog(["a"])
    for _ in range(1000):
        log.add(torch.tensor([1.0], dtype=torch.bfloat16))
    assert float(log.means_of_epoch()["a"]) == pytest.approx(1.0)
