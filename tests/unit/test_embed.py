"""Features against the network as it was trained: batch norm and normalisation apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.views import normalise
from pipeline.embed import Embedder
from pipeline.moco.model import build_encoder


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_folded_changes_nothing(channels: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", 16)
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after a training: statistics of its own
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, channels), dtype=np.uint8)
    found = Embedder(weights, "resnet18", torch.device("cpu"))(images)

    encoder.fc = nn.Identity()
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
        expected = encoder.eval()(normalise(pixels)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.shape == (6, 512) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - found[0]).max() > 1e-3, "images are told apart"
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items() if name in weights)
