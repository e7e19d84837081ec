"""One step of MoCo v2 with HaCon's confidence, to be read beside Section 2 of the paper (docs/method.md, section 2).

Training does not run this: ``moco.train`` runs the same step over several workers, threads and CUDA graphs. The tests
hold that one to this one. N = images of a batch, D = projection dimensions, Q = keys in the queue, T = temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.random_streams import stream_keys
from pipeline.data.sampler import Step
from pipeline.data.views import make_views, recipe_for
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.model import MoCo
from pipeline.moco.schedule import learning_rate
from pipeline.moco.task import PretrainTask


class PlainTraining:
    """Encoders, queue, optimizer and sums in one process. Batch norm sees N / ``bn_splits`` rows at a time."""

    def __init__(self, task: PretrainTask) -> None:
        config, self.task, self.batches = task.config, task, 0
        split_rows = config.batch_size // config.bn_splits
        self.model = MoCo(
            config.arch, config.projection_dim, config.queue_size, config.encoder_momentum, task.seed, split_rows
        )
        self.optimizer = torch.optim.SGD(
            self.model.query_encoder.parameters(), momentum=config.sgd_momentum, weight_decay=config.weight_decay
        )
        self.confidence = ConfidenceAccumulator(task.size, config.confidence_temperatures, config.repeats)

    def step(self, step: Step, epoch: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """One batch: images (N, C, H, W) uint8 of ``step.ids``. Returns the mean loss and the top-1 accuracy."""
        config, model, seed = self.task.config, self.model, self.task.seed
        ids, repeat, shuffle = (torch.from_numpy(each) for each in (step.ids, step.repeat, step.shuffle))

        # Two random views of every image.
        recipe = recipe_for(config.recipe, self.task.channels, config.blur)
        view_1, view_2 = (make_views(images, stream_keys(seed, epoch, repeat, ids, view), recipe) for view in (0, 1))

        # Keys: the momentum encoder, without a gradient. Shuffled, so that batch norm cannot tell a pair by its split.
        model.update_key_encoder()
        key = torch.empty(len(ids), config.projection_dim)  # (N, D)
        with torch.no_grad():
            key[shuffle] = model.key_encoder(view_2[shuffle])

        # InfoNCE: of its own key and the queue's, each query should find its own.
        query = model.query_encoder(view_1)  # (N, D)
        own, others = (query * key).sum(1, keepdim=True), query @ model.queue.T  # (N, 1), (N, Q)
        logits = torch.cat([own, others], 1) / config.loss_temperature
        loss = F.cross_entropy(logits, torch.zeros_like(ids))

        self.optimizer.param_groups[0]["lr"] = learning_rate(config, epoch, step.index, self.task.sampler.steps)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        model.enqueue(key, self.batches)
        self.batches += 1

        # HaCon: how surely each image is told from the others of the batch, kept for every image.
        self.confidence.add(ids, probability(query.detach(), key, ids, config.confidence_temperatures))
        return loss.detach(), (logits.argmax(1) == 0).double().mean()


def probability(query: Tensor, key: Tensor, ids: Tensor, temperatures: Sequence[float]) -> Tensor:
    """(N, T) probability of telling an image from the others (Eqs. 1 and 2), of projections (N, D) of both views.

    The temperature divides inside the exponential (docs/method.md, decision 1). Other draws of the same image are no
    negatives (section 4).
    """
    z, same = torch.cat([query, key]).double(), ids.repeat(2)[:, None] == ids.repeat(2)  # (2N, D), (2N, 2N)
    row = torch.arange(len(z))
    positive = row.roll(len(ids))  # of row i: the other view of its image
    same[row, positive] = False
    similarity = (z @ z.T).masked_fill(same, -torch.inf)
    by_view = [torch.softmax(similarity / tau, 1)[row, positive] for tau in temperatures]  # Eq. 1, (2N,) each
    return torch.stack([(each[: len(ids)] + each[len(ids) :]) / 2 for each in by_view], 1)  # Eq. 2
