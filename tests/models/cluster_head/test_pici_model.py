"""PICI's masked autoencoder, and the model that puts two heads on its class token."""

from __future__ import annotations

import re
import sys

import pytest
import torch
from torch import Tensor, nn

from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    MaskedViT,
    PICIModel,
    build_masked_vit,
    feature_dim,
)

pytest.importorskip("timm")
WIDTH, PATCHES = 32, 16


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def small_vit(num_channels: int = 3, **sizes: int) -> MaskedViT:
    """16 x 16 images in 16 patches of 4 x 4."""
    defaults = {
        "input_size": 16,
        "patch_size": 4,
        "width": WIDTH,
        "depth": 2,
        "num_heads": 2,
        "decoder_width": 24,
        "decoder_depth": 1,
        "decoder_num_heads": 2,
    }
    return build_masked_vit(num_channels, **(defaults | sizes))


def make_model(num_channels: int = 3, mask_ratio: float = 0.5) -> PICIModel:
    return PICIModel(
        small_vit(num_channels),
        CCInstanceHead(WIDTH, output_dim=6),
        CCClusterHead(WIDTH, 5),
        mask_ratio=mask_ratio,
    )


def images(n: int = 4, num_channels: int = 3) -> Tensor:
    return torch.rand(n, num_channels, 16, 16)


def test_sizes_are_the_papers() -> None:
    vit = build_masked_vit()
    encoder, decoder = vit.encoder.vit, vit.decoder
    assert (vit.num_patches, vit.width, vit.patch_size) == (14 * 14, 384, 16)
    assert (len(encoder.blocks), encoder.blocks[0].attn.num_heads) == (6, 12)
    assert (len(decoder.blocks), decoder.blocks[0].attn.num_heads) == (8, 16)
    assert vit.pixel_head.weight.shape == (16 * 16 * 3, 512)
    # Positions are fixed, and no mask token ever enters the encoder.
    fixed = {name for name, p in vit.named_parameters() if not p.requires_grad}
    assert fixed == {"encoder.mask_token", "encoder.vit.pos_embed", "decoder.pos_embed"}


@pytest.mark.parametrize("num_channels", [1, 3])
def test_shapes(num_channels: int) -> None:
    model, x = make_model(num_channels), images(4, num_channels)
    masked = model.forward_masked(x)
    assert masked.prediction.shape == masked.patches.shape == (4, 8, 16 * num_channels)
    assert masked.class_token.shape == (4, WIDTH)
    heads = model.heads(masked.class_token)
    assert heads.instance.shape == (4, 6)
    assert heads.assignments.shape == heads.logits.shape == (4, 5)
    assert [tuple(y.shape) for y in model.project(x)] == [(4, 6), (4, 5), (4, 5)]
    assert model.embed(x).shape == model(x).shape == (4, 6)
    assert model.assign(x).shape == (4, 5) and model.predict(x).shape == (4,)
    assert model.forward_features(x).shape == model.backbone(x).shape == (4, WIDTH)
    assert feature_dim(model.backbone, num_channels, 16) == WIDTH


