"""DINO on a folder of images, with lightly; clusters of it by PrototypeKMeans."""

import argparse
import copy

import pytorch_lightning as pl
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import DINOTransform
from lightly.utils.scheduler import cosine_schedule
from torch import nn
from torch.utils.data import DataLoader

from hadis_lightly.training import PrototypeKMeans
from hadis_lightly.transforms import HaDisTestTransform


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten())
        self.head = DINOProjectionHead(512, 512, 64, 2048, freeze_last_layer=1)

        self.teacher_backbone = copy.deepcopy(self.backbone)
        self.teacher_head = DINOProjectionHead(512, 512, 64, 2048)
        self.teacher_head.load_state_dict(self.head.state_dict())
        deactivate_requires_grad(self.teacher_backbone)
        deactivate_requires_grad(self.teacher_head)

        self.criterion = DINOLoss(output_dim=2048, warmup_teacher_temp_epochs=5)

    def forward(self, x):
        return self.teacher_backbone(x)

    embed = forward  # PrototypeKMeans calls it in evaluation mode

    def training_step(self, batch, batch_idx):
        m = cosine_schedule(self.current_epoch, self.trainer.max_epochs, 0.996, 1)
        update_momentum(self.backbone, self.teacher_backbone, m=m)
        update_momentum(self.head, self.teacher_head, m=m)
        views = batch[0]  # two global ones, then the local ones
        teacher = [self.teacher_head(self(view)) for view in views[:2]]
        student = [self.head(self.backbone(view)) for view in views]
        loss = self.criterion(teacher, student, epoch=self.current_epoch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_after_backward(self):
        self.head.cancel_last_layer_gradients(self.current_epoch)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.001)


def main(folder, input_size=224, batch_size=256, max_epochs=200, num_workers=8):
    model = Model()
    transform = DINOTransform(
        global_crop_size=input_size, local_crop_size=input_size // 2
    )
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
