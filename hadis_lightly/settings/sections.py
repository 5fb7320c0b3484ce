"""The settings of a run: what there is, and what is allowed.

A section is what the command line calls ``data`` or ``model``. Names and types are
checked when settings are composed, ranges by
:func:`~hadis_lightly.settings.validate.check_settings`. The defaults are the
paper's for CIFAR-10. The texts below the settings are what ``--help`` says of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hadis_lightly.transforms import ViewSettings

METHOD_NAMES = ("hadis", "propos", "byol", "cc", "pici")


@dataclass
class DataSettings:
    """Where the images come from."""

    source: str = "cifar10"
    """One of digits, cifar10, cifar20, stl10, imagenet10, imagenet_dogs, npz,
    folder."""
    path: str | None = None
    """The npz file or the folder; for cifar10, cifar20 and stl10 where torchvision
    keeps them, for imagenet10 and imagenet_dogs a folder of ImageNet."""
    limit: int | None = None
    """Use only so many images, drawn at random."""
    download: bool = True
    """Whether cifar10, cifar20 and stl10 may be downloaded."""
    unlabelled: bool = False
    """Train on the 100,000 unlabelled images of stl10 as well; they are not scored."""
    on_error: str = "raise"
    """What to do about files that are no images, or broken: raise, which names them all
    and stops, or skip, which names them and goes on without."""
    num_channels: int | None = None
    """1 or 3 to read a folder as grey or colour; by default as the source has it."""
    pipeline: str = "auto"
    """device: images stay in the device's memory, views are made there; workers: worker
    processes read and crop, the rest is done on the device; lightly: worker processes
    make the views one by one. auto: device where the images fit, else workers."""
    max_resident_gib: float | None = None
    """Most memory that the images may take on the device; by default half of what is
    free."""


@dataclass
class LoaderSettings:
    """How images are fed."""

    batch_size: int = 256
    """Images per step and device."""
    num_workers: int | None = None
    """Processes that load, for the engines workers and lightly; by default as many as
    there are cores, at most 16; where the cores train as well at most 8: half of
    them, and a quarter for small images. 0 loads in the main process."""
    even_clusters: bool = False
    """Draw images so that all clusters of the epoch before come equally often. Paper:
    for CIFAR-20."""


@dataclass
class ModelSettings:
    """The networks of hadis, propos and byol, and their loss; the backbone of cc."""

    backbone: str = "small_resnet18"
    """small_resnet18 / 34 / 50, small_convnet, small_pooled_convnet, a model of
    torchvision, or timm/ and one of timm's; for pici masked_vit, which the section pici
    describes."""
    weights: str | None = None
    """File with weights of the backbone to start from: torchvision's, timm's,
    lightly's, or a checkpoint of a run."""
    freeze_backbone: bool = False
    """Train nothing: k-means alone, on the features of a backbone with weights."""
    hidden_dim: int = 4096
    """Hidden width of both heads."""
    output_dim: int = 256
    """Embedding size."""
    latent_std: float = 0.001
    """Noise that diffuses a projection (Eq. 2)."""
    hsd_weight: float = 1.0
    """Weight of the self-distillation; 0 is ProPos."""
    hsd_temperature: float = 0.5
    """Temperature of the self-distillation."""
    pcl_weight: float = 0.1
    """Weight of the prototypical contrast; 0 with hsd_weight=0 is BYOL."""
    pcl_temperature: float = 0.5
    """Temperature of the prototypical contrast."""
    teacher_momentum: float = 0.996
    """Share of the teacher that stays at each step."""
    final_teacher_momentum: float | None = None
    """If set, the momentum moves there along a cosine."""
    concatenate_views: bool = False
    """Both views in one batch, with common BatchNorm statistics."""


@dataclass
class ContrastSettings:
    """The two heads of cc and pici, and their losses."""

    output_dim: int = 128
    """Size of the instance embedding."""
    instance_temperature: float = 0.5
    """Temperature of the contrast between images."""
    cluster_temperature: float = 1.0
    """Temperature of the contrast between clusters."""


