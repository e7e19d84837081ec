"""Frozen networks: timm's own features, whatever is folded and resized; weights from where they may come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load, save_file

from pipeline.artifacts import Encoder, Float32, Uint8
from pipeline.embed.backbone import BackboneEmbedder, fold, load_backbone, packaged_weights
from pipeline.errors import InputError

CPU = torch.device("cpu")


def images(n: int, side: int, channels: int) -> Uint8:
    """(n, side, side, channels) of noise."""
    return np.random.default_rng(side).integers(0, 256, (n, side, side, channels)).astype(np.uint8)


def plain(encoder: Encoder, weights: bytes, pixels: Uint8) -> Float32:
    """What timm's network gives when it is used as its documentation says."""
    network = timm.create_model(encoder.name, num_classes=0)
    network.load_state_dict(load(weights))
    views = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    views = views.expand(-1, 3, -1, -1)
    if views.shape[2] != encoder.side:
        views = F.interpolate(views, (encoder.side, encoder.side), mode="bicubic", antialias=True)
    mean, std = torch.tensor(encoder.mean).view(3, 1, 1), torch.tensor(encoder.std).view(3, 1, 1)
    with torch.inference_mode():
        return F.normalize(network.eval()((views - mean) / std), dim=1).numpy()


def test_the_packaged_weights_are_there() -> None:
    """Part of the installation, so that nothing is downloaded."""
    assert packaged_weights() is not None


@pytest.mark.parametrize(("side", "channels", "input_side"), [(28, 3, 96), (8, 1, 96), (112, 3, 112)])
def test_features_are_timms_own(side: int, channels: int, input_side: int) -> None:
    encoder, weights = load_backbone("imagenet", None, False, side)
    assert (encoder.side, encoder.dimensions, encoder.licence) == (input_side, 1280, "apache-2.0")
    embed = BackboneEmbedder(encoder, load(weights), CPU)
    pixels = images(37, side, channels)  # more than one of its batches
    found = embed(pixels)
    np.testing.assert_allclose(found, plain(encoder, weights, pixels), atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_large_pool_gets_the_networks_own_side() -> None:
    assert load_backbone("imagenet", None, False, 512)[0].side == 224
    assert load_backbone("imagenet", None, False, 512, side=128)[0].side == 128


def test_a_pretrained_network_knows_a_flower() -> None:
    """The package's tensors are under the right names: noise would not be classified."""
    from sklearn.datasets import load_sample_image

    network = timm.create_model("tf_efficientnet_lite0")
    file = packaged_weights()
    assert file is not None
    tensors = torch.load(file, weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
    view = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None].float() / 255
    view = F.interpolate(view, (224, 224), mode="bicubic", antialias=True)
    with torch.inference_mode():
        best = network.eval()((view - 0.5) / 0.5).argmax()
    assert timm.data.ImageNetInfo().index_to_description(int(best)).startswith(("bell cote", "stupa", "palace"))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_any_network_of_timm_with_weights_from_a_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = timm.create_model(name, num_classes=0)
    file = tmp_path / "weights.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in made.state_dict().items()}, file)
    encoder, weights = load_backbone(f"timm:{name}", str(file), False, 64)
    assert encoder.side == 224
    pixels = images(3, 64, 3)
    found = BackboneEmbedder(encoder, load(weights), CPU)(pixels)
    assert found.shape == (3, encoder.dimensions)
    np.testing.assert_allclose(found, plain(encoder, weights, pixels), atol=2e-5)


def test_a_network_that_cannot_be_folded_stays_as_it_is() -> None:
    """Where a batch norm is not what follows the convolution before it, folding would change the features."""

    class Crossed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
            self.norm.running_mean = torch.arange(4.0)

        def forward(self, views: torch.Tensor) -> torch.Tensor:
            return self.norm(torch.relu(self.first(views)))

    network = Crossed().eval()
    views = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        assert not torch.allclose(network(views), fold(Crossed().eval())(views))


@pytest.mark.parametrize(
    ("source", "weights", "words"),
    [
        ("timm:resnet81", None, "timm has no network 'resnet81'; did you mean 'resnet18'?"),
        ("timm:resnet18", None, "'timm:resnet18' needs weights: give --weights FILE.safetensors, or allow a download"),
    ],
)
def test_what_cannot_be_loaded_is_said(source: str, weights: str | None, words: str) -> None:
    with pytest.raises(InputError) as refused:
        load_backbone(source, weights, False, 28)
    assert str(refused.value).startswith(words)


def test_weights_of_another_network_and_no_weights_at_all(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(InputError, match="does not fit 'resnet18': 120 of its 120 tensors are missing"):
        load_backbone("timm:resnet18", str(file), False, 28)
    file.write_bytes(b"no tensors")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_backbone("timm:resnet18", str(file), False, 28)


def test_a_fixed_input_is_not_asked_for_another(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    made = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
    save_file({key: tensor.contiguous() for key, tensor in made.items()}, file)
    with pytest.raises(InputError, match="takes images of 224 pixels only"):
        load_backbone("timm:vit_tiny_patch16_224", str(file), False, 28, side=96)
