"""pool + weights -> embeddings: Ray Data, Parquet to Parquet, through a pool of actors."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import ray.data

from pipeline.artifacts import PoolManifest, embedding_schema, images_of
from pipeline.config import RunConfig
from pipeline.machine import cores
from pipeline.on_ray.plan import WEIGHTS
from pipeline.on_ray.session import gpus
from pipeline.stages import Stage, run_folder
from pipeline.storage import Location


def run_embed(
    config: RunConfig, store: Location, pool: PoolManifest, trained: dict[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """Embed the pool, or keep what is there.

    Args:
        trained: the result of pre-training.
    """
    stage = Stage(
        store,
        run_folder(config.run, "embeddings"),
        {"pool": pool.fingerprint, "weights": trained["weights"]},
        "start a new run with --run.",
        reuse=None if config.reuse is None else run_folder(config.reuse, "embeddings"),
    )
    return stage.run(lambda: _embed(config, store, pool, trained, stage.folder, say), say)


def _embed(
    config: RunConfig,
    store: Location,
    pool: PoolManifest,
    trained: dict[str, Any],
    folder: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    files = f"{folder}/parts-{uuid.uuid4().hex[:8]}"  # this attempt's own: another job may be at the same stage
    store.make_folder(files)
    workers = min(config.workers, gpus()) or 1
    say(f"embed {pool.size} images on {f'{workers} GPU(s)' if gpus() else 'the CPU'}")
    source = ray.data.read_parquet(store.path(f"{pool.folder}/train"), filesystem=store.filesystem)
    images = source.select_columns(["sample_id", "image"])
    images.map_batches(
        _EmbedImages,
        fn_constructor_args=(
            store,
            f"{trained['folder']}/{WEIGHTS}",
            trained["arch"],
            (pool.height, pool.width, pool.channels),
        ),
        batch_size=config.embed.batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        # Without a GPU the actors ask for what readers ask for, so that Ray Data lets them read for themselves.
        **({"num_gpus": 1} if gpus() else {}),
    ).write_parquet(store.path(files), filesystem=store.filesystem, min_rows_per_file=config.embed.rows_per_file)
    return {"files": files, "size": pool.size, "dimensions": trained["dimensions"]}


class _EmbedImages:
    """One actor: loads the weights once, from the store, and maps batches."""

    def __init__(self, store: Location, weights: str, arch: str, shape: tuple[int, int, int]) -> None:
        # Here, since only these actors need torch, and not the driver or those who read and write.
        import torch
        from safetensors.torch import load

        from pipeline.embed import Embedder

        if not torch.cuda.is_available():
            torch.set_num_threads(cores())
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._embedder = Embedder(load(store.read_bytes(weights)), arch, device)
        self._shape = shape

    def __call__(self, batch: pa.Table) -> pa.Table:
        features = self._embedder(images_of(batch["image"], *self._shape))
        schema = embedding_schema(self._embedder.dimensions)
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), self._embedder.dimensions)
        return pa.table([batch["sample_id"], column], schema=schema)
