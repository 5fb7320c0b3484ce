"""Sections about the course of a run: optimiser, clustering, Lightning's Trainer."""

from __future__ import annotations

from dataclasses import dataclass

from hadis_lightly.fields import setting

_AUTO_ON_OFF = ("auto", "on", "off")


@dataclass
class OptimizerSettings:
    """SGD for hadis, propos and byol; Adam for cc and pici."""

    learning_rate: float = setting(
        0.05,
        "SGD: for 256 images, scaled with the batch size over all devices. Adam: as "
        "given. Lower it if the loss is not finite or embeddings collapse.",
        above=0,
    )
    prediction_head_lr_scale: float = setting(
        10.0, "Learning rate of the predictor relative to the rest.", low=0
    )
    momentum: float = setting(0.9, "Momentum of SGD.", low=0, high=1)
    weight_decay: float = setting(5e-4, "Weight decay on all parameters.", low=0)
    warmup_epochs: int | None = setting(
        None,
        "First epochs, in which the learning rate rises linearly and projections get "
        "no noise. Then SGD follows a cosine to 0, Adam stays constant. By default a "
        "quarter of trainer.max_epochs, 50 at most; with model.train=heads a "
        "fifteenth. Paper: 50 of 1000.",
        low=0,
    )
    fused: str = setting(
        "auto",
        "Update all weights in one kernel; auto: on GPUs.",
        choices=_AUTO_ON_OFF,
        effect="rounding",
    )


@dataclass
class ClusteringSettings:
    """k-means on the embeddings. cc and pici have a cluster head instead."""

    warmup_epochs: int | None = setting(
        None,
        "First epochs, which have no pseudo-labels, hence no PCL; by default as "
        "optimizer.warmup_epochs, or with model.train=heads half of the run. Paper: 50 "
        "of 1000.",
        low=0,
    )
    every_n_epochs: int = setting(
        1, "Epochs between clusterings; the last epoch always ends with one.", low=1
    )
    n_init: int = setting(10, "Restarts of k-means.", low=1)
    warm_start: bool = setting(
        False,
        "Run k-means once, from the clusters of the previous epoch. Not in the paper.",
    )
    batch_size: int | None = setting(
        None,
        "Images per batch when embedding the training set; by default 2048 on a GPU "
        "for views of up to 64 pixels, else 512, and at least loader.batch_size.",
        low=1,
    )
    whiten: bool = setting(
        False,
        "Cluster whitened embeddings. Not in the paper; helps short runs from random "
        "weights, harms features of pretrained ones.",
    )
    cosine_start: bool = setting(
        False,
        "With clustering.whiten, start k-means on whitened embeddings from clusters "
        "on the cosine. Not in the paper; for heads on pretrained features.",
    )
    merge: bool = setting(
        False,
        "Look for clusters of very different sizes, too: where the graph of nearest "
        "neighbours says so, clusters are joined from smaller ones. Not in the paper.",
    )
    pixel_baseline: bool = setting(
        False,
        "Also cluster the raw pixels for comparison. Needs class labels, and memory "
        "for all pixels.",
        effect="nothing",
    )


@dataclass
class TrainerSettings:
    """Options of Lightning's Trainer."""

    max_epochs: int = setting(1000, "Length of training in epochs.", low=1)
    max_steps: int = setting(
        -1, "Stop after this many steps; schedules end there. -1: no limit.", low=-1
    )
    accelerator: str = setting(
        "auto",
        "Device type; auto: cuda if there is a CUDA GPU, else cpu; never mps, Apple's "
        "GPU, which was not tried.",
        choices=("auto", "cpu", "gpu", "cuda", "mps"),
        effect="rounding",
    )
    devices: int | str = setting(
        1, "Number of devices, or auto for all. Several need trainer.strategy=ddp."
    )
    strategy: str = setting(
        "auto",
        "Lightning's strategy.",
        choices=("auto", "ddp", "ddp_find_unused_parameters_true"),
    )
    precision: str = setting(
        "auto",
        "auto: bf16-mixed on GPUs with bfloat16, and on CPUs with it for backbones of "
        "at least a million weights; else 32-true. A resumed run keeps its own.",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed", "64-true"),
        effect="rounding",
    )
    channels_last: str = setting(
        "auto",
        "Memory format of images and weights; auto: on for CPUs and NVIDIA GPUs.",
        choices=_AUTO_ON_OFF,
        effect="rounding",
    )
    compile: str = setting(
        "auto",
        "Mode of torch.compile for networks, losses and views; auto: default for runs "
        "of 2,000 steps or more on GPUs with a compiler, else off.",
        choices=("auto", "off", "default", "cudagraphs", "max"),
        effect="rounding",
    )
    sync_batchnorm: bool = setting(
        False, "BatchNorm statistics over all GPUs; on where the batch of one is small."
    )
    gather_distributed: bool = setting(
        False, "Compute the losses over the batches of all devices."
    )
    resume: str | None = setting(
        None,
        "A checkpoint or run folder to resume; auto resumes the newest interrupted "
        "run with the same settings, or else starts a new one.",
        effect="nothing",
        is_path=True,
    )
    checkpoint_every_n_minutes: float | None = setting(
        5.0,
        "Minutes between checkpoints; 0: every step. With several processes they are "
        "written only between epochs.",
        low=0,
        effect="nothing",
    )
    checkpoint_every_n_epochs: int | None = setting(
        None, "Also write a checkpoint every n epochs.", low=1, effect="nothing"
    )
    log_every_n_steps: int | None = setting(
        None,
        "Also log the losses every n steps; by default once per epoch.",
        low=1,
        effect="nothing",
    )
    logger: str = setting(
        "tensorboard",
        "Logger beside metrics.csv, which is always written.",
        choices=("tensorboard", "wandb", "mlflow", "none"),
        effect="nothing",
    )
    progress_bar: bool = setting(True, "Show a progress bar.", effect="nothing")
    gradient_clip_val: float | None = setting(
        None,
        "Clip gradients to this L2 norm, if losses jump; by default they are not "
        "clipped. Not in the paper.",
        above=0,
    )
    deterministic: bool = setting(
        False,
        "Use only deterministic kernels, for identical bits on a GPU.",
        effect="rounding",
    )
