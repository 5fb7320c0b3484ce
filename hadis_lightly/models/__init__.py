"""Heads, backbones, the momentum teacher, and the models made of them."""

from hadis_lightly.models.backbone_weights import load_backbone_weights
from hadis_lightly.models.backbones import (
    build_backbone,
    feature_dim,
    small_convnet,
    small_pooled_convnet,
    small_resnet18,
    small_resnet34,
    small_resnet50,
)
from hadis_lightly.models.cc_model import CCModel
from hadis_lightly.models.evaluation_mode import (
    batch_norms,
    evaluating,
    frozen_statistics,
)
from hadis_lightly.models.hadis_model import HaDisModel
from hadis_lightly.models.heads import (
    CCClusterHead,
    CCInstanceHead,
    HaDisPredictionHead,
    HaDisProjectionHead,
)
from hadis_lightly.models.masked_vit import MaskedViT, build_masked_vit
from hadis_lightly.models.momentum_teacher import MomentumTeacher
from hadis_lightly.models.pici_model import PICIModel
from hadis_lightly.models.two_head_model import TwoHeadModel

__all__ = [
    "CCClusterHead",
    "CCInstanceHead",
    "CCModel",
    "HaDisModel",
    "HaDisPredictionHead",
    "HaDisProjectionHead",
    "MaskedViT",
    "MomentumTeacher",
    "PICIModel",
    "TwoHeadModel",
    "batch_norms",
    "build_backbone",
    "build_masked_vit",
    "evaluating",
    "feature_dim",
    "frozen_statistics",
    "load_backbone_weights",
    "small_convnet",
    "small_pooled_convnet",
    "small_resnet18",
    "small_resnet34",
    "small_resnet50",
]
