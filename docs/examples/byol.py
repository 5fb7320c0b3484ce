"""BYOL on a folder of images, with lightly."""

import argparse
import copy

import pytorch_lightning as pl
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from lightly.utils.scheduler import cosine_schedule
from torch import nn
from torch.utils.data import DataLoader


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-1])
        self.projection_head = BYOLProjectionHead(512, 1024, 256)
        self.prediction_head = BYOLPredictionHead(256, 1024, 256)

        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

        self.criterion = NegativeCosineSimilarity()

    def forward_momentum(self, x):
        y = self.backbone_momentum(x).flatten(start_dim=1)
        return self.projection_head_momentum(y).detach()

    def one_way(self, x0, x1):
        t = self.forward_momentum(x1)
        z = self.projection_head(self.backbone(x0).flatten(start_dim=1))
        p = self.prediction_head(z)
        return self.criterion(p, t)

    def training_step(self, batch, batch_idx):
        m = cosine_schedule(self.current_epoch, self.trainer.max_epochs, 0.996, 1)
        update_momentum(self.backbone, self.backbone_momentum, m=m)
        update_momentum(self.projection_head, self.projection_head_momentum, m=m)
        x0, x1 = batch[0]
        loss = 0.5 * (self.one_way(x0, x1) + self.one_way(x1, x0))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.06)


def main(folder, input_size=224, batch_size=256, max_epochs=200, num_workers=8):
    model = Model()
    transform = BYOLTransform(
        view_1_transform=BYOLView1Transform(input_size=input_size),
        view_2_transform=BYOLView2Transform(input_size=input_size),
    )
    dataset = LightlyDataset(folder, transform=transform)
    options = {"batch_size": batch_size, "num_workers": num_workers}
    dataloader = DataLoader(dataset, shuffle=True, drop_last=True, **options)
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="auto",
        devices=1,
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
