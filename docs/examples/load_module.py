"""HaDis from a checkpoint of Lightning's, and the clusters of other images."""

import pytorch_lightning as pl
import torch

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.training import HaDis


def main(path, model, prototypes, loader):
    # The checkpoint has numbers, weights and clusters; networks are built as before.
    hadis = HaDis.load_from_checkpoint(
        path, model=model, criterion=HaDisLoss(n_clusters=10), prototypes=prototypes
    )
    trainer = pl.Trainer(accelerator="auto", devices=1, logger=False)
    batches = trainer.predict(hadis, loader)  # plain images, as prototypes' loader has
    return torch.cat([batch["labels"] for batch in batches])
