"""A masked autoencoder of vision transformers, from lightly's parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from lightly.models import utils
from lightly.models.modules.masked_vision_transformer import MaskedVisionTransformer
from lightly.models.modules.masked_vision_transformer_decoder import (
    MaskedVisionTransformerDecoder,
)
from torch import Tensor, nn

from hadis_lightly.checks import check_integer, check_number
from hadis_lightly.models.checks import check_images, check_timm


class PatchMask(NamedTuple):
    """Which tokens of each image are seen and which are not; token 0 is the class."""

    keep: Tensor
    """The class token and the patches that are seen, int64 ``(n, 1 + patches - m)``."""
    masked: Tensor
    """The m patches to be predicted, int64 ``(n, m)``, numbered from 1."""


class MaskedViT(nn.Module):
    """Encodes whole or half-masked images, and predicts the masked patches [0].

    Built by :func:`build_masked_vit`. The encoder is given only the patches that are
    seen; the decoder has a mask token in place of the others.

    Args:
        encoder: lightly's ``MaskedVisionTransformerTIMM``, with a class token.
        decoder: lightly's ``MaskedVisionTransformerDecoderTIMM``.
        decoder_embedding: Linear, from the encoder's width to the decoder's.
        pixel_head: From the decoder's width to the pixels of a patch.
        num_channels: Channels of the images.
        input_size: Side of the images in pixels.
        patch_size: Side of a patch in pixels.

    Example:
        >>> from hadis_lightly.models import build_masked_vit
        >>> vit = build_masked_vit(1, 16, 4, 32, 1, 2, 32, 1, 2)
        >>> images = torch.rand(2, 1, 16, 16)
        >>> mask = vit.draw_mask(len(images))
        >>> tokens = vit.encode(images, mask.keep)
        >>> tokens.shape, vit.reconstruct(tokens, mask).shape
        (torch.Size([2, 9, 32]), torch.Size([2, 8, 16]))

    - [0]: Masked Autoencoder, 2021, https://arxiv.org/abs/2111.06377
    """

    def __init__(
        self,
        encoder: MaskedVisionTransformer,
        decoder: MaskedVisionTransformerDecoder,
        decoder_embedding: nn.Linear,
        pixel_head: nn.Module,
        num_channels: int,
        input_size: int,
        patch_size: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.decoder_embedding = decoder_embedding
        self.pixel_head = pixel_head
        self.num_channels = num_channels
        self.input_size = input_size
        self.patch_size = patch_size

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return int((self.input_size // self.patch_size) ** 2)

    @property
    def width(self) -> int:
        """Size of a class token."""
        return self.decoder_embedding.in_features

    def forward(self, x: Tensor) -> Tensor:
        """Returns the class tokens ``(n, width)`` of whole images."""
        return self.encode(x)[:, 0]

    def encode(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encodes the class token and the patches that are seen.

        Args:
            x: Images of the size the network was built for, ``(n, c, h, w)``.
            keep: Tokens that are seen, ``(n, length)``; by default all.

        Returns:
            The encoded tokens in the order of ``keep``, ``(n, length, width)``.
        """
        self.check_images(x)
        tokens: Tensor = self.encoder.encode(x, idx_keep=keep)
        return tokens

    def reconstruct(self, tokens: Tensor, mask: PatchMask) -> Tensor:
        """Predicts the normalised pixels of the masked patches, ``(n, m, p)``.

        Args:
            tokens: The tokens of ``mask.keep``, encoded by :meth:`encode`.
            mask: Which tokens those are, and which patches to predict.
        """
        tokens = self.decoder_embedding(tokens)
        # lightly's set_at_index wants one dtype, also where autocast changes it.
        mask_token = self.decoder.mask_token.to(tokens.dtype)
        size = (len(tokens), 1 + self.num_patches)
        tokens = utils.set_at_index(
            utils.repeat_token(mask_token, size), mask.keep, tokens
        )
        decoded = utils.get_at_index(self.decoder(tokens), mask.masked)
        pixels: Tensor = self.pixel_head(decoded)
        return pixels

    def patches(self, x: Tensor, mask: PatchMask) -> Tensor:
        """Returns the pixels of the masked patches, not normalised, ``(n, m, p)``."""
        self.check_images(x)
        patches = utils.patchify(x, self.patch_size)
        return utils.get_at_index(patches, mask.masked - 1)

    def draw_mask(
        self, n: int, mask_ratio: float = 0.5, device: torch.device | None = None
    ) -> PatchMask:
        """Draws for each image which patches are masked, by PyTorch's generator.

        Args:
            n: Number of images.
            mask_ratio: Share of the patches to mask, in (0, 1), rounded up.
            device: Where to draw; by default the CPU.
        """
        self.check_mask_ratio(mask_ratio)
        size = (n, 1 + self.num_patches)
        keep, masked = utils.random_token_mask(size, mask_ratio, device=device)
        return PatchMask(keep, masked)

    def check_mask_ratio(self, mask_ratio: float) -> None:
        """Raises unless some patches are masked, and some are not."""
        check_number("mask_ratio", mask_ratio, 0, 1)
        num_seen = int(self.num_patches * (1 - mask_ratio))
        if not 0 < num_seen < self.num_patches:
            raise ValueError(
                f"mask_ratio={mask_ratio!r} of {self.num_patches} patches leaves "
                f"{num_seen} to see and {self.num_patches - num_seen} to predict; "
                "both must be at least 1."
            )

    def check_images(self, x: Tensor) -> None:
        """Raises unless images are those that the network was built for."""
        check_images(x)
        expected = (self.num_channels, self.input_size, self.input_size)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(
                f"x must have shape (n, {', '.join(map(str, expected))}) for a network "
                f"of num_channels={self.num_channels} and input_size="
                f"{self.input_size}, got {tuple(x.shape)}."
            )


