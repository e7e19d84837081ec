"""The report page: what was chosen and why, for someone who has never heard of the method.

``ReportData`` in, one self-contained HTML string out; no storage, no Ray, no network, and the same
data gives the same page. Wording and numbers are made in ``words``, pictures in ``figures`` and
``thumbnails``, the layout in ``page.html.j2``.
N = images in the pool, B = the budget, K = clusters, M = points on the embedding map, C = classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64, Int64, Uint8
from pipeline.report import figures, words
from pipeline.report.thumbnails import ThumbnailSize, data_uri, png_uri, thumbnail_size

TABLE_ROWS = 1000
"""Rows of the query's table, at most; ``query.csv`` has them all."""
SVG_CLUSTERS = 60
"""With more clusters than this the bars are smaller as a PNG."""


@dataclass(frozen=True)
class QueryRow:
    """One row of ``query.csv``."""

    rank: int
    sample_id: int
    key: str
    cluster: int
    confidence: float
    variability: float


@dataclass(frozen=True)
class PoolArrays:
    """The whole pool, any row order. Shapes: all (N,). None: the run has no confidence."""

    sample_id: Int64
    cluster: NDArray[np.integer]
    confidence: Float64 | None
    variability: Float64 | None


@dataclass(frozen=True)
class EmbeddingMap:
    """Some of the pool in the plane, the query's images best among them.

    Shapes: points (M, 2); sample_id, cluster (M,). ``method`` is ``Projection.method``.
    """

    points: Float32
    sample_id: Int64
    cluster: NDArray[np.integer]
    method: str = "UMAP"


@dataclass(frozen=True)
class ClassStatistics:
    """The query against the labels. Evaluation only: nothing of this may have reached the selection.

    ``labels`` (B,) are the query's class numbers in its order, negative where unknown. ``covered`` is the share of
    classes with at least one image, ``entropy`` that of the class distribution in bits. The random figures are mean and
    standard deviation over ``draws`` random queries of the same size. ``pool_counts`` (C,) are each class's images
    in the pool.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.integer]
    covered: float
    entropy: float
    random_covered_mean: float
    random_covered_std: float
    random_entropy_mean: float
    random_entropy_std: float
    draws: int = 1000
    pool_counts: Int64 | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows.

    ``images`` are the first n of ``query`` in its order, 1 <= n <= B: (n, H, W, C) uint8 with C 1 or 3. The contact
    sheet shows at most ``contact_sheet`` of them. ``order``, ``temperature``, ``k`` and ``cluster_space`` are what was
    run, not what was asked for. ``training`` has one mapping an epoch: epoch, loss, learning_rate, seconds and, where
    it was recorded, accuracy (0 to 1) of the instance-discrimination task. ``stage_seconds`` are in the run's order.
    ``features`` is ``Embedded.source``.
    """

    title: str
    run: str
    store: str
    order: str
    temperature: float
    k: int
    query: Sequence[QueryRow]
    images: Uint8
    pool: PoolArrays
    command: str
    next_command: str
    cluster_space: str = "features"
    features: str = "moco"
    embedding: EmbeddingMap | None = None
    training: Sequence[Mapping[str, float]] = ()
    classes: ClassStatistics | None = None
    contact_sheet: int = 200
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.query:
            raise ValueError("a report needs a query of at least one image")
        if len(self.images) > len(self.query):
            raise ValueError(f"{len(self.images)} images were given for a query of {len(self.query)}")
        columns = (self.pool.sample_id, self.pool.cluster, self.pool.confidence, self.pool.variability)
        _check_lengths("pool", *(column for column in columns if column is not None))
        missing = ~np.isin([row.sample_id for row in self.query], self.pool.sample_id)
        if missing.any():
            raise ValueError(f"{int(missing.sum())} of the query's {len(self.query)} images are not in the pool")
        if self.embedding is not None:
            _check_lengths("embedding", self.embedding.points, self.embedding.sample_id, self.embedding.cluster)
        if self.classes is not None and len(self.classes.labels) != len(self.query):
            raise ValueError(f"{len(self.classes.labels)} labels were given for a query of {len(self.query)}")

    def is_selected(self, sample_id: Int64) -> NDArray[np.bool_]:
        """Which of these ids the query holds; same shape."""
        return np.isin(sample_id, [row.sample_id for row in self.query])


