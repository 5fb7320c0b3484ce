"""PICI: a masked autoencoder with two heads."""

from __future__ import annotations

from typing import Any

from hadis_lightly.backbone_names import MASKED_VIT
from hadis_lightly.loss import PICILoss
from hadis_lightly.methods.cluster_head import ClusterHeadMethod
from hadis_lightly.methods.method import Parts
from hadis_lightly.methods.schedule import check_ends_early
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    PICIModel,
    build_masked_vit,
)
from hadis_lightly.models.checks import check_timm
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.papers import paper_settings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.cluster_head_module import ClusterHeadModule
from hadis_lightly.training.pici import PICI

_PAPER_EPOCHS = paper_settings("pici")["trainer.max_epochs"]
_PAPER_PRETRAINING, _PAPER_INTERACTION = 200, 50


class PICIMethod(ClusterHeadMethod):
    """PICI: a masked autoencoder, both contrasts, and their interaction."""

    name = "PICI"
    loss_type = PICILoss
    module_type = PICI
    has_unused_parameters = True

    def check(self, settings: Settings) -> None:
        """Checks that network and phases are possible."""
        super().check(settings)
        try:
            check_timm("a masked vision transformer")
        except ValueError as error:
            raise SettingsError(f"method=pici: {error}") from None
        if settings.model.backbone != MASKED_VIT:
            raise SettingsError(
                f"model.backbone must be {MASKED_VIT} for method=pici, which the "
                f"settings pici.* describe, got {settings.model.backbone!r}."
            )
        if settings.model.weights is not None:
            raise SettingsError(
                "model.weights is for a backbone by name, not for method=pici."
            )
        size, patch_size = settings.views.size_px, settings.pici.patch_size
        if size % patch_size:
            raise SettingsError(
                f"views.input_size must be a multiple of pici.patch_size={patch_size}, "
                f"got {size}."
            )

    def schedule(self, settings: Settings) -> dict[str, int]:
        """The warm-up of the optimiser, and the first and the last phase."""
        first, last = self.phases(settings)
        lost = "the cluster head would never be trained"
        check_ends_early(settings, "pici.pretraining_epochs", first, lost)
        max_epochs = settings.trainer.max_epochs
        if first + last > max_epochs:
            raise SettingsError(
                "pici.pretraining_epochs and pici.interaction_epochs together must be "
                f"<= the {max_epochs} epochs of the run, got {first + last}."
            )
        return {
            **super().schedule(settings),
            "pici.pretraining_epochs": first,
            "pici.interaction_epochs": last,
        }

    def phases(self, settings: Settings) -> tuple[int, int]:
        """Epochs of the first and of the last phase; those between are the second.

        By default in the proportions of the paper; the last has an epoch at least,
        where there are three.
        """
        max_epochs = settings.trainer.max_epochs
        share = max_epochs / _PAPER_EPOCHS
        pretraining = settings.pici.pretraining_epochs
        if pretraining is None:
            pretraining = round(_PAPER_PRETRAINING * share)
        interaction = settings.pici.interaction_epochs
        if interaction is None:
            interaction = max(int(max_epochs >= 3), round(_PAPER_INTERACTION * share))
        return pretraining, interaction

    def build_model(
        self, settings: Settings, num_channels: int, *, with_weights: bool = True
    ) -> PICIModel:
        """The masked autoencoder and its two heads."""
        sizes = settings.pici
        try:
            autoencoder = build_masked_vit(
                num_channels,
                settings.views.size_px,
                patch_size=sizes.patch_size,
                width=sizes.width,
                depth=sizes.depth,
                num_heads=sizes.num_heads,
                decoder_width=sizes.decoder_width,
                decoder_depth=sizes.decoder_depth,
                decoder_num_heads=sizes.decoder_num_heads,
            )
            return PICIModel(
                autoencoder,
                CCInstanceHead(sizes.width, output_dim=settings.contrast.output_dim),
                CCClusterHead(sizes.width, int(settings.n_clusters)),
                mask_ratio=sizes.mask_ratio,
            )
        except ValueError as error:
            raise SettingsError(f"method=pici: {error}") from None

    def build_module(self, parts: Parts, **own: Any) -> ClusterHeadModule:
        """The networks and the loss; without heads in the first phase."""
        pretraining, _ = self.phases(parts.settings)
        return super().build_module(parts, pretraining_epochs=pretraining, **own)