@pytest.mark.parametrize(
    ("mask_ratio", "num_masked"), [(0.5, 8), (0.75, 12), (0.1, 2), (0.9, 15)]
)
def test_mask(mask_ratio: float, num_masked: int) -> None:
    """Each image has its own; together the two halves are all patches, once."""
    vit = small_vit()
    keep, masked = vit.draw_mask(50, mask_ratio)
    assert masked.shape == (50, num_masked)
    assert keep.shape == (50, 1 + PATCHES - num_masked)
    assert (keep[:, 0] == 0).all()
    both = torch.cat([keep, masked], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(1 + PATCHES).expand(50, -1))
    assert len(masked.sort(dim=1).values.unique(dim=0)) > min(40, PATCHES // 2)
    # Every patch has the same chance.
    shares = torch.stack([(masked == patch).any(1) for patch in range(1, 17)])
    assert (shares.float().mean(1) - num_masked / PATCHES).abs().max() < 0.3


def test_the_encoder_sees_the_patches_that_are_kept_and_no_others() -> None:
    model, x = make_model(), images()
    mask = model.autoencoder.draw_mask(len(x))
    masked = model.forward_masked(x, mask)
    hidden, seen = x.clone(), x.clone()
    for image in range(len(x)):
        for token in range(1, 1 + PATCHES):
            row, column = divmod(token - 1, 4)
            place = (image, slice(None), slice(4 * row, 4 * row + 4))
            place += (slice(4 * column, 4 * column + 4),)
            (hidden if token in mask.masked[image] else seen)[place] = 0.0
    same = model.forward_masked(hidden, mask)
    torch.testing.assert_close(same.class_token, masked.class_token)
    torch.testing.assert_close(same.prediction, masked.prediction)
    assert same.patches.abs().max() == 0
    other = model.forward_masked(seen, mask)
    assert not torch.allclose(other.class_token, masked.class_token)
    torch.testing.assert_close(other.patches, masked.patches)


def test_patches_are_those_that_are_predicted() -> None:
    """Patch j of the answer is the one of token ``masked[j]``, rows from the top."""
    vit = small_vit(num_channels=1)
    numbered = torch.arange(16.0).reshape(1, 1, 4, 4)
    x = numbered.repeat_interleave(4, 2).repeat_interleave(4, 3)
    mask = vit.draw_mask(1)
    expected = (mask.masked - 1).float().unsqueeze(-1).expand(1, 8, 16)
    assert torch.equal(vit.patches(x, mask), expected)


def test_clean_images_are_seen_whole_and_each_alone() -> None:
    model, x = make_model(), images(5)
    random_state = torch.get_rng_state()
    embeddings, assignments = model.embed_and_assign(x)
    assert torch.equal(torch.get_rng_state(), random_state)  # nothing is masked
    assert model.training
    assert not embeddings.requires_grad and not assignments.requires_grad
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(assignments.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(model.embed(x), embeddings, rtol=0, atol=0)
    torch.testing.assert_close(model.assign(x), assignments, rtol=0, atol=0)
    assert torch.equal(model.predict(x), assignments.argmax(1))
    for i in range(5):
        torch.testing.assert_close(model.embed(x[i : i + 1])[0], embeddings[i])
    instance, probabilities, logits = model.project(x)
    torch.testing.assert_close(instance, embeddings)
    torch.testing.assert_close(probabilities, assignments)
    torch.testing.assert_close(logits.softmax(1), assignments)


def test_gradients() -> None:
    model, x = make_model(), images()

    def trained_by(loss: Tensor) -> set[str]:
        model.zero_grad()
        loss.backward()
        return {
            name.removeprefix("autoencoder.").partition(".")[0]
            for name, p in model.named_parameters()
            if p.grad is not None
        }

    masked = model.forward_masked(x)
    decoder = {"decoder", "decoder_embedding", "pixel_head"}
    assert trained_by(masked.prediction.square().sum()) == {"encoder"} | decoder
    class_token = model.forward_masked(x).class_token
    assert trained_by(model.heads(class_token).instance.sum()) == {
        "encoder",
        "instance_head",
    }
    logits = model.project(x).logits
    assert trained_by(logits.sum()) == {"encoder", "cluster_head"}


def test_under_autocast() -> None:
    model, x = make_model(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masked = model.forward_masked(x)
        heads = model.heads(masked.class_token)
        embeddings, assignments = model.embed_and_assign(x)
    for y in (masked.patches, heads.instance, heads.assignments):
        assert y.dtype == torch.float32
    assert embeddings.dtype == assignments.dtype == torch.float32
    (masked.prediction.float().square().sum() + heads.logits.sum()).backward()
    torch.testing.assert_close(embeddings, model.embed(x), rtol=0, atol=0.1)


@pytest.mark.slow
def test_the_graph_has_no_breaks() -> None:
    torch._dynamo.reset()
    model, x = make_model(), images()
    compiled = torch.compile(model.forward_masked, fullgraph=True, backend="aot_eager")
    mask = model.autoencoder.draw_mask(len(x))
    torch.testing.assert_close(compiled(x, mask), model.forward_masked(x, mask))
    assert compiled(x).prediction.shape == (4, 8, 48)  # it draws as well


VIT, INSTANCE, CLUSTER = small_vit(), CCInstanceHead(WIDTH), CCClusterHead(WIDTH, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: small_vit(patch_size=5),
            ValueError,
            "patch_size=5 must divide input_size=16",
        ),
        (
            lambda: small_vit(decoder_width=32, decoder_num_heads=5),
            ValueError,
            "decoder_width=32 must be a multiple of decoder_num_heads=5",
        ),
        (
            lambda: VIT(torch.rand(2, 3, 32, 32)),
            ValueError,
            "x must have shape (n, 3, 16, 16) for a network of num_channels=3 and "
            "input_size=16, got (2, 3, 32, 32)",
        ),
        (
            lambda: PICIModel(VIT, INSTANCE, nn.Linear(WIDTH, 3)),
            TypeError,
            "cluster_head must have a method logits, as CCClusterHead does, got Linear",
        ),
        (
            lambda: PICIModel(VIT, INSTANCE, CLUSTER, mask_ratio=0.0),
            ValueError,
            "mask_ratio=0.0 of 16 patches leaves 16 to see and 0 to predict",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    message = "needs timm, .* pip install timm"
    with pytest.raises(ValueError, match=message):
        small_vit()
