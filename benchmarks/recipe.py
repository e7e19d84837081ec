"""A preset's pre-training on one GPU, without Ray; what it leaves is small enough to be carried to a run.

    python -m benchmarks.recipe FILE.npz FOLDER --preset cifar10-lt [--set KEY=VALUE ...]
    python -m benchmarks.recipe --checkpoint FILE.safetensors FOLDER     # what `hacon pretrain` goes on from

For a machine that has a GPU and no Ray: the loop is the job's own. FOLDER gets the query encoder's weights, rounded to
float16, in files of 15 MiB at most, the confidence sums and the history. The second form makes the checkpoint of a
finished training from them; put it where the run keeps its own (runs/NAME/pretrain/checkpoint.safetensors, after
`hacon pretrain` was begun with the same preset and settings), and the job finishes the stage with it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.small_preset import load
from pipeline.artifacts import Uint8
from pipeline.checkpoint import Checkpoint
from pipeline.config import RunConfig, override
from pipeline.context import LocalContext
from pipeline.moco.fit import fit_to_pool
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import pretrain
from pipeline.presets import preset

_ENCODER = "model.query_encoder."
_PART_BYTES = 15 * 2**20


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("file", nargs="?")
    parse.add_argument("folder", type=Path)
    parse.add_argument("--preset", default="medmnist")
    parse.add_argument("--set", nargs="*", default=[])
    parse.add_argument("--checkpoint", metavar="FILE")
    given = parse.parse_args()
    if given.checkpoint:
        carried(given.folder).save(given.checkpoint)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    settings = dict(item.split("=", 1) for item in given.set)
    config = override(preset(given.preset), {**settings, "pretrain.checkpoint_every": 10**6})
    images, _ = load(given.file)
    trained = train(images, config, torch.device("cuda"))
    assert trained.last is not None
    keep(trained.last, given.folder)


def train(images: Uint8, config: RunConfig, device: torch.device) -> LocalContext:
    """The whole training; what it reported is in the context."""
    fitted, notes = fit_to_pool(config.pretrain, len(images), workers=1)
    task = PretrainTask(fitted, len(images), images.shape[-1], config.seed, window=len(images))
    context = LocalContext(device, voice=lambda text: print(text, flush=True))
    print(*notes, sep="\n")
    began = time.perf_counter()
    pretrain(task, ResidentPixels.of_array(images, device), context)
    print(
        f"{fitted.epochs} epochs of {task.sampler.steps * fitted.batch_size} pairs: {time.perf_counter() - began:.1f} s"
    )
    return context


def keep(final: Checkpoint, folder: Path) -> None:
    """Statistics of batch norm stay float32: they are few, and variances can be large."""
    weights = {
        name: tensor.to("cpu", torch.float16 if tensor.dim() > 1 else tensor.dtype).contiguous()
        for name, tensor in final.tensors.items()
        if name.startswith(_ENCODER)
    }
    parts: list[dict[str, Tensor]] = [{}]
    for name, tensor in weights.items():
        if sum(each.nbytes for each in parts[-1].values()) + tensor.nbytes > _PART_BYTES:
            parts.append({})
        parts[-1][name] = tensor
    for number, part in enumerate(parts):
        save_file(part, folder / f"weights-{number}.safetensors")
    sums = {name: tensor.cpu() for name, tensor in final.tensors.items() if name.startswith("confidence.")}
    save_file(sums, folder / "sums.safetensors")
    facts = {**final.facts, "queue": list(final.tensors["model.queue"].shape)}
    (folder / "history.json").write_text(json.dumps(facts))


def carried(folder: Path) -> Checkpoint:
    """A checkpoint at the end of a training: nothing later reads its key encoder, queue and momenta."""
    tensors = load_file(folder / "sums.safetensors")
    facts = json.loads((folder / "history.json").read_text())
    for file in sorted(folder.glob("weights-*.safetensors")):
        for name, tensor in load_file(file).items():
            full = tensor.float() if tensor.is_floating_point() else tensor
            tensors[name] = full
            tensors[name.replace("query_encoder", "key_encoder")] = full.clone()
    tensors["model.queue"] = torch.zeros(facts["queue"])
    return Checkpoint(tensors, facts)


if __name__ == "__main__":
    main()
