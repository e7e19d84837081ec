"""The encoders: sizes the paper states, momentum, queue, split batch norm."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pipeline.moco.fast.split_norm import begin_epoch, end_epoch
from pipeline.moco.model import MoCo, batch_norms, build_encoder, fold_batch_norms
from pipeline.presets import preset

pytestmark = pytest.mark.slow


def _tiny(queue: int = 8) -> MoCo:
    return MoCo("resnet18", 16, queue, 0.9, seed=0)


def test_medmnist_has_the_papers_numbers_of_parameters() -> None:
    config = preset("medmnist").pretrain
    model = MoCo(config.arch, config.projection_dim, config.queue_size, config.encoder_momentum, seed=0)
    every = [parameter.numel() for parameter in model.parameters()]
    trainable = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    assert round(sum(trainable) / 1e6, 2) == 27.97
    assert round(sum(every) / 1e6, 2) == 55.93


@pytest.mark.parametrize("moved", ["never", "after an update", "as a copy"])
def test_key_encoder_follows_the_query_encoder(moved: str) -> None:
    model = _tiny()
    if moved != "never":  # what an update keeps for the next one must not be another model's weights
        model.update_key_encoder()
        model = model.to(torch.float64) if moved == "after an update" else copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.query_encoder.parameters():
            parameter += 1
    before = [parameter.clone() for parameter in model.key_encoder.parameters()]
    model.update_key_encoder()
    for old, new, query in zip(before, model.key_encoder.parameters(), model.query_encoder.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * query)


def test_queue_replaces_its_oldest_keys_and_wraps() -> None:
    model = _tiny(queue=8)
    expected = model.queue.clone()
    for batch in range(5):
        keys = torch.full((4, 16), float(batch))
        model.enqueue(keys, batch)
        place = batch * 4 % 8
        expected[place : place + 4] = batch
        torch.testing.assert_close(model.queue, expected)


def test_projections_have_length_one() -> None:
    projections = _tiny().query_encoder(torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(projections.norm(dim=1), torch.ones(6))


def test_running_statistics_are_the_plain_mean_over_splits() -> None:
    encoder = build_encoder("resnet18", 8, split_rows=4).train()
    first = batch_norms(encoder)[0]
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda layer, args: seen.extend(s.mean((0, 2, 3)) for s in args[0].split(4)))
    views = torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    encoder(views[:8])  # of an epoch before
    begin_epoch(batch_norms(encoder))
    seen.clear()
    encoder(views[:8])
    encoder(views[8:])
    end_epoch(batch_norms(encoder))
    assert len(seen) == 3
    assert first.running_mean is not None
    torch.testing.assert_close(first.running_mean, torch.stack(seen).mean(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_folded_batch_norms_give_the_same_features(arch: str) -> None:
    encoder = build_encoder(arch, 8)
    generator = torch.Generator().manual_seed(0)
    for layer in batch_norms(encoder):
        for tensor in (layer.running_mean, layer.running_var, layer.weight.data, layer.bias.data):
            assert tensor is not None
            tensor.uniform_(0.5, 1.5, generator=generator)
    views = torch.randn(4, 3, 28, 28, generator=generator).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = encoder.eval()(views)
        folded = fold_batch_norms(encoder)
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
        torch.testing.assert_close(folded(views), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_head_is_mocos_mlp(arch: str) -> None:
    head = build_encoder(arch, 128).fc
    assert isinstance(head, nn.Sequential)
    width = head[0].in_features
    assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Linear]
    assert (head[0].out_features, head[2].out_features) == (width, 128)
    assert width == {"resnet18": 512, "resnet50": 2048}[arch]


def test_same_seed_same_weights_and_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other = _tiny(), _tiny()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