@dataclass
class PICISettings:
    """The network of pici, and its three phases."""

    patch_size: int = 16
    """Side of a patch in pixels; views.input_size must be a multiple of it."""
    width: int = 384
    """Width of the encoder."""
    depth: int = 6
    """Layers of the encoder."""
    num_heads: int = 12
    """Attention heads of the encoder."""
    decoder_width: int = 512
    """Width of the decoder."""
    decoder_depth: int = 8
    """Layers of the decoder."""
    decoder_num_heads: int = 16
    """Attention heads of the decoder."""
    mask_ratio: float = 0.5
    """Share of the patches that is masked while training."""
    pretraining_epochs: int | None = None
    """First epochs, which reconstruct masked patches and do nothing else; by default
    200 of every 1050 epochs."""
    interaction_epochs: int | None = None
    """Last epochs, in which k-means guides the cluster head; by default 50 of every
    1050 epochs."""


@dataclass
class OptimizerSettings:
    """The optimiser: SGD for hadis, propos and byol, Adam for cc and pici."""

    learning_rate: float = 0.05
    """SGD: for 256 images, scaled linearly with the batch over all devices. Adam: as it
    is."""
    prediction_head_lr_scale: float = 10.0
    """Learning rate of the predictor relative to the rest."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """Weight decay on all parameters."""
    warmup_epochs: int = 50
    """Linear rise of the learning rate; no diffusion meanwhile. SGD goes down to 0
    along a cosine after it, Adam stays."""
    fused: str = "auto"
    """on: one kernel updates all weights; auto: on GPUs."""


@dataclass
class ClusteringSettings:
    """k-means over the embeddings; cc and pici cluster by their head instead."""

    warmup_epochs: int = 50
    """Epochs without pseudo-labels."""
    every_n_epochs: int = 1
    """Cluster after every n-th epoch only, and after the last."""
    n_init: int = 10
    """Restarts of k-means."""
    warm_start: bool = False
    """Start k-means once, from the clusters of the epoch before. Not in the paper."""
    batch_size: int | None = None
    """Images per batch of the clustering pass; by default 2048 on a GPU for views of up
    to 64 pixels, else 512, and no fewer than loader.batch_size."""
    whiten: bool = False
    """Cluster whitened embeddings, see PrototypeKMeans. Not in the paper."""
    pixel_baseline: bool = False
    """Also cluster the raw pixels, for comparison."""


@dataclass
class TrainerSettings:
    """What Lightning's trainer is told."""

    max_epochs: int = 1000
    """Length of the training."""
    max_steps: int = -1
    """Stop after so many steps, if not -1; schedules end there."""
    accelerator: str = "auto"
    """auto, cpu, gpu, ..."""
    devices: str = "1"
    """Number of devices, or auto for all."""
    strategy: str = "auto"
    """auto, ddp, ..."""
    precision: str = "auto"
    """32-true, bf16-mixed, 16-mixed, 64-true; auto: bf16-mixed on GPUs that compute
    with bfloat16, else 32-true."""
    channels_last: str = "auto"
    """on: images and weights lie in memory with the channels last; auto: on, on CPUs
    and NVIDIA's GPUs."""
    compile: str = "auto"
    """off, default, cudagraphs, max: modes of torch.compile for networks, losses and
    views; auto: default on GPUs that have a compiler, else off."""
    sync_batchnorm: bool = False
    """BatchNorm statistics over all devices, CPUs included."""
    gather_distributed: bool = False
    """Take the losses over the batches of all devices."""
    resume: str | None = None
    """auto: go on with the newest run that was interrupted, if it has these settings,
    else start a new one; or a checkpoint, or the folder of a run, to go on from."""
    checkpoint_every_n_minutes: float | None = 5.0
    """Write a checkpoint at the first step after so many minutes; 0 at every step. With
    several processes only between epochs."""
    checkpoint_every_n_epochs: int | None = None
    """Also write one after every so many epochs."""
    log_every_n_steps: int | None = None
    """Also log the losses every so many steps; by default once per epoch."""
    logger: str = "tensorboard"
    """tensorboard, wandb, mlflow or none; metrics.csv is written in any case."""
    progress_bar: bool = True
    """Whether to show a progress bar."""
    deterministic: bool = False
    """Only deterministic kernels, where an accelerator has others."""


@dataclass
class Settings:
    """All settings of a run."""

    method: str = "hadis"
    """hadis, propos, byol, cc or pici. Brings the settings of its paper along."""
    n_clusters: int = 10
    """Number of clusters to look for."""
    seed: int = 0
    """Seed of everything random."""
    output_dir: str | None = None
    """Folder for the results; by default a new one below runs/ for each run."""
    quiet: bool = False
    """Say nothing but errors."""
    data: DataSettings = field(default_factory=DataSettings)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    pici: PICISettings = field(default_factory=PICISettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    clustering: ClusteringSettings = field(default_factory=ClusteringSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
