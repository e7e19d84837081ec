"""The page of a later query: what came, what was handed out before, what came back, and whether the archive changed.

``NightData`` in, one HTML string out; as ``pipeline.report.page``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.artifacts import Uint8
from pipeline.report import words
from pipeline.report.page import environment
from pipeline.report.thumbnails import png_uri, thumbnail_size

SHOWN = 200
"""Most pictures."""


@dataclass(frozen=True)
class Issued:
    """An image that this query hands out."""

    rank: int
    key: str
    cluster: int
    since: int
    """The night in which it came; 1: it was there from the start."""
    replaces: str | None
    """Key of the lost image in whose place it was chosen."""


@dataclass(frozen=True)
class PastNight:
    """A line of the archive's history."""

    number: int
    at: str
    images: int
    """In the archive."""
    new: int
    query: int | None
    issued: int
    labelled: int
    open: int
    churn: float | None
    verdict: str | None


@dataclass(frozen=True)
class NightData:
    """Everything the page shows. ``images`` (n, H, W, C) are those of the first n ``issued``."""

    run: str
    number: int
    query: int
    issued: Sequence[Issued]
    images: Uint8
    totals: Mapping[str, int]
    counts: Mapping[str, int]
    held: int
    order: str
    churn: float | None
    verdict: Mapping[str, Any] | None
    shares: Sequence[tuple[int, float, float]]
    """(cluster, its share of the images that the clusters were made of, of those that came since)."""
    past: Sequence[PastNight]
    command: str
    """The next one."""


def render_night(data: NightData) -> str:
    """The whole page as HTML: no scripts and nothing loaded from elsewhere."""
    shown = list(data.issued)[: min(len(data.images), SHOWN)]
    size = thumbnail_size(max(1, len(shown)), *data.images.shape[1:])
    pictures = [
        (row, png_uri(image, size), words.short_name(row.key)) for row, image in zip(shown, data.images, strict=False)
    ]
    largest = max((max(first, since) for _, first, since in data.shares), default=1.0) or 1.0
    return (
        environment()
        .get_template("night.html.j2")
        .render(data=data, pictures=pictures, size=size, tiles=_tiles(data), largest=largest)
    )


def _tiles(data: NightData) -> list[tuple[str, str]]:
    totals = data.totals
    tiles = [
        (words.count(len(data.issued)), "images to label next"),
        (words.count(data.counts.get("new", 0) + data.counts.get("changed", 0)), "came since the last night"),
        (words.count(data.held), "in the archive"),
        (f"{words.count(totals['labelled'])} of {words.count(totals['handed_out'])}", "labelled, of all handed out"),
        (words.count(totals["open"]), "handed out, not yet labelled"),
    ]
    if data.churn is not None:
        tiles.append((words.percent(data.churn), "of what was planned next was displaced"))
    return tiles
