"""HaDis, and with terms left out ProPos and BYOL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from hadis_lightly.cluster import PrototypePartition
from hadis_lightly.loss import HaDisLoss
from hadis_lightly.methods.backbone import build_backbone_of, check_local_views
from hadis_lightly.methods.method import Method, Parts
from hadis_lightly.methods.schedule import check_ends_early
from hadis_lightly.models import HaDisModel, HaDisPredictionHead, HaDisProjectionHead
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.papers import paper_settings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.hadis import HaDis
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans


class HaDisMethod(Method):
    """HaDis; with some weights at 0 another method of the family."""

    name = "HaDis"
    optimizer = "SGD"
    partition_type = PrototypePartition

    def title(self, settings: Settings) -> str:
        """HaDis, or what is left of it without its terms: ProPos or BYOL."""
        if settings.model.train == "nothing":
            return f"k-means on {settings.model.backbone}"
        if settings.model.pcl_weight > 0:
            return "HaDis" if settings.model.hsd_weight > 0 else "ProPos"
        return "HaDis without PCL" if settings.model.hsd_weight > 0 else "BYOL"

    def check(self, settings: Settings) -> None:
        """Checks that the weights of terms which are left out are 0."""
        for name in paper_settings(settings.method):
            value = getattr(settings.model, name.removeprefix("model."))
            if value != 0:
                raise SettingsError(
                    f"{name} must be 0 for method={settings.method}, got {value}."
                )

        choice = settings.model
        if not choice.predictor and choice.coding_rate_weight == 0:
            raise SettingsError(
                "model.predictor=false needs model.coding_rate_weight above 0, such as "
                "0.01: without either all embeddings become the same."
            )

    def schedule(self, settings: Settings) -> dict[str, int]:
        """The warm-ups of the optimiser and of the clustering."""
        schedule = super().schedule(settings)
        epochs = settings.clustering.warmup_epochs
        low, high = settings.n_clusters_range()
        if epochs is None and low < high:
            # A number is chosen well once the learning rate has fallen.
            length = settings.trainer.max_epochs
            epochs = min(round(0.8 * length), length - 1)
        elif epochs is None and settings.model.train == "heads":
            # Pseudo-labels that come early keep a wrong partition.
            epochs = settings.trainer.max_epochs // 2
        elif epochs is None:
            epochs = schedule["optimizer.warmup_epochs"]
        if settings.model.pcl_weight > 0:
            lost = "there would be no pseudo-labels, hence no PCL"
            check_ends_early(settings, "clustering.warmup_epochs", epochs, lost)
        return schedule | {"clustering.warmup_epochs": epochs}

    def build_model(
        self, settings: Settings, num_channels: int, *, with_weights: bool = True
    ) -> HaDisModel:
        """Student, predictor and teacher."""
        backbone, input_dim = build_backbone_of(
            settings, num_channels, with_weights=with_weights
        )
        choice = settings.model
        if choice.train == "nothing":  # its own features are clustered
            return HaDisModel(backbone, nn.Identity(), nn.Identity(), latent_std=0.0)
        check_local_views(settings, backbone, num_channels, input_dim)
        d, hidden_dim = choice.output_dim, choice.hidden_dim
        return HaDisModel(
            backbone,
            HaDisProjectionHead(input_dim, hidden_dim, d),
            HaDisPredictionHead(d, hidden_dim, d)
            if choice.predictor
            else nn.Identity(),
            latent_std=choice.latent_std,
        )

    def build_callback(
        self, settings: Settings, plain_loader: Iterable[Any]
    ) -> PrototypeKMeans:
        """k-means on the teacher's embeddings."""
        options = settings.clustering
        low, high = settings.n_clusters_range()
        return PrototypeKMeans(
            low if low == high else (low, high),
            plain_loader,
            warmup_epochs=self.schedule(settings)["clustering.warmup_epochs"],
            every_n_epochs=options.every_n_epochs,
            n_init=options.n_init,
            whiten=options.whiten,
            cosine_start=options.cosine_start,
            warm_start=options.warm_start,
            merge=options.merge,
            random_state=settings.seed,
        )

    def build_module(self, parts: Parts) -> HaDis:
        """The networks and the loss, in one module."""
        settings = parts.settings
        choice, optimizer = settings.model, settings.optimizer
        criterion = HaDisLoss(
            parts.callback.n_clusters,
            hsd_weight=choice.hsd_weight,
            pcl_weight=choice.pcl_weight,
            hsd_temperature=choice.hsd_temperature,
            pcl_temperature=choice.pcl_temperature,
            gather_distributed=settings.trainer.gather_distributed,
        )
        global_batch_size = settings.loader.batch_size * parts.world_size
        return HaDis(
            parts.model,
            criterion,
            parts.callback,
            learning_rate=optimizer.learning_rate * global_batch_size / 256,
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
            prediction_head_lr_scale=optimizer.prediction_head_lr_scale,
            warmup_epochs=self.schedule(settings)["optimizer.warmup_epochs"],
            teacher_momentum=choice.teacher_momentum,
            final_teacher_momentum=choice.final_teacher_momentum,
            concatenate_views=choice.concatenate_views,
            teacher_views=None if choice.train == "heads" else settings.views.n_views,
            teacher_target=choice.teacher_target,
            coding_rate_weight=choice.coding_rate_weight,
            **parts.module_options(),
        )
