"""embeddings -> K clusters. The features arrive as a Ray Data stream; cuML gets a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from pipeline.artifacts import CLUSTER_SCHEMA, Clustering, by_sample_id
from pipeline.cluster import KMeansResult, choose_backend, default_k, kmeans, kmeans_stream
from pipeline.cluster.umap2d import umap2d
from pipeline.config import ClusterConfig, RunConfig, store_flag
from pipeline.errors import InputError
from pipeline.machine import free_memory
from pipeline.on_ray.embeddings import all_features, embeddings_stream, features_in_id_order
from pipeline.on_ray.failures import bad_input_as_itself
from pipeline.on_ray.session import gpus, only_this_machine, quieten
from pipeline.publish import Stage, run_folder
from pipeline.storage import Location

CLUSTERS, CENTROIDS = "clusters.parquet", "centroids.parquet"
HELD_BYTES = 4 << 30
"""Features up to this size are one array in memory; more pass as a stream, where the backend can take one."""
CHUNK_BYTES = 64 << 20
"""Of the stream that K-means reads at once: it holds two of them, and blocks that wait for a core."""


def clusters_for(config: RunConfig, size: int) -> int:
    """K: the setting; else 30 where the budget is 30 or more; else the budget.

    Raises:
        InputError: no way to know, or more clusters than images.
    """
    k = config.cluster.k
    if k is None:
        if config.query.budget < 1:
            raise InputError("The number of clusters follows from the budget; give --budget, or --set cluster.k=30.")
        k = default_k(config.query.budget)
    if not 1 <= k <= size:
        raise InputError(f"cluster.k is {k}, and the pool has {size} images; choose 1 to {size}.")
    return k


def check_backend(config: RunConfig) -> None:
    """Raise InputError where cuML is asked for and no GPU is in the cluster: called before hours of training."""
    if config.cluster.backend == "cuml" and not gpus():
        choose_backend("cuml")  # where cuML is missing on this machine too, that is the clearer word
        raise InputError("cluster.backend=cuml needs a GPU in the cluster, and it has none; use auto or sklearn.")


def cluster_stage(config: RunConfig, store: Location, embedded: dict[str, Any]) -> Stage:
    """The stage and what decides its result."""
    settings = config.cluster
    return Stage(
        store,
        run_folder(config.run, "clusters"),
        {
            "embeddings": embedded["fingerprint"],
            "seed": config.seed,
            "cluster.k": clusters_for(config, embedded["size"]),
            "cluster.backend": settings.backend,
            "cluster.space": settings.space,
            "cluster.n_init": settings.n_init,
            "cluster.max_iter": settings.max_iter,
            "cluster.sample_above": settings.sample_above,
        },
        f"start a new run that takes over what it can: --run NEW --from {config.run}{store_flag(config)}",
        reuse=None if config.reuse is None else run_folder(config.reuse, "clusters"),
    )


def run_cluster(
    config: RunConfig, store: Location, embedded: dict[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """Cluster, or keep what is there.

    Args:
        embedded: the result of embedding.
    """
    stage = cluster_stage(config, store, embedded)
    k = stage.settings["cluster.k"]

    def work(files: str) -> dict[str, Any]:
        arguments = (store, files, embedded, config.cluster, k, config.seed)
        if only_this_machine():
            done = _cluster(*arguments)
        else:
            # As a task, so that it runs where the GPU is, not where the job was submitted.
            on_gpu = gpus() > 0 and config.cluster.backend != "sklearn"
            task = ray.remote(num_cpus=0.5, num_gpus=1 if on_gpu else 0, max_retries=1)(_cluster)
            done = bad_input_as_itself(lambda: ray.get(task.remote(*arguments)))
        say(f"{k} clusters by {done['backend']}: {done['reason']}")
        return done

    return stage.run(work, say)


def read_clustering(store: Location, clustered: dict[str, Any]) -> Clustering:
    """What the cluster stage left, in id order."""
    table = by_sample_id(store.read_table(f"{clustered['files']}/{CLUSTERS}"))
    centroids = store.read_table(f"{clustered['files']}/{CENTROIDS}")["centroid"].to_pylist()
    return Clustering(
        sample_id=np.asarray(table["sample_id"]),
        cluster=np.asarray(table["cluster"]),
        distance=np.asarray(table["distance"]),
        centroids=np.asarray(centroids, np.float32),
        inertia=clustered["inertia"],
        backend=clustered["backend"],
        seed=clustered["seed"],
    )


def _cluster(
    store: Location,
    files: str,
    embedded: dict[str, Any],
    settings: ClusterConfig,
    k: int,
    seed: int,
) -> dict[str, Any]:
    quieten()
    found = _kmeans(store, embedded, settings, k, seed)
    columns = [np.arange(len(found.labels)), found.labels, found.distance]
    store.write_table(f"{files}/{CLUSTERS}", pa.table(columns, schema=CLUSTER_SCHEMA))
    store.write_table(f"{files}/{CENTROIDS}", pa.table({"centroid": list(found.centroids)}))
    return {"k": k, "inertia": found.inertia, "backend": found.backend, "reason": found.reason, "seed": seed}


def _kmeans(store: Location, embedded: dict[str, Any], settings: ClusterConfig, k: int, seed: int) -> KMeansResult:
    """Features in memory; large ones, where the backend takes a stream, chunk by chunk: with the same result."""
    why = None
    if settings.space == "features" and embedded["size"] > settings.sample_above:
        why = why_streamed(4 * embedded["size"] * embedded["dimensions"], settings.backend)
    if why is not None:
        rows = max(1, CHUNK_BYTES // (4 * embedded["dimensions"]))
        chunks = features_in_id_order(embeddings_stream(store, embedded), rows)
        return kmeans_stream(chunks, k, seed, why, n_init=settings.n_init, max_iter=settings.max_iter)
    features = all_features(store, embedded)
    if settings.space == "umap2d":
        features = umap2d(features, seed)
    return kmeans(
        features,
        k,
        seed,
        backend=settings.backend,
        n_init=settings.n_init,
        max_iter=settings.max_iter,
        sample_above=settings.sample_above,
    )


def why_streamed(need: int, backend: str) -> str | None:
    """Why so many bytes of features pass as a stream; None where they are held."""
    chosen, free = choose_backend(backend).backend, free_memory()
    if chosen == "sklearn" and need > HELD_BYTES:
        return f"{need / 2**30:,.1f} GiB of features come as a stream"
    if chosen == "cuml" and backend == "auto" and need > free / 2:
        # cuML's input may be larger than the GPU, but this machine has to hold it.
        return (
            f"cluster.backend=auto, and {need / 2**30:,.1f} GiB of features, which cuML would have held at once, are "
            f"more than half of the {free / 2**30:,.1f} GiB that are free"
        )
    return None
