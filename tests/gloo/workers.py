"""What one gloo worker runs: a module of its own, so that spawned processes can import it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.distributed as torch_dist

from pipeline import dist
from pipeline.config import PretrainConfig
from pipeline.context import LocalContext
from pipeline.data.sampler import Step
from pipeline.moco import model
from pipeline.moco.fast import worker_threads
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining, pretrain
from tests.tiny import TinyNet

CONFIG = PretrainConfig(
    epochs=2,
    repeats=2,
    batch_size=24,
    queue_size=48,
    bn_splits=6,
    warmup_epochs=1,
    projection_dim=16,
    learning_rate=0.3,
    encoder_momentum=0.9,
)
SIZE = 61


def pixels() -> ResidentPixels:
    images = np.random.default_rng(0).integers(0, 255, (SIZE, 12, 12, 3), dtype=np.uint8)
    return ResidentPixels.of_array(images, torch.device("cpu"))


def task() -> PretrainTask:
    return PretrainTask(CONFIG, SIZE, 3, seed=0, window=10**6)


def train(rank: int, world: int, folder: str) -> None:
    """Train as one of ``world`` gloo workers; every worker saves its checkpoint and its first gradient."""
    torch.set_num_threads(CONFIG.bn_splits // world if world > 1 else 1)  # a worker thread for each split, but alone
    model.BACKBONES["resnet18"], worker_threads.MANY_WEIGHTS = TinyNet, 1
    if world > 1:
        store = f"file://{folder}/rendezvous-{world}"
        torch_dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    first = first_gradient()
    context = LocalContext()
    pretrain(task(), pixels(), context)
    assert context.last is not None
    context.last.tensors.update(first)
    context.last.save(Path(folder) / f"{world}-{rank}.safetensors")
    if world > 1:
        torch_dist.destroy_process_group()


def agree(rank: int, world: int, folder: str) -> None:
    """Begin apart from the others and agree; then resume after another epoch, and say whether that was refused."""
    torch.set_num_threads(1)
    model.BACKBONES["resnet18"] = TinyNet
    torch_dist.init_process_group("gloo", init_method=f"file://{folder}/agree", rank=rank, world_size=world)
    training = Pretraining(task(), torch.device("cpu"))
    with torch.no_grad():
        for weight in training.model.parameters():
            weight += rank
    assert dist.everywhere(True, training.device)
    assert not dist.everywhere(rank == 0, training.device) and not dist.everywhere(False, training.device)
    training.agree()
    training.checkpoint().save(Path(folder) / f"agreed-{rank}.safetensors")
    training.history = [{}] * rank
    try:
        training.agree()
    except RuntimeError:
        (Path(folder) / f"refused-{rank}").touch()
    torch_dist.destroy_process_group()


def first_gradient() -> dict[str, torch.Tensor]:
    """The gradient and the loss of the very first step."""
    training = Pretraining(task(), torch.device("cpu"))
    # Neither momentum nor decay has a past yet: what the optimizer stores is the gradient.
    step: Step = next(training.sampler.epoch(0))
    for group in training.optimizer.param_groups:
        group["weight_decay"] = 0.0
    training.step(step, 0, pixels())
    gradients = training.optimizer.state_dict()["state"]
    return {f"first_gradient.{index}": state["momentum_buffer"] for index, state in gradients.items()}
