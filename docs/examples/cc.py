"""Contrastive Clustering on a folder of images, from parts of lightly's and ours."""

import argparse

import pytorch_lightning as pl
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.transforms import SimCLRTransform
from torch import nn
from torch.utils.data import DataLoader

from hadis_lightly.loss import CCLoss
from hadis_lightly.models import CCClusterHead, CCInstanceHead, CCModel
from hadis_lightly.training import ClusterHeadAssignment
from hadis_lightly.transforms import HaDisTestTransform


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        backbone = nn.Sequential(*list(resnet.children())[:-1])
        self.model = CCModel(backbone, CCInstanceHead(512), CCClusterHead(512, 10))
        # ClusterHeadAssignment calls them in evaluation mode.
        self.embed = self.model.embed
        self.embed_and_assign = self.model.embed_and_assign
        self.criterion = CCLoss(n_clusters=10)

    def training_step(self, batch, batch_idx):
        x0, x1 = batch[0]
        instance0, assignments0 = self.model.project(x0)
        instance1, assignments1 = self.model.project(x1)
        terms = self.criterion(
            instance0=instance0,
            instance1=instance1,
            assignments0=assignments0,
            assignments1=assignments1,
        )
        self.log("train/loss", terms.loss, prog_bar=True)
        return terms.loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-4)


def main(folder, input_size=224, batch_size=256, max_epochs=200, num_workers=8):
    model = Model()
    dataset = LightlyDataset(folder, transform=SimCLRTransform(input_size=input_size))
    dataloader = DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
    )
    plain = LightlyDataset(folder, transform=HaDisTestTransform(input_size))
    plain_loader = DataLoader(plain, batch_size=batch_size, num_workers=num_workers)
    model.callback = ClusterHeadAssignment(10, plain_loader)
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="auto",
        devices=1,
        callbacks=[model.callback],
    )
    trainer.fit(model, dataloader)
    print(model.callback.scores_)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--max-epochs", type=int, default=200)
    parser.add_argument("--num-workers", type=int, default=8)
    main(**vars(parser.parse_args()))
