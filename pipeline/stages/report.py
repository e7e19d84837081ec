"""Results of all stages -> one page."""

from __future__ import annotations

import platform
from importlib.metadata import version
from shlex import quote

import numpy as np
import pyarrow as pa

from pipeline import __version__
from pipeline.artifacts import ORDER_SCHEMA, PoolManifest
from pipeline.config import RunConfig, to_dict
from pipeline.data.pool import PoolReader
from pipeline.evaluate.coverage import classes_covered, entropy_bits, random_baseline
from pipeline.on_ray.read_features import features_of_samples
from pipeline.plan import stages_of
from pipeline.publish import finished, stage_of
from pipeline.report.page import ClassStatistics, EmbeddingMap, PoolArrays, QueryRow, ReportData, render
from pipeline.report.projection import project_2d
from pipeline.results import Clustered, Compared, Embedded, Published, Queried, Reported, Trained
from pipeline.run import Run, next_command
from pipeline.select.pool_view import PoolView
from pipeline.select.premise import Premise
from pipeline.stages.query import pool_view
from pipeline.storage import Location

_VERSIONS = ("ray", "torch", "torchvision", "numpy", "scikit-learn", "pyarrow", "umap-learn")


def report(
    run: Run, pool: PoolManifest, trained: Trained | None, embedded: Embedded, clustered: Clustered, queried: Queried
) -> Reported:
    """Draw the page, or keep what is there. Ray is running.

    Args:
        trained: None: the run has no training.
        embedded: in the space in which images are compared.
    """
    stage = stage_of(run, Reported, {"query": queried.fingerprint}, reusable=False)

    def work(_: str) -> Reported:
        page = render(_report_data(run, pool, trained, embedded, clustered, queried))
        made = Reported(folder=stage.folder, bytes=len(page))
        run.store.write_bytes(made.page_file, page.encode())  # one object, where people look for it
        return made

    return stage.run(work, run.log)


def _report_data(
    run: Run, pool: PoolManifest, trained: Trained | None, embedded: Embedded, clustered: Clustered, queried: Queried
) -> ReportData:
    config, store = run.config, run.store
    results = (finished(store, run.folder(kind.stage), kind) for kind in stages_of(config) if kind is not Reported)
    stages: dict[str, Published] = {each.stage: each for each in results if each is not None}
    view = pool_view(store, trained, clustered, config.query.temperature)
    assert view.cluster is not None
    asked_for = ("rank", 1, config.query.budget)
    order = store.read_table(queried.order_file, between=asked_for).sort_by("rank")
    ids = np.asarray(order["sample_id"])
    reader = PoolReader(store, pool)
    return ReportData(
        title=pool.name,
        run=config.run,
        store=store.show(),
        order=queried.order,
        temperature=config.query.temperature,
        cluster_space=config.cluster.space,
        k=view.k,
        query=_query_rows(order),
        images=reader.images(ids[: config.report.contact_sheet]),
        pool=PoolArrays(view.sample_id, view.cluster, view.confidence, view.variability),
        command=f"hacon select --config {quote(store.show(f'runs/{config.run}/config.yaml'))} --run NEW",
        next_command=next_command(config, pool.size, clustered.k),
        embedding=embedding_map(config, store, view, ids, embedded),
        training=() if trained is None else store.read_json(trained.history_file),
        features=embedded.source,
        classes=_class_statistics(config, reader, pool, ids),
        contact_sheet=config.report.contact_sheet,
        settings=to_dict(config),
        versions={"hacon": __version__}
        | {name: version(name) for name in _VERSIONS}
        | {"python": platform.python_version()},
        seeds={"seed": config.seed},
        stage_seconds={name: result.seconds for name, result in stages.items()},
        fingerprints={"pool": pool.fingerprint} | {name: result.fingerprint for name, result in stages.items()},
        counts={"images": pool.size, "duplicates": pool.duplicates, "rejected": pool.rejected},
        notes=_notes(trained, embedded, clustered, queried),
    )


def _notes(trained: Trained | None, embedded: Embedded, clustered: Clustered, queried: Queried) -> list[str]:
    """Sentences on how the run came to its results."""
    notes = [] if trained is None else [*trained.notes]
    if embedded.encoder is not None and embedded.encoder.kind == "backbone":
        made = embedded.encoder
        notes.append(
            f"Features are of {made.name} at {made.side} pixels, frozen; licence of its weights: {made.licence}; "
            f"SHA-256 {made.weights}."
        )
    if isinstance(embedded, Compared):
        share = f"{100 * embedded.explained:.0f}%"
        notes.append(f"Images are compared by {embedded.dimensions} principal components, {share} of the variance.")
    notes.append(f"K-means ran on {clustered.backend}: {clustered.reason}.")
    if queried.premise is not None:
        notes.append(f"The premise of hard-to-contrast: {Premise(**queried.premise).words}.")
    if queried.reason:
        notes.append(f"query.order=auto took {queried.order}: {queried.reason}.")
    return notes


def _query_rows(order: pa.Table) -> list[QueryRow]:
    return [QueryRow(**{name: row[name] for name in ORDER_SCHEMA.names}) for row in order.to_pylist()]


def embedding_map(
    config: RunConfig, store: Location, view: PoolView, ids: np.ndarray, embedded: Embedded
) -> EmbeddingMap:
    """A 2-D map of the query (its ``ids``) and a random part of the pool, ``report.umap_points`` in all."""
    points = min(config.report.umap_points, len(view.sample_id))
    chosen = ids[:points]
    others = np.setdiff1d(view.sample_id, chosen, assume_unique=True)
    drawn = np.random.default_rng(config.seed).choice(others, points - len(chosen), replace=False)
    shown = np.sort(np.concatenate([chosen, drawn]))
    projected = project_2d(features_of_samples(store, embedded, shown), config.seed)
    assert view.cluster is not None
    return EmbeddingMap(projected.points, shown, view.cluster[shown], projected.method)


def _class_statistics(
    config: RunConfig, reader: PoolReader, pool: PoolManifest, ids: np.ndarray
) -> ClassStatistics | None:
    """For evaluation only. No earlier stage reads labels."""
    labels = reader.labels()
    if labels is None or pool.classes is None:
        return None
    picked, classes = labels[ids], len(pool.classes)
    chance = random_baseline(labels, len(ids), draws=config.report.random_draws, seed=config.seed, classes=classes)
    return ClassStatistics(
        classes=pool.classes,
        labels=picked,
        covered=classes_covered(picked, classes),
        entropy=entropy_bits(picked),
        random_covered_mean=chance.coverage_mean,
        random_covered_std=chance.coverage_std,
        random_entropy_mean=chance.entropy_mean,
        random_entropy_std=chance.entropy_std,
        draws=config.report.random_draws,
        pool_counts=np.bincount(labels[labels >= 0], minlength=classes),
    )
