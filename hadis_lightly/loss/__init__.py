"""Losses of HaDis: pure functions of tensors, and thin modules around them."""

from hadis_lightly.loss.dsa_loss import DSALoss
from hadis_lightly.loss.hadis_loss import HaDisLoss, HaDisLossTerms
from hadis_lightly.loss.hsd_loss import HSDLoss
from hadis_lightly.loss.pcl_loss import PCLLoss

__all__ = ["DSALoss", "HSDLoss", "HaDisLoss", "HaDisLossTerms", "PCLLoss"]
