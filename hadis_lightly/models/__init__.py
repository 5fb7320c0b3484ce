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
from hadis_lightly.models.cluster_head.cc_heads import CCClusterHead, CCInstanceHead
from hadis_lightly.models.cluster_head.cc_model import CCModel
from hadis_lightly.models.cluster_head.masked_vit import MaskedViT, build_masked_vit
from hadis_lightly.models.cluster_head.pici_model import PICIModel
from hadis_lightly.models.cluster_head.two_head_model import TwoHeadModel
from hadis_lightly.models.evaluation_mode import (
    batch_norms,
    evaluating,
    frozen_statistics,
)
from hadis_lightly.models.frozen_backbone import FrozenBackbone
from hadis_lightly.models.hadis_model import HaDisModel
from hadis_lightly.models.heads import HaDisPredictionHead, HaDisProjectionHead
from hadis_lightly.models.momentum_teacher import MomentumTeacher
from hadis_lightly.models.principal_components import PrincipalComponents

__all__ = [
    "CCClusterHead",
    "CCInstanceHead",
    "CCModel",
    "FrozenBackbone",
    "HaDisModel",
    "HaDisPredictionHead",
    "HaDisProjectionHead",
    "MaskedViT",
    "MomentumTeacher",
    "PICIModel",
    "PrincipalComponents",
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
