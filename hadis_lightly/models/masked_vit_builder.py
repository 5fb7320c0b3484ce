"""Builds a masked autoencoder from sizes, on timm's vision transformer."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from hadis_lightly.checks import check_integer
from hadis_lightly.models.masked_vit import MaskedViT


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

    Needs timm: ``pip install 'hadis-lightly[timm]'``. Positions are fixed sines and
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

    Example:
        >>> vit = build_masked_vit(1, 16, 4, 32, 1, 2, 32, 1, 2)
        >>> vit.num_patches, vit.width, vit.patch_size
        (16, 32, 4)

    - [0]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """
    images = _Images(num_channels, input_size, patch_size)
    encoder = _Sizes(width, depth, num_heads, "")
    decoder = _Sizes(decoder_width, decoder_depth, decoder_num_heads, "decoder_")
    _check_images(images)
    _check_sizes(encoder)
    _check_sizes(decoder)
    check_timm()
    return _build(images, encoder, decoder)


class _Images(NamedTuple):
    num_channels: int
    input_size: int
    patch_size: int


class _Sizes(NamedTuple):
    width: int
    depth: int
    num_heads: int
    prefix: str  # of the names that the caller knows them by


def _build(images: _Images, encoder_sizes: _Sizes, decoder_sizes: _Sizes) -> MaskedViT:
    from lightly.models.modules.masked_vision_transformer_decoder_timm import (
        MaskedVisionTransformerDecoderTIMM,
    )
    from lightly.models.modules.masked_vision_transformer_timm import (
        MaskedVisionTransformerTIMM,
        init_weights,
    )
    from timm.models.vision_transformer import VisionTransformer

    num_channels, input_size, patch_size = images
    vit = VisionTransformer(
        img_size=input_size,
        patch_size=patch_size,
        in_chans=num_channels,
        num_classes=0,
        embed_dim=encoder_sizes.width,
        depth=encoder_sizes.depth,
        num_heads=encoder_sizes.num_heads,
    )
    encoder = MaskedVisionTransformerTIMM(vit)
    # What is masked is left out of the encoder: its own mask token is never trained.
    encoder.mask_token.requires_grad_(False)
    decoder = MaskedVisionTransformerDecoderTIMM(
        num_patches=(input_size // patch_size) ** 2,
        embed_dim=decoder_sizes.width,
        depth=decoder_sizes.depth,
        num_heads=decoder_sizes.num_heads,
    )
    decoder_embedding = nn.Linear(encoder_sizes.width, decoder_sizes.width)
    pixel_head = nn.Linear(decoder_sizes.width, patch_size**2 * num_channels)
    decoder_embedding.apply(init_weights)
    pixel_head.apply(init_weights)
    return MaskedViT(encoder, decoder, decoder_embedding, pixel_head, *images)


def _check_images(images: _Images) -> None:
    num_channels, input_size, patch_size = images
    check_integer("num_channels", num_channels, least=1)
    check_integer("input_size", input_size, least=1)
    check_integer("patch_size", patch_size, least=1)
    if input_size % patch_size:
        raise ValueError(
            f"patch_size={patch_size} must divide input_size={input_size}."
        )


def _check_sizes(sizes: _Sizes) -> None:
    width, depth, num_heads, prefix = sizes
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


def check_timm() -> None:
    """Raises a ``ValueError`` unless timm is installed."""
    try:
        import timm  # noqa: F401
    except ImportError:
        raise ValueError(
            "a masked vision transformer needs timm, which is not installed: pip "
            "install 'hadis-lightly[timm]'."
        ) from None
