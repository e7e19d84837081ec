"""pool -> features: by the encoder that the run trained, by a frozen network, or as they were given."""

from __future__ import annotations

import os

import numpy as np

from pipeline.artifacts import Encoder, PoolManifest
from pipeline.config import EmbedConfig
from pipeline.data.given import digest_of, given_features, is_given, place_of
from pipeline.data.pool import PoolReader
from pipeline.errors import InputError, did_you_mean
from pipeline.features import write_features
from pipeline.on_ray.write_features import embed_pool, rows_of_a_file
from pipeline.publish import stage_of
from pipeline.results import Embedded, Trained
from pipeline.run import Run

MOCO, IMAGENET, TIMM = "moco", "imagenet", "timm:"


def check_features(config: EmbedConfig) -> None:
    """Raise InputError for a source of features that cannot be. Called before anything is computed."""
    features = config.features
    if is_given(features):
        place_of(features)
    elif features not in (MOCO, IMAGENET) and not features.startswith(TIMM):
        hint = did_you_mean(features, (MOCO, IMAGENET), "give moco, imagenet, timm:NAME, or a .parquet, .npy or .npz.")
        raise InputError(f"There are no features '{features}'; {hint}")
    if config.weights is not None and not features.startswith(TIMM):
        raise InputError(f"--weights is for --features timm:NAME, not for '{features}'; leave it out.")
    if config.weights is not None and not os.path.isfile(config.weights):
        raise InputError(f"There is no file '{config.weights}'; check --weights.")


def embed(run: Run, pool: PoolManifest, trained: Trained | None) -> Embedded:
    """Make the pool's features, or keep what is there. Ray is running.

    Args:
        trained: the run's own encoder. None: another source of features is set.
    """
    settings = run.config.embed
    if is_given(settings.features):
        return _given(run, pool)
    encoder = encoder_of(run, pool, trained)
    stage = stage_of(
        run, Embedded, {"pool": pool.fingerprint, "weights": encoder.weights}, "start a new run with --run."
    )

    def work(files: str) -> Embedded:
        embed_pool(run, pool, encoder, files)
        return Embedded(size=pool.size, dimensions=encoder.dimensions, source=settings.features, encoder=encoder)

    return stage.run(work, run.log)


def encoder_of(run: Run, pool: PoolManifest, trained: Trained | None) -> Encoder:
    """The network that makes the features. A backbone's weights are copied to the store, for all nodes to read."""
    settings = run.config.embed
    if settings.features == MOCO:
        assert trained is not None, "features of moco need a training"
        return trained.encoder
    from pipeline.embed.backbone import load_backbone  # torch: only where it is used

    encoder, weights = load_backbone(
        settings.features, settings.weights, settings.download, max(pool.height, pool.width), settings.input_size
    )
    if not run.store.is_file(encoder.file):
        run.store.write_bytes(encoder.file, weights)  # named by its content, so others write the same
    run.log(f"features of {encoder.name}, at {encoder.side} pixels; licence of the weights: {encoder.licence}")
    return encoder


def _given(run: Run, pool: PoolManifest) -> Embedded:
    file, store = run.config.embed.features, run.store
    stage = stage_of(
        run, Embedded, {"pool": pool.fingerprint, "weights": digest_of(file)}, "start a new run with --run."
    )

    def work(files: str) -> Embedded:
        features = given_features(file, PoolReader(store, pool))
        rows = rows_of_a_file(run.config.embed.rows_per_file, *features.shape)
        for start in range(0, len(features), rows):
            part = features[start : start + rows]
            write_features(store, files, np.arange(start, start + len(part)), part)
        return Embedded(size=len(features), dimensions=features.shape[1], source=file)

    return stage.run(work, run.log)
