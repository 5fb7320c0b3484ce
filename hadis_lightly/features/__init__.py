"""Features of a frozen backbone: computed once and kept, neighbours, loaders."""

from hadis_lightly.features.agreement import view_agreement
from hadis_lightly.features.backbone_pass import BackbonePass
from hadis_lightly.features.bank_file import FeatureCache
from hadis_lightly.features.feature_bank import FeatureBank, bank_key
from hadis_lightly.features.feature_loader import FeatureLoader, PlainFeatureLoader
from hadis_lightly.features.neighbours import nearest_neighbours, reciprocal_neighbours
from hadis_lightly.features.view_batches import (
    ViewBatches,
    views_of_array,
    views_of_source,
)

__all__ = [
    "BackbonePass",
    "FeatureBank",
    "FeatureCache",
    "FeatureLoader",
    "PlainFeatureLoader",
    "ViewBatches",
    "bank_key",
    "nearest_neighbours",
    "reciprocal_neighbours",
    "view_agreement",
    "views_of_array",
    "views_of_source",
]
