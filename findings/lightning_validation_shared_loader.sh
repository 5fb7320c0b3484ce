#!/usr/bin/env bash
# One would guess: a DataLoader can be iterated by anybody at any time; a callback that
# embeds the validation images in on_validation_start reads them, then Lightning validates.
# What happens: with persistent_workers=True a DataLoader has one iterator, which
# everybody shares. Lightning has taken it before it calls on_validation_start. After the
# callback has read to its end, nothing is left: the validation runs 0 batches in every
# epoch, the sanity check included, without a warning or an error. With
# persistent_workers=False, the same program validates all of them.
# Why a clustering user cares: callbacks that embed a set and cluster it do just this, and
# persistent workers are what Lightning itself advises for small sets. Whoever monitors a
# validation score finds it missing, and whoever does not finds out never.
#
# Seen with pytorch-lightning 2.6.6 and torch 2.14.1, Python 3.11, 4 batches, 3 epochs:
#   persistent_workers=False: read 40 images, validated [4, 4, 4] batches
#   persistent_workers=True: read 40 images, validated [0, 0, 0] batches
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet \
    torch==2.14.1 torchvision==0.29.1 pytorch-lightning==2.6.6
cat > "$folder/validate.py" <<'PYTHON'
import logging
import warnings

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore", ".*many workers|.*LeafSpec")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Network(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.validated = [0, 0, 0]

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        if not self.trainer.sanity_checking:
            self.validated[self.current_epoch] += 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Embedding(pl.Callback):
    def __init__(self, loader):
        self.loader = loader

    @torch.no_grad()
    def on_validation_start(self, trainer, module):
        self.embeddings = torch.cat([module.layer(images) for (images,) in self.loader])


def fit(persistent_workers):
    images = TensorDataset(torch.randn(40, 4))
    plain = DataLoader(
        images, 10, num_workers=1, persistent_workers=persistent_workers
    )
    network, embedding = Network(), Embedding(plain)
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar")
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[embedding],
        enable_model_summary=False,
        **dict.fromkeys(quiet, False),
    )
    trainer.fit(network, DataLoader(images, 10), plain)
    print(
        f"persistent_workers={persistent_workers}: read {len(embedding.embeddings)} "
        f"images, validated {network.validated} batches"
    )
    return network.validated


if __name__ == "__main__":
    assert fit(False) == [4, 4, 4]
    assert fit(True) == [0, 0, 0]
PYTHON
"$folder/env/bin/python" "$folder/validate.py"
