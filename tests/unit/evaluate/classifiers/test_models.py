"""The networks: which, how large, from which weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.embed.moco import Embedder
from pipeline.errors import InputError
from pipeline.evaluate.classifiers import model as models
from pipeline.evaluate.classifiers.model import ImageClassifier, inception_resnet_v2, resnet
from pipeline.evaluate.head import Head
from pipeline.moco.model import build_encoder

pytestmark = pytest.mark.slow


def test_finetuning_starts_at_the_embedder() -> None:
    torch.manual_seed(0)
    weights = build_encoder("resnet18", 16).state_dict()
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3)).astype(np.uint8)
    backbone = resnet("resnet18", weights)
    classifier = ImageClassifier(backbone, Head(backbone.width, 8, 0, 0), None).eval()
    with torch.inference_mode():
        found = classifier.embed(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    unit = found / found.norm(dim=1, keepdim=True)
    expected = torch.from_numpy(Embedder(weights, "resnet18", torch.device("cpu"))(images))
    torch.testing.assert_close(unit, expected, atol=1e-5, rtol=0)
    assert not any(torch.equal(a, b) for a, b in [(resnet("resnet18").network.conv1.weight, weights["conv1.weight"])])


@pytest.mark.slow
def test_inception_at_the_papers_and_the_codes_size() -> None:
    torch.manual_seed(0)
    backbone = inception_resnet_v2()
    assert backbone.width == 1536
    # Szegedy et al. 2017 by timm: 55.84 M with ImageNet's 1,000 classes, which are 1.54 M of them.
    assert sum(each.numel() for each in backbone.network.parameters()) == 55_843_464 - 1537 * 1000
    for side in (28, None):
        classifier = ImageClassifier(backbone, Head(1536, 8, 0, 0), 48 if side is None else None).eval()
        with torch.inference_mode():
            assert classifier(torch.rand(2, 1, side or 28, side or 28)).shape == (2, 8)


def test_pixels_reach_each_network_as_its_weights_expect() -> None:
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels)
            return pixels.flatten(1)[:, :5]

    pixels = torch.rand(2, 1, 4, 4)
    for normalise in (models.normalise, models._minus_one_to_one):
        ImageClassifier(models.Backbone(Spy(), 5, normalise), Head(5, 3, 0, 0), 6)(pixels)
    assert [tuple(each.shape) for each in seen] == [(2, 3, 6, 6)] * 2
    larger = nn.functional.interpolate(pixels, (6, 6), mode="bilinear")
    torch.testing.assert_close(seen[0][:, 1:2], (larger - 0.456) / 0.224)
    torch.testing.assert_close(seen[1][:, 2:3], 2 * larger - 1)


def test_imagenet_weights_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        assert (name, pretrained, num_classes) == ("inception_resnet_v2", False, 0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2))
        network.num_features = 4  # type: ignore[assignment]
        return network

    monkeypatch.setattr(timm, "create_model", tiny)
    weights = {"0.weight": torch.rand(4, 3, 3, 3), "0.bias": torch.rand(4)}
    file = tmp_path / "weights.safetensors"
    save_file({**weights, "classif.weight": torch.rand(1000, 4)}, file)
    loaded = inception_resnet_v2(str(file)).network.state_dict()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    with pytest.raises(InputError, match="There is no file 'nowhere'"):
        inception_resnet_v2("nowhere")
    save_file({"0.weight": weights["0.weight"]}, file)
    with pytest.raises(InputError, match="does not hold timm's weights of inception_resnet_v2"):
        inception_resnet_v2(str(file))
    file.write_bytes(b"not tensors")
    with pytest.raises(InputError, match="does not hold"):
        inception_resnet_v2(str(file))