def build_masked_vit(
    num_channels: int = 3,
    input_size: int = 224,
    patch_size: int = 16,
    width: int = 384,
    depth: int = 6,
    num_heads: int = 12,
    decoder_width: int = 512,
    decoder_depth: int = 8,
    decoder_num_heads: int = 16,
) -> MaskedViT:
    """Builds the masked autoencoder of PICI [0], with random weights.

    Needs timm: ``pip install timm``. Positions are fixed sines and
    cosines. The defaults are the paper's; small images need a small patch, such as 4
    pixels of 32.

    Args:
        num_channels: Channels of the images: 3, or 1 for grey ones.
        input_size: Side of the images in pixels.
        patch_size: Side of a patch in pixels; divides ``input_size``.
        width: Size of a token, a multiple of 4 and of ``num_heads``.
        depth: Blocks of the encoder.
        num_heads: Attention heads of the encoder.
        decoder_width: As ``width``, of the decoder.
        decoder_depth: As ``depth``, of the decoder.
        decoder_num_heads: As ``num_heads``, of the decoder.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is too small or does not fit another, or without timm.

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """
    _check_image_sizes(num_channels, input_size, patch_size)
    _check_transformer_sizes("", width, depth, num_heads)
    _check_transformer_sizes(
        "decoder_", decoder_width, decoder_depth, decoder_num_heads
    )
    check_timm("a masked vision transformer")
    from lightly.models.modules import masked_vision_transformer_timm as timm_parts
    from lightly.models.modules.masked_vision_transformer_decoder_timm import (
        MaskedVisionTransformerDecoderTIMM,
    )
    from timm.models.vision_transformer import VisionTransformer

    vit = VisionTransformer(
        img_size=input_size,
        patch_size=patch_size,
        in_chans=num_channels,
        num_classes=0,
        embed_dim=width,
        depth=depth,
        num_heads=num_heads,
    )
    encoder = timm_parts.MaskedVisionTransformerTIMM(vit)
    # Masked patches are left out of the encoder: its own mask token is never trained.
    encoder.mask_token.requires_grad_(False)
    num_patches = (input_size // patch_size) ** 2
    decoder = MaskedVisionTransformerDecoderTIMM(
        num_patches, decoder_width, decoder_depth, decoder_num_heads
    )
    decoder_embedding = nn.Linear(width, decoder_width)
    pixel_head = nn.Linear(decoder_width, patch_size**2 * num_channels)
    for layer in (decoder_embedding, pixel_head):
        timm_parts.init_weights(layer)
    images = (num_channels, input_size, patch_size)
    return MaskedViT(encoder, decoder, decoder_embedding, pixel_head, *images)


def _check_image_sizes(num_channels: int, input_size: int, patch_size: int) -> None:
    check_integer("num_channels", num_channels, least=1)
    check_integer("input_size", input_size, least=1)
    check_integer("patch_size", patch_size, least=1)
    if input_size % patch_size:
        raise ValueError(
            f"patch_size={patch_size} must divide input_size={input_size}."
        )


def _check_transformer_sizes(
    prefix: str, width: int, depth: int, num_heads: int
) -> None:
    check_integer(f"{prefix}width", width, least=1)
    check_integer(f"{prefix}depth", depth, least=1)
    check_integer(f"{prefix}num_heads", num_heads, least=1)
    if width % num_heads:
        raise ValueError(
            f"{prefix}width={width} must be a multiple of "
            f"{prefix}num_heads={num_heads}."
        )
    if width % 4:  # sines and cosines, of rows and of columns
        raise ValueError(f"{prefix}width must be a multiple of 4, got {width}.")
