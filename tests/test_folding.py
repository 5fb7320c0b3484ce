"""BatchNorm folded into convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from hadis_lightly.folding import folded

IMAGES = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class NormAct(nn.BatchNorm2d):
    """As timm has it, with an activation inside."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, bias=False)
        self.stem_norm = NormAct(6)
        self.conv = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(6, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x))
        return (x + self.norm(self.conv(x))).mean(dim=(2, 3))


class TwoUses(Block):
    """Takes the output of a convolution past its BatchNorm, too."""

    def forward(self, x: Tensor) -> Tensor:
        before = self.stem(x)
        return (before + self.stem_norm(before)).mean(dim=(2, 3))


class Twice(Block):
    """A convolution with a BatchNorm for each of two passes."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x))
        return self.conv(self.norm(x)).mean(dim=(2, 3))


class Standardized(nn.Conv2d):
    """Normalises its weights in every pass."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight / self.weight.norm(), self.bias)


def of(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten())


UNFOLDABLE = {
    "two uses": TwoUses,
    "run twice": Twice,
    "changed in place": lambda: of(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(6)
    ),
    "weights of its own": lambda: of(Standardized(3, 6, 3), nn.BatchNorm2d(6)),
    "parametrized": lambda: of(
        parametrizations.weight_norm(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6)
    ),
    "no statistics": lambda: of(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)
    ),
}


def with_statistics(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for layer in norms_of(network):
        if layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.2, 3)
        if layer.affine:
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return network


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_a_copy_computes_the_same_without_batch_norm() -> None:
    network = with_statistics(Block())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = folded(network, IMAGES)
    assert not norms_of(found) and len(norms_of(network)) == 2
    assert network.training and not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert_close(found(IMAGES), network.eval()(IMAGES))


@pytest.mark.parametrize("case", list(UNFOLDABLE))
def test_other_networks_stay_as_they_are(case: str) -> None:
    network = with_statistics(UNFOLDABLE[case]())
    found = folded(network, IMAGES)
    assert len(norms_of(found)) == len(norms_of(network))
    assert torch.equal(found(IMAGES), network.eval()(IMAGES))


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="images is empty"):
        folded(Block(), IMAGES[:0])