@dataclass(frozen=True)
class Thumbnail:
    """One picture of the contact sheet."""

    row: QueryRow
    uri: str
    name: str
    alt: str


@dataclass(frozen=True)
class ClusterCard:
    """One cluster of the contact sheet: its size in the pool, its picks in all, the pictures shown."""

    cluster: int
    size: int
    picks: int
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Picture:
    """One figure with its words. ``read`` says how to read it."""

    title: str
    uri: str
    alt: str
    read: str


def render(data: ReportData) -> str:
    """The whole page as HTML: no scripts and nothing loaded from elsewhere."""
    size = thumbnail_size(min(len(data.images), data.contact_sheet), *data.images.shape[1:])
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            data=data,
            headline=words.headline(len(data.query)),
            lede=words.lede(len(data.query), len(data.pool.sample_id), data.k, data.order),
            why=words.why(
                data.order,
                None if data.pool.confidence is None else data.temperature,
                data.k,
                len(data.query),
                data.features,
            ),
            tiles=_tiles(data),
            gauges=_gauges(data.classes),
            class_rows=_class_rows(data.classes),
            size=size,
            cards=contact_sheet(data, size),
            shown=min(len(data.images), data.contact_sheet),
            pictures=_pictures(data),
            table=list(data.query[:TABLE_ROWS]),
            settings=words.settings_groups(data.settings),
        )
    )


def environment(*rooms: str) -> jinja2.Environment:
    """The templates of ``rooms`` and of this one, with words as filters. What is filled in is escaped."""
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("pipeline", room) for room in (*rooms, "report")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        number=words.number, count=words.count, duration=words.duration, percent=words.percent, value=words.value
    )
    return templates


def contact_sheet(data: ReportData, size: ThumbnailSize) -> list[ClusterCard]:
    """The first images of the query in cards by cluster: cards by their first pick, pictures in query order."""
    thumbnails: dict[int, list[Thumbnail]] = {}
    # Two lengths on purpose: the caller may have read the pictures of the first few only.
    for row, image in zip(data.query[: data.contact_sheet], data.images, strict=False):
        alt = f"Rank {row.rank}, {row.key}, cluster {row.cluster}"
        if data.pool.confidence is not None:
            alt += f", confidence {words.number(row.confidence)}"
        picture = Thumbnail(row, png_uri(image, size), words.short_name(row.key), alt)
        thumbnails.setdefault(row.cluster, []).append(picture)
    return [
        ClusterCard(
            cluster,
            size=int(np.sum(data.pool.cluster == cluster)),
            picks=sum(row.cluster == cluster for row in data.query),
            thumbnails=tuple(pictures),
        )
        for cluster, pictures in thumbnails.items()
    ]


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Key numbers as (value, name, remark)."""
    budget, total = len(data.query), len(data.pool.sample_id)
    touched = len({row.cluster for row in data.query})
    chosen = "image to label" if budget == 1 else "images to label"
    tiles = [
        (words.count(budget), chosen, f"{words.percent(budget / total)} of the pool"),
        (words.count(total), "images in the pool", words.pool_remark(data.counts)),
        (words.count(data.k), "cluster" if data.k == 1 else "clusters", f"{words.count(touched)} of them in the query"),
    ]
    confidence = data.pool.confidence
    known = np.empty(0) if confidence is None else confidence[np.isfinite(confidence)]
    if len(known):
        of_query = [row.confidence for row in data.query if np.isfinite(row.confidence)]
        middle = words.number(float(np.median(of_query)) if of_query else np.nan)
        tiles.append((middle, "median confidence", f"of the pool: {words.number(float(np.median(known)))}"))
    if data.stage_seconds:
        tiles.append((words.duration(math.fsum(data.stage_seconds.values())), "computing time", "all stages together"))
    return tiles


def _gauges(classes: ClassStatistics | None) -> list[words.Gauge]:
    if classes is None:
        return []
    total = len(classes.classes)
    return [
        words.coverage_gauge(classes.covered, total, classes.random_covered_mean, classes.random_covered_std),
        words.entropy_gauge(classes.entropy, total, classes.random_entropy_mean, classes.random_entropy_std),
    ]


def _class_rows(classes: ClassStatistics | None) -> list[tuple[str, int, float, int | None]]:
    """One row a class: its name, its picks, the bar's length (0 to 1), its images in the pool."""
    if classes is None:
        return []
    picks = np.bincount(classes.labels[classes.labels >= 0], minlength=len(classes.classes))
    pool = classes.pool_counts
    most = max(1, int(picks.max(initial=1)))
    return [
        (name, int(picks[number]), float(picks[number]) / most, None if pool is None else int(pool[number]))
        for number, name in enumerate(classes.classes)
    ]


