"""features -> K clusters. Features arrive as a Ray Data stream. cuML gets a GPU if there is one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.artifacts import CLUSTER_SCHEMA, Clustering, by_sample_id
from pipeline.cluster import KMeansResult, choose_backend, default_k, kmeans, kmeans_stream
from pipeline.cluster.umap2d import umap2d
from pipeline.config import ClusterConfig, RunConfig
from pipeline.errors import InputError
from pipeline.machine import free_memory
from pipeline.on_ray.read_features import (
    CHUNK_BYTES,
    HELD_BYTES,
    all_features,
    embeddings_stream,
    features_in_id_order,
)
from pipeline.on_ray.session import gpus
from pipeline.on_ray.tasks import where_the_gpu_is
from pipeline.progress import counted, watched
from pipeline.publish import Stage, stage_of
from pipeline.results import Clustered, Embedded
from pipeline.run import Run
from pipeline.storage import Location


def clusters_for(config: RunConfig, size: int) -> int:
    """K: the setting; else 30 where the budget is 30 or more; else the budget.

    Raises:
        InputError: neither K nor a budget is given, or K is above the number of images.
    """
    k = config.cluster.k
    if k is None:
        if config.query.budget < 1:
            raise InputError("The number of clusters follows from the budget; give --budget, or --set cluster.k=30.")
        k = default_k(config.query.budget)
    if not 1 <= k <= size:
        raise InputError(f"cluster.k is {k}, and the pool has {counted(size, 'image')}; choose 1 to {size}.")
    return k


def check_backend(run: Run) -> None:
    """Raise InputError if cuML is asked for and the cluster has no GPU. Called before hours of training."""
    if run.config.cluster.backend == "cuml" and not gpus():
        choose_backend("cuml")  # if cuML is missing too, its error is clearer
        raise InputError("cluster.backend=cuml needs a GPU in the cluster, and it has none; use auto or sklearn.")


def cluster(run: Run, embedded: Embedded) -> Clustered:
    """Cluster, or keep what is there. Ray is running."""
    stage = cluster_stage(run, embedded)
    k, config = stage.settings["cluster.k"], run.config

    def work(files: str) -> Clustered:
        on_gpu = gpus() > 0 and config.cluster.backend != "sklearn"
        arguments = (run.store, embedded, config.cluster, k, config.seed, files)
        with watched("K-means", run.log):
            done = where_the_gpu_is(_cluster, *arguments, gpu=on_gpu)
        run.log(f"{counted(k, 'cluster')} by {done.backend}: {done.reason}")
        return done

    return stage.run(work, run.log)


def cluster_stage(run: Run, embedded: Embedded) -> Stage[Clustered]:
    """The stage and what decides its result."""
    k = clusters_for(run.config, embedded.size)
    return stage_of(run, Clustered, {"embeddings": embedded.fingerprint, "cluster.k": k})


def read_clustering(store: Location, clustered: Clustered) -> Clustering:
    """The result of the cluster stage, in id order."""
    table = by_sample_id(store.read_table(clustered.clusters_file))
    centroids = store.read_table(clustered.centroids_file)["centroid"].to_pylist()
    return Clustering(
        sample_id=np.asarray(table["sample_id"]),
        cluster=np.asarray(table["cluster"]),
        distance=np.asarray(table["distance"]),
        centroids=np.asarray(centroids, np.float32),
        inertia=clustered.inertia,
        backend=clustered.backend,
        seed=clustered.seed,
    )


def _cluster(store: Location, embedded: Embedded, settings: ClusterConfig, k: int, seed: int, files: str) -> Clustered:
    found = _kmeans(store, embedded, settings, k, seed)
    made = Clustered(files=files, k=k, inertia=found.inertia, backend=found.backend, reason=found.reason, seed=seed)
    columns = [np.arange(len(found.labels)), found.labels, found.distance]
    store.write_table(made.clusters_file, pa.table(columns, schema=CLUSTER_SCHEMA))
    store.write_table(made.centroids_file, pa.table({"centroid": list(found.centroids)}))
    return made


def _kmeans(store: Location, embedded: Embedded, settings: ClusterConfig, k: int, seed: int) -> KMeansResult:
    """K-means in memory, or chunk by chunk if the features are large and the backend can. The result is the same."""
    why = None
    if settings.space == "features" and embedded.size > settings.sample_above:
        why = why_streamed(4 * embedded.size * embedded.dimensions, settings.backend)
    if why is not None:
        rows = max(1, CHUNK_BYTES // (4 * embedded.dimensions))
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
    """Why ``need`` bytes of features are streamed, in words. None: they are held in memory."""
    chosen, free = choose_backend(backend).backend, free_memory()
    if chosen == "sklearn" and need > HELD_BYTES:
        return f"{need / 2**30:,.1f} GiB of features come as a stream"
    if chosen == "cuml" and backend == "auto" and need > free / 2:
        # cuML's input may exceed the GPU's memory, but it must fit in this machine's.
        return (
            f"cluster.backend=auto, and {need / 2**30:,.1f} GiB of features, which cuML would have held at once, are "
            f"more than half of the {free / 2**30:,.1f} GiB that are free"
        )
    return None
