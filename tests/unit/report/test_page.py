"""The report's page as a browser would read it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipeline.report import figures
from pipeline.report.page import ClassStatistics, PoolArrays, QueryRow, ReportData, render
from tests.unit.report.reading import Page, assert_loads_nothing

pytestmark = pytest.mark.slow

Make = Callable[..., ReportData]
Undo = Callable[[], None]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> Undo:
    """The page with empty figures, since drawing them is slow and tested beside; call it to have them drawn."""
    monkeypatch.setattr(figures, "png", lambda figure: b"")
    monkeypatch.setattr(figures, "svg", lambda figure: b"")
    return monkeypatch.undo


def grey_level(uri: str | None) -> int:
    """The one value that fills a thumbnail."""
    assert uri is not None and uri.startswith("data:image/png;base64,")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert pixels.min() == pixels.max()
    return int(pixels.max())


def test_holds_exactly_the_query_in_order_within_clusters(make_report: Make) -> None:
    data = make_report()
    page = Page(render(data))
    ranks = [int(element.text) for element in page.all("span", "rank")]
    # 7 picks dealt over 3 clusters in turn.
    assert ranks == [1, 4, 7, 2, 5, 3, 6]
    thumbs = [element for element in page.all("img") if "figure.thumb" in element.inside]
    assert [grey_level(element.attributes["src"]) for element in thumbs] == [30 - 3 * (rank - 1) for rank in ranks]
    assert [element.attributes["title"] for element in page.all("figure", "thumb")] == [
        data.query[rank - 1].key for rank in ranks
    ]
    headings = [" ".join(element.text.split()) for element in page.all("h3") if "section.cluster" in element.inside]
    # Ids 0 .. 39 in threes, 13 whole threes and one id left: clusters of 4 threes and that one, 5 threes, 4 threes.
    assert headings == ["Cluster 03 of 13", "Cluster 12 of 15", "Cluster 22 of 12"]


def test_the_sheet_is_cut_and_says_so(make_report: Make) -> None:
    page = Page(render(make_report(contact_sheet=4)))
    assert [int(element.text) for element in page.all("span", "rank")] == [1, 4, 2, 3]
    assert "The first 4 of 7 are shown" in page.text
    # The cards still count all picks, and the list still has all rows.
    assert "3 of 13" in page.text
    assert len([row for row in page.all("tr") if "table.rows" in row.inside]) == 1 + 7


def test_loads_nothing_from_elsewhere(make_report: Make, classes: ClassStatistics) -> None:
    assert_loads_nothing(render(make_report(classes=classes, settings={"seed": 1, "cluster": {"k": None}})))


def test_escapes_what_users_wrote(make_report: Make, classes: ClassStatistics) -> None:
    key = "a\"b'/<script>alert(1)</script>&amp;.png"
    data = make_report(budget=1, title="<b>title", run="<i>run", notes=["<u>note"], command="x <y> && z")
    data = replace(data, query=[replace(data.query[0], key=key)])
    labels = replace(classes, classes=("<em>", "b & c", "d", "e"), labels=np.array([0]))
    html = render(replace(data, classes=labels, settings={"store": "<s>", "ingest": {"source": "<q>"}}))
    page = Page(html)
    for tag in ("script", "i", "u", "em", "s", "q", "y"):
        assert [e for e in page.all(tag) if "div.track" not in e.inside] == []
    assert page.all("figure", "thumb")[0].attributes["title"] == key
    assert f"Rank 1, {key}, cluster 0" in (page.all("img")[0].attributes["alt"] or "")
    cells = [element.text for element in page.all("td")]
    assert key in cells and "<s>" in cells and "<q>" in cells
    assert "x <y> && z" in [element.text for element in page.all("pre")]
    assert "<u>note" in page.text


def test_numbers_are_written_for_people(make_report: Make) -> None:
    data = make_report(stage_seconds={"pretrain": 3725.0, "embed": 0.44}, counts={"images": 1234567, "duplicates": 2})
    page = Page(render(data))
    tiles = [" ".join(element.text.split()) for element in page.all("li", "tile")]
    # Confidence is id / 100: the query's ids 30, 27 .. 12 have median 21, the pool's 0 .. 39 have 19.5.
    assert tiles == [
        "7images to label18% of the pool",
        "40images in the poolwithout 2 duplicates",
        "3clusters3 of them in the query",
        "0.210median confidenceof the pool: 0.195",
        "1 h 2 mincomputing timeall stages together",
    ]
    assert "1,234,567" in [element.text for element in page.all("td")]
    assert "0.4 s" in [element.text for element in page.all("td")]


def test_without_labels_says_nothing_about_classes(make_report: Make) -> None:
    page = Page(render(make_report()))
    assert "Evaluation only" not in page.text
    assert page.all("section", "evaluation") == [] and page.all("table", "classes") == []


def test_with_labels_sets_the_query_beside_random(make_report: Make, classes: ClassStatistics) -> None:
    page = Page(render(make_report(classes=replace(classes, pool_counts=np.array([1000, 5, 10, 25])))))
    box = " ".join(page.all("section", "evaluation")[0].text.split())
    assert "Evaluation only: labels were not used for selection." in box
    assert "1,000 random queries" in box
    assert "2 of 4 classes covered 50%; random: 75% ± 10; below random's spread" in box
    assert "0.99 bits class entropy at most 2.00; random: 1.50 ± 0.25; below random's spread" in box
    styles = [element.attributes["style"] for element in page.all("i") if "div.track" in element.inside]
    assert styles == ["left:65.0%;right:15.0%", "left:50.0%", "left:62.5%;right:12.5%", "left:49.3%"]
    rows = [" ".join(e.text.split()) for e in page.all("tr") if "table.classes" in e.inside]
    assert rows == ["ClassIn the poolIn the query", "a1,0003", "b & c50", "d104", "e250"]


def test_unknown_labels_are_not_counted(make_report: Make, classes: ClassStatistics) -> None:
    labels = np.array([-1, -1, 2, 2, -1, 2, 0])
    page = Page(render(make_report(classes=replace(classes, labels=labels))))
    rows = [" ".join(e.text.split()) for e in page.all("tr") if "table.classes" in e.inside]
    assert rows[1:] == ["a1", "b & c0", "d3", "e0"]


@pytest.mark.parametrize("order", ["easy-to-contrast", "ambiguous", "closest-to-centroid", "random", "my-own"])
def test_other_orders_are_not_sold_as_the_default(make_report: Make, order: str) -> None:
    text = Page(render(make_report(order=order))).text
    assert "found hardest to tell apart" not in text
    assert "7 images out of 40, chosen without a single label" in text


def test_budget_of_one_and_one_cluster(make_report: Make) -> None:
    data = make_report(budget=1, k=1)
    page = Page(render(replace(data, pool=replace(data.pool, cluster=np.zeros(40, np.int64)))))
    assert page.all("h1")[0].text == "Label this image first"
    assert len(page.all("figure", "thumb")) == 1
    assert "1 clusters" not in page.text


def test_grey_images_and_nothing_optional(make_report: Make) -> None:
    page = Page(render(make_report(channels=1, embedding=None, training=())))
    titles = [element.text for element in page.all("h3") if "figure.picture" in element.inside]
    assert titles == ["Dataset map", "Cluster sizes and picks"]
    assert len(page.all("figure", "thumb")) == 7


def test_small_images_are_enlarged_by_whole_pixels(make_report: Make) -> None:
    page = Page(render(make_report(side=28)))
    assert "pixelated" in (page.all("div", "sheet")[0].attributes["class"] or "")
    assert page.all("figure", "thumb") and page.all("img")[0].attributes["width"] == "84"
    assert page.all("div", "pixelated") and not Page(render(make_report(side=64))).all("div", "pixelated")


def test_maps_mark_the_query_by_id(make_report: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Figure] = {}

    def keep(name: str, draw: Callable[..., Figure]) -> Callable[..., Figure]:
        return lambda *arrays: drawn.setdefault(name, draw(*arrays))

    for name in ("dataset_map", "embedding_map", "cluster_bars"):
        monkeypatch.setattr(figures, name, keep(name, getattr(figures, name)))
    render(make_report())
    marks = {
        name: np.vstack([c.get_offsets() for c in drawn[name].axes[0].collections if c.get_gid() == "query"])
        for name in ("dataset_map", "embedding_map")
    }
    ids = np.array([12, 15, 18, 21, 24, 27, 30])
    expected = np.c_[0.2 - ids / 250, ids / 100]
    np.testing.assert_allclose(sorted(marks["dataset_map"].tolist()), sorted(expected.tolist()))
    assert sorted(marks["embedding_map"].tolist()) == np.c_[ids, -ids].tolist()
    above, below = drawn["cluster_bars"].axes
    # Clusters 1, 0 and 2, the largest first.
    assert [bar.get_height() for bar in above.patches] == [15, 13, 12]
    assert [bar.get_height() for bar in below.patches] == [2, 3, 2]


def test_every_picture_is_drawn_has_words_and_comes_out_the_same_again(make_report: Make, undrawn: Undo) -> None:
    undrawn()
    html = render(make_report())
    page = Page(html)
    assert all(element.attributes.get("alt") for element in page.all("img"))
    pictures = page.all("figure", "picture")
    assert len(pictures) == 4 and all(len(element.text.split()) > 20 for element in pictures)
    sources = [element.attributes["src"] or "" for element in page.all("img") if "figure.picture" in element.inside]
    starts = [base64.b64decode(source.partition(",")[2])[:5] for source in sources]
    assert starts == [b"\x89PNG\r", b"\x89PNG\r", b"<?xml", b"<?xml"]
    assert render(make_report()) == html


def test_two_hundred_noisy_images_stay_under_four_megabytes() -> None:
    # Noise does not compress: nothing real is larger.
    rng = np.random.default_rng(0)
    n = 200
    query = [QueryRow(i + 1, i, str(i), i % 30, 0.5, 0.1) for i in range(n)]
    pool = PoolArrays(np.arange(n), np.arange(n) % 30, rng.random(n), rng.random(n))
    images = rng.integers(0, 256, (n, 64, 64, 3), np.uint8)
    html = render(ReportData("t", "r", "s", "random", 0.05, 30, query, images, pool, "c", "n"))
    assert html.count('class="thumb"') == n
    assert len(html) < 4_000_000


def test_refuses_what_does_not_fit(make_report: Make, classes: ClassStatistics) -> None:
    data = make_report()
    with pytest.raises(ValueError, match="8 images were given for a query of 7"):
        replace(data, images=np.zeros((8, 2, 2, 1), np.uint8))
    with pytest.raises(ValueError, match=r"pool's arrays differ in length: \[40, 39, 40, 40\]"):
        replace(data, pool=replace(data.pool, cluster=data.pool.cluster[1:]))
    with pytest.raises(ValueError, match="1 of the query's 7 images are not in the pool"):
        replace(data, query=[*data.query[:-1], replace(data.query[-1], sample_id=1000)])
    with pytest.raises(ValueError, match="2 labels were given for a query of 7"):
        replace(data, classes=replace(classes, labels=np.array([0, 1])))
    with pytest.raises(ValueError, match="at least one image"):
        replace(data, query=[], images=data.images[:0])