def _pictures(data: ReportData) -> list[Picture]:
    pictures = []
    if data.pool.confidence is not None and data.pool.variability is not None:
        pictures.append(_dataset_map(data, data.pool.confidence, data.pool.variability))
    if data.embedding is not None:
        pictures.append(_embedding_map(data, data.embedding))
    pictures.append(_cluster_bars(data))
    if data.training:
        pictures.append(_training_curve(data.training))
    return pictures


def _dataset_map(data: ReportData, confidence: Float64, variability: Float64) -> Picture:
    pool = data.pool
    figure = figures.dataset_map(confidence, variability, data.is_selected(pool.sample_id))
    return Picture(
        "Dataset map",
        data_uri("image/png", figures.png(figure)),
        f"Density of {words.count(len(pool.sample_id))} images over variability and confidence, with the query marked.",
        words.read_dataset_map(len(data.training)),
    )


def _embedding_map(data: ReportData, embedding: EmbeddingMap) -> Picture:
    selected = data.is_selected(embedding.sample_id)
    figure = figures.embedding_map(embedding.points, embedding.cluster, selected)
    shown, total = len(embedding.points), len(data.pool.sample_id)
    return Picture(
        "Map of the features",
        data_uri("image/png", figures.png(figure)),
        f"{words.count(shown)} images in the plane, coloured by cluster, with the query marked.",
        words.read_embedding_map(
            embedding.method, shown, total, int(selected.sum()), len(data.query), data.cluster_space
        ),
    )


def _cluster_bars(data: ReportData) -> Picture:
    length = max(data.k, int(data.pool.cluster.max()) + 1)
    sizes = np.bincount(data.pool.cluster, minlength=length)
    picks = np.bincount([row.cluster for row in data.query], minlength=length)
    figure = figures.cluster_bars(sizes, picks)
    small = length <= SVG_CLUSTERS
    uri = data_uri("image/svg+xml", figures.svg(figure)) if small else data_uri("image/png", figures.png(figure))
    alt = f"Bars of the sizes of {length} clusters, and of the picks from each."
    return Picture("Cluster sizes and picks", uri, alt, words.read_clusters(data.order))


def _training_curve(training: Sequence[Mapping[str, float]]) -> Picture:
    recorded = all("accuracy" in epoch for epoch in training)
    figure = figures.training_curve(
        [epoch["epoch"] for epoch in training],
        [epoch["loss"] for epoch in training],
        [epoch["learning_rate"] for epoch in training],
        [epoch["accuracy"] for epoch in training] if recorded else None,
    )
    uri = data_uri("image/svg+xml", figures.svg(figure))
    alt = f"Loss and learning rate over {len(training)} epochs."
    return Picture("Training", uri, alt, words.read_training(training))


def _check_lengths(name: str, *arrays: NDArray[Any]) -> None:
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"the {name}'s arrays differ in length: {lengths}")
