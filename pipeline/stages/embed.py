"""pool + weights -> features."""

from __future__ import annotations

from pipeline.artifacts import PoolManifest
from pipeline.on_ray.embedding import embed_pool
from pipeline.publish import stage_of
from pipeline.results import Embedded, Trained
from pipeline.run import Run


def embed(run: Run, pool: PoolManifest, trained: Trained) -> Embedded:
    """Embed the pool, or keep what is there. Ray is running."""
    inputs = {"pool": pool.fingerprint, "weights": trained.weights}
    stage = stage_of(run, Embedded, inputs, "start a new run with --run.")
    return stage.run(lambda files: embed_pool(run, pool, trained, files), run.log)
