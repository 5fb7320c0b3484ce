"""Heads, backbones, the momentum teacher, and the model made of them."""

from hadis_lightly.models.backbone_weights import load_backbone_weights
from hadis_lightly.models.backbones import (
    build_backbone,
    feature_dim,
    small_convnet,
    small_resnet18,
    small_resnet34,
    small_resnet50,
)
from hadis_lightly.models.hadis_model import HaDisModel
from hadis_lightly.models.heads import HaDisPredictionHead, HaDisProjectionHead
from hadis_lightly.models.momentum_teacher import MomentumTeacher, evaluating
from hadis_lightly.models.synchronized_batchnorm import (
    SynchronizedBatchNorm,
    synchronize_batchnorm,
)

__all__ = [
    "HaDisModel",
    "HaDisPredictionHead",
    "HaDisProjectionHead",
    "MomentumTeacher",
    "SynchronizedBatchNorm",
    "build_backbone",
    "evaluating",
    "feature_dim",
    "load_backbone_weights",
    "small_convnet",
    "small_resnet18",
    "small_resnet34",
    "small_resnet50",
    "synchronize_batchnorm",
]
