"""SimCLR on a folder of images, with lightly; clusters of it by PrototypeKMeans."""

import argparse

import pytorch_lightning as pl
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from torch import nn
from torch.utils.data import DataLoader

from hadis_lightly.training import PrototypeKMeans
from hadis_lightly.transforms import HaDisTestTransform


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten())
        self.projection_head = SimCLRProjectionHead(512, 512, 128)
        self.criterion = NTXentLoss()

    def forward(self, x):
        return self.backbone(x)

    embed = forward  # PrototypeKMeans calls it in evaluation mode

    def training_step(self, batch, batch_idx):
        z0, z1 = (self.projection_head(self(view)) for view in batch[0])
        loss = self.criterion(z0, z1)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.06)


def main(folder, input_size=224, batch_size=256, max_epochs=200, num_workers=8):
    model = Model()
    transform = SimCLRTransform(input_size=input_size)
    dataset = LightlyDataset(folder, transform=transform)
    options = {"batch_size": batch_size, "num_workers": num_workers}
    dataloader = DataLoader(dataset, shuffle=True, drop_last=True, **options)
    plain = LightlyDataset(folder, transform=HaDisTestTransform(input_size))
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="auto",
        devices=1,
        callbacks=[PrototypeKMeans(10, DataLoader(plain, **options))],
    )
    trainer.fit(model, dataloader)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--max-epochs", type=int, default=200)
    parser.add_argument("--num-workers", type=int, default=8)
    main(**vars(parser.parse_args()))
