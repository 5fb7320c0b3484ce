"""Losses of HaDis and its sisters: pure functions of tensors, and thin modules."""

from hadis_lightly.loss.cc_loss import CCLoss, CCLossTerms
from hadis_lightly.loss.cluster_contrastive_loss import ClusterContrastiveLoss
from hadis_lightly.loss.coding_rate import CodingRateLoss
from hadis_lightly.loss.dsa_loss import DSALoss
from hadis_lightly.loss.hadis_loss import HaDisLoss, HaDisLossTerms
from hadis_lightly.loss.hsd_loss import HSDLoss
from hadis_lightly.loss.interaction_loss import CrossLevelInteractionLoss
from hadis_lightly.loss.masked_patch_loss import MaskedPatchLoss
from hadis_lightly.loss.pcl_loss import PCLLoss
from hadis_lightly.loss.pici_loss import PICILoss, PICILossTerms

__all__ = [
    "CCLoss",
    "CCLossTerms",
    "ClusterContrastiveLoss",
    "CodingRateLoss",
    "CrossLevelInteractionLoss",
    "DSALoss",
    "HSDLoss",
    "HaDisLoss",
    "HaDisLossTerms",
    "MaskedPatchLoss",
    "PCLLoss",
    "PICILoss",
    "PICILossTerms",
]
