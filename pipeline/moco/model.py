"""MoCo v2's two encoders and queue (He et al. 2020, Chen et al. 2020; facebookresearch/moco).

B = rows of a batch, D = projection dimensions, Q = queue size.
"""

from __future__ import annotations

import copy
from functools import cached_property

import torch
import torch.nn.functional as F
import torchvision.models
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.checkpoint import Checkpoint
from pipeline.moco.fast.small_maps import SmallMapConv2d
from pipeline.moco.fast.split_norm import SplitBatchNorm2d

BACKBONES = {"resnet18": torchvision.models.resnet18, "resnet50": torchvision.models.resnet50}


def build_encoder(arch: str, projection_dim: int, split_rows: int | None = None) -> nn.Module:
    """A ResNet with its ordinary stem and MoCo v2's MLP head in place of the classifier.

    Args:
        split_rows: rows that batch norm sees at a time in training; none: batch norm is the ordinary one.
    """
    encoder = BACKBONES[arch](weights=None)
    width = encoder.fc.in_features
    encoder.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection_dim))
    for parent in list(encoder.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Conv2d):
                setattr(parent, name, SmallMapConv2d.like(layer))
            elif isinstance(layer, nn.BatchNorm2d) and split_rows is not None:
                setattr(parent, name, SplitBatchNorm2d.like(layer, split_rows))
    return encoder.to(memory_format=torch.channels_last)


def batch_norms(module: nn.Module) -> list[SplitBatchNorm2d]:
    """All batch norms that go by splits."""
    return [layer for layer in module.modules() if isinstance(layer, SplitBatchNorm2d)]


def convolutions(module: nn.Module) -> list[SmallMapConv2d]:
    """All of them."""
    return [layer for layer in module.modules() if isinstance(layer, SmallMapConv2d)]


def fold_batch_norms(encoder: nn.Module) -> nn.Module:
    """For inference, in place: every batch norm becomes part of the convolution before it, up to rounding the same."""
    for parent in list(encoder.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                before = name, layer
            elif isinstance(layer, nn.BatchNorm2d):
                assert before is not None
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], layer))
                setattr(parent, name, nn.Identity())
    return encoder


def encoder_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The query encoder's weights of a checkpoint, for ``build_encoder``'s module."""
    return checkpoint.part("model.query_encoder.encoder")


class UnitNorm(nn.Module):
    """An encoder whose projections have length 1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, views: Tensor) -> Tensor:
        """(n, 3, H, W), whole batch-norm splits -> (n, D)."""
        return F.normalize(self.encoder(views).float(), dim=1)


class MoCo(nn.Module):
    """Query encoder, momentum (key) encoder and the queue of negatives.

    Args:
        seed: of the initial weights and of the queue's initial noise.
        split_rows: see ``build_encoder``.
    """

    queue: Tensor

    def __init__(
        self,
        arch: str,
        projection_dim: int,
        queue_size: int,
        encoder_momentum: float,
        seed: int,
        split_rows: int | None = None,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.query_encoder = UnitNorm(build_encoder(arch, projection_dim, split_rows))
            noise = torch.randn(queue_size, projection_dim)
        self.key_encoder = copy.deepcopy(self.query_encoder).requires_grad_(False)
        self.encoder_momentum = encoder_momentum
        self.register_buffer("queue", F.normalize(noise, dim=1))

    @torch.no_grad()
    def update_key_encoder(self) -> None:
        """key = m * key + (1 - m) * query, for every weight."""
        torch._foreach_lerp_(*self._keys_and_queries, 1 - self.encoder_momentum)

    @cached_property
    def _keys_and_queries(self) -> tuple[list[Tensor], list[Tensor]]:
        """All weights of both, for every step: to look for them in the modules takes a millisecond.

        The parameters themselves, which stay the same where a model moves to another device.
        """
        return list(self.key_encoder.parameters()), list(self.query_encoder.parameters())

    @torch.no_grad()
    def enqueue(self, keys: Tensor, batches_before: int | Tensor) -> None:
        """Replace the oldest keys of the queue by one global batch; Q is a multiple of its rows."""
        places = batches_before * len(keys) + torch.arange(len(keys), device=keys.device)
        self.queue.index_copy_(0, places % len(self.queue), keys)
