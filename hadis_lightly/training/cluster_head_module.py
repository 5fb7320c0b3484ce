"""What the modules of methods with a cluster head share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from hadis_lightly.checks import check_integer, check_number, check_type
from hadis_lightly.models import TwoHeadModel, evaluating
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.clustering_module import ClusteringModule, ModuleOptions
from hadis_lightly.training.inputs import check_same_n_clusters

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ClusterHeadOptions(ModuleOptions, total=False):
    """Keyword arguments of every module with a cluster head."""

    weight_decay: float
    warmup_epochs: int
    training_only: Tensor | None


class ClusterHeadModule(ClusteringModule):
    """Trains features, an instance head and a cluster head by Adam.

    Args:
        model: Features, an instance head and a cluster head.
        criterion: The loss.
        callback: Assigns images to clusters, for scores; the module brings it along.
            Its ``n_clusters`` is that of the criterion and of the cluster head.
        learning_rate: Learning rate of Adam. Paper: 3e-4 (CC), 1e-4 (PICI).
        weight_decay: Weight decay on all parameters. Paper: 0.
        warmup_epochs: Epochs in which the learning rate rises. Paper: 0.
        training_only: Which images, by index, are left out of the cluster loss, bool
            ``(m,)``; by default none. Paper: the unlabelled images of STL-10.
        **options: See :class:`ClusteringModule`.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a number is out of range, or numbers of clusters differ.
    """

    #: Classes of the arguments.
    model_type: ClassVar[type[nn.Module]] = TwoHeadModel
    criterion_type: ClassVar[type[nn.Module]] = nn.Module

    model: TwoHeadModel
    callback: ClusterHeadAssignment | None

    def __init__(
        self,
        model: TwoHeadModel,
        criterion: nn.Module,
        callback: ClusterHeadAssignment | None = None,
        *,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.0,
        warmup_epochs: int = 0,
        training_only: Tensor | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        check_type("model", model, self.model_type)
        check_type("criterion", criterion, self.criterion_type)
        check_type("callback", callback, ClusterHeadAssignment, optional=True)
        check_same_n_clusters(
            criterion=getattr(criterion, "n_clusters", None),
            callback=getattr(callback, "n_clusters", None),
            cluster_head=getattr(model.cluster_head, "n_clusters", None),
        )
        super().__init__(model, callback, **options)
        check_number("learning_rate", learning_rate, 0, above=True)
        check_number("weight_decay", weight_decay, 0)
        check_integer("warmup_epochs", warmup_epochs, least=0)
        self.criterion = criterion
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        weights = None
        if training_only is not None:
            if getattr(training_only, "dtype", None) != torch.bool:
                raise TypeError(
                    f"training_only must be a tensor of bools, got {training_only!r}."
                )
            weights = (~training_only).float()
        self.cluster_weights: Tensor | None
        self.register_buffer("cluster_weights", weights, persistent=False)
        self._outputs = self.compiled(_outputs)

    def embed(self, x: Tensor) -> Tensor:
        """Embeds plain images ``(n, c, h, w)``: normalised, ``(n, d)``."""
        return self.embed_and_assign(x)[0]

    @torch.no_grad()
    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``(n, d)`` and probabilities ``(n, k)`` of plain images."""
        n = len(x)
        with evaluating(self.model):
            embeddings, probabilities = self._outputs(self.model, self.padded(x))
        # Copies: what a CUDA graph returns is overwritten when it runs again.
        embeddings = F.normalize(embeddings[:n].float(), dim=1)
        return embeddings, probabilities[:n].float().clone()

    def weights_of(self, keys: Any) -> Tensor | None:
        """Weights of a batch in the cluster loss, ``(n,)``; None if all images count.

        Raises:
            TypeError: If some images do not count, and keys are not indices.
        """
        if self.cluster_weights is None:
            return None
        if not isinstance(keys, Tensor):
            raise TypeError("training_only goes by index, but keys are file names.")
        return self.cluster_weights[keys.to(self.device)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam at a constant learning rate, after a linear warm-up if there is one."""
        optimizer = Adam(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=self.fused or None,
        )
        _, steps_per_epoch = self.schedule()
        warmup_steps = max(1, self.warmup_epochs * steps_per_epoch)
        scheduler = LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / warmup_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def _outputs(model: TwoHeadModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """What both heads make of images, in the mode that the model is in."""
    features = model.forward_features(x)
    return model.instance_head(features), model.cluster_head(features)
