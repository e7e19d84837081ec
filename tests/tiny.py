"""An encoder small enough for tests: real convolutions and batch norm, a few thousand weights."""

from __future__ import annotations

from torch import Tensor, nn


class TinyNet(nn.Module):
    """Two convolutions with batch norm; ``fc`` where torchvision's ResNets have theirs."""

    def __init__(self, weights: None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.fc: nn.Module = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) -> (n, whatever fc gives)."""
        return self.fc(self.body(images))
