"""The model of PICI: a masked autoencoder whose class token feeds two heads."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from hadis_lightly.models.heads import CCClusterHead, assignments_of
from hadis_lightly.models.masked_vit import MaskedViT, PatchMask
from hadis_lightly.models.two_head_model import TwoHeadModel


class MaskedOutputs(NamedTuple):
    """Outputs for a half-masked view."""

    prediction: Tensor
    """Predicted normalised pixels of the m masked patches, ``(n, m, p)``."""
    patches: Tensor
    """The pixels of those patches, not normalised, ``(n, m, p)``."""
    class_token: Tensor
    """The encoder's class token of the patches that are seen, ``(n, width)``."""


class HeadOutputs(NamedTuple):
    """Outputs of both heads for a class token."""

    instance: Tensor
    """Instance embeddings, L2-normalised, ``(n, d)``."""
    assignments: Tensor
    """Probabilities of the clusters, ``(n, k)``."""
    logits: Tensor
    """Their logits, ``(n, k)``."""


class PICIModel(TwoHeadModel):
    """Masked autoencoder, instance head and cluster head of PICI [0].

    In training half of the patches of each view are masked, drawn for every image
    anew: :meth:`forward_masked`, then :meth:`heads`. Plain images are seen whole:
    :meth:`embed`, :meth:`assign`, :meth:`embed_and_assign` and :meth:`predict` mask
    nothing. (The authors' code masks half of an image there too, so that its answers
    change from call to call.)

    Args:
        autoencoder: The masked autoencoder, see :func:`build_masked_vit`.
        instance_head: From class tokens to embeddings ``(n, d)``, such as
            :class:`CCInstanceHead`.
        cluster_head: A :class:`CCClusterHead`, or another with a method ``logits``.
        mask_ratio: Share of the patches that is masked, in (0, 1). Paper: 0.5.

    Raises:
        TypeError: If a part is of another kind.
        ValueError: If ``mask_ratio`` leaves no patch to see or none to predict, or if
            images are not of the size the autoencoder was built for.

    Example:
        >>> import torch
        >>> from hadis_lightly.models import CCInstanceHead, build_masked_vit
        >>> vit = build_masked_vit(3, 8, 2, 32, 1, 2, 32, 1, 2)
        >>> model = PICIModel(vit, CCInstanceHead(32), CCClusterHead(32, 5))
        >>> images = torch.rand(4, 3, 8, 8)
        >>> prediction, patches, class_token = model.forward_masked(images)
        >>> instance, assignments, logits = model.heads(class_token)
        >>> prediction.shape, instance.shape, model.predict(images).shape
        (torch.Size([4, 8, 12]), torch.Size([4, 128]), torch.Size([4]))

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """

    cluster_head: CCClusterHead

    def __init__(
        self,
        autoencoder: MaskedViT,
        instance_head: nn.Module,
        cluster_head: CCClusterHead,
        mask_ratio: float = 0.5,
    ) -> None:
        super().__init__(instance_head, cluster_head)
        if not isinstance(autoencoder, MaskedViT):
            raise TypeError(
                "autoencoder must be a MaskedViT, see build_masked_vit, got "
                f"{type(autoencoder).__name__}."
            )
        if not callable(getattr(cluster_head, "logits", None)):
            raise TypeError(
                "cluster_head must have a method logits, as CCClusterHead does, got "
                f"{type(cluster_head).__name__}."
            )
        autoencoder.check_mask_ratio(mask_ratio)
        self.autoencoder = autoencoder
        self.mask_ratio = mask_ratio

    @property
    def backbone(self) -> MaskedViT:
        """The autoencoder, which as a module maps whole images to class tokens."""
        return self.autoencoder

    def forward_features(self, x: Tensor) -> Tensor:
        """Returns the class tokens ``(n, width)`` of whole images."""
        class_token: Tensor = self.autoencoder(x)
        return class_token

    def forward_masked(self, x: Tensor, mask: PatchMask | None = None) -> MaskedOutputs:
        """Encodes a view with part of its patches masked, and predicts those.

        Args:
            x: One view of each image, ``(n, c, h, w)``.
            mask: Which patches are masked; by default drawn anew for each image, from
                PyTorch's global generator of the images' device.

        Returns:
            Prediction and pixels of the masked patches, and the class tokens.
        """
        if mask is None:
            self.autoencoder.check_images(x)
            mask = self.autoencoder.draw_mask(len(x), self.mask_ratio, x.device)
        tokens = self.autoencoder.encode(x, mask.keep)
        return MaskedOutputs(
            prediction=self.autoencoder.reconstruct(tokens, mask),
            patches=self.autoencoder.patches(x, mask),
            class_token=tokens[:, 0],
        )

    def heads(self, class_token: Tensor) -> HeadOutputs:
        """Returns both heads' outputs for class tokens ``(n, width)``."""
        logits = self.cluster_head.logits(class_token)
        return HeadOutputs(
            instance=self.instance_head(class_token),
            assignments=assignments_of(logits),
            logits=logits,
        )

    def project(self, x: Tensor) -> HeadOutputs:
        """Returns both heads' outputs for whole images, in the mode the model is in."""
        return self.heads(self.forward_features(x))
