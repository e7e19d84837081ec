"""The page of the paper's tables and figures, as a browser would read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from pipeline.paper.data import (
    Commands,
    Curve,
    CurveFigure,
    CyclesFigure,
    FeatureMap,
    LabelBar,
    LabelFigure,
    Panel,
    PaperData,
    PaperTable,
    PoolMap,
)
from pipeline.paper.page import cell_lines, picture_files, render_paper
from pipeline.report import figures
from tests.unit.report.reading import Element, Page, assert_loads_nothing

pytestmark = pytest.mark.slow

Undo = Callable[[], None]
TABLE = PaperTable(
    "Table 1: AUC",
    ("strategy", "Unif.", "59", "119"),
    (
        ("random", "no", "91.0 ± 1.4 [90.0, 92.0]; paper 93.2 ± 1.5", "-; paper -"),
        ("hard-to-contrast†", "no", "**95.0**", ""),
    ),
    ("† its scorer was trained on the test split's labels.",),
    "hacon benchmark --run r --budgets 59,119",
)
COMMANDS = Commands(**{each.name: f"hacon make-{each.name}" for each in fields(Commands)})
CURVE = CurveFigure("By <budget>", (Panel("AUC (%)", (Curve("random", (1, 2), (3, 4), (0, 0)),)),), "A note.")
CYCLES = CyclesFigure(
    "margin", CURVE.panels[0].curves, {"random": ((80.0, 90.0), (81.0, 91.0), (84.0, 93.0))}, 0.981, 0.0123, 3, 0.70
)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> Undo:
    """The page with empty figures, since drawing them is slow and tested beside; call it to have them drawn."""
    monkeypatch.setattr(figures, "png", lambda figure: b"")
    monkeypatch.setattr(figures, "svg", lambda figure: b"")
    return monkeypatch.undo


def whole() -> PaperData:
    """One of everything."""
    ids = np.arange(6)
    masks = {"hard": ids < 2, "easy": ids > 3}
    return PaperData(
        "blood28",
        "night-1",
        images=12345,
        classes=("a", "b"),
        trials=7,
        commands=COMMANDS,
        tables=(TABLE,),
        auc=(CURVE,),
        ablations=(CURVE,),
        coverage=(CURVE,),
        sweep=(CURVE,),
        labels=(LabelFigure(11, (LabelBar("the pool", (3, 3), "2/2"), LabelBar("random", (1, 0), "1/2"))),),
        cycle_tables=(PaperTable("First against last AUC", ("later", "r"), (("margin", "0.98"),)),),
        cycles=(CYCLES,),
        maps=(PoolMap("contrast", ids / 6, ids / 9, masks), PoolMap("truth", ids / 6, ids / 9, masks)),
        features=FeatureMap(np.c_[ids, ids].astype(np.float32), masks),
        budget=2,
        notes=("A note.",),
    )


def test_cells_hold_the_numbers_that_were_given() -> None:
    page = Page(render_paper(PaperData("t", "r", tables=(TABLE,))))
    cells = [cell for cell in page.elements if cell.tag in ("td", "th")]
    assert [cell.text for cell in cells[:4]] == ["strategy", "Unif.", "59", "119"]
    texts = [cell.text for cell in page.all("td")]
    assert texts == ["no", "91.0 ± 1.4[90.0, 92.0]paper 93.2 ± 1.5", "-paper -", "no", "95.0", ""]
    assert len([line for line in page.all("span") if line.inside[-1] == "td."]) == 8
    assert [element.text for element in page.all("b") if "li.tile" not in element.inside] == ["95.0"]
    assert [e.text for e in page.all("th") if e.attributes.get("scope") == "row"] == ["random", "hard-to-contrast†"]
    assert "† its scorer was trained on the test split's labels." in page.text
    assert page.all("pre")[0].text == TABLE.command


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("-", [[("-", False)]]),
        (
            "**95.0** ± 0.3 [94, 96]; paper 96",
            [[("95.0", True), (" ± 0.3", False)], [("[94, 96]", False)], [("paper 96", False)]],
        ),
    ],
)
def test_a_cell_is_cut_into_lines(text: str, lines: list[list[tuple[str, bool]]]) -> None:
    assert cell_lines(text) == lines


def test_is_whole_with_one_table_and_nothing_else() -> None:
    html = render_paper(PaperData("t", "r", tables=(TABLE,)))
    page = Page(html)
    assert_loads_nothing(html)
    assert [element.text for element in page.all("h2")] == ["Tables", "What is not here"]
    assert page.all("img") == [] and len(page.all("table")) == 1


def test_is_whole_with_nothing_at_all() -> None:
    html = render_paper(PaperData("t", "r"))
    assert_loads_nothing(html)
    assert "Nothing was measured in this run yet" in Page(html).text


def test_loads_nothing_from_elsewhere() -> None:
    assert_loads_nothing(render_paper(whole()))


def test_every_figure_and_table_comes_with_the_command_that_made_it() -> None:
    page = Page(render_paper(whole()))
    pictures = page.all("figure", "picture")
    made = [element.text for element in page.all("pre") if "figure.picture" in element.inside]
    assert len(pictures) == len(made) == 10
    kinds = ["benchmark", "ablations", "benchmark", "sweep", "benchmark", "cycles", "cycles", "maps", "truth", "maps"]
    assert made == [f"hacon make-{kind}" for kind in kinds]
    assert page.all("section")[-1].attributes["id"] == "run" and "hacon make-page" in page.all("section")[-1].text
    assert "What is not here" not in page.text
    assert all(element.attributes.get("alt") for element in page.all("img"))
    assert all(len(picture.text.split()) > 20 for picture in pictures)


def test_what_is_missing_is_named_with_the_command_that_makes_it() -> None:
    data = PaperData("t", "r", tables=(TABLE,), ablations=(CURVE,), commands=COMMANDS)
    page = Page(render_paper(data))
    missing = [element.text.strip() for element in page.all("dd")]
    assert missing == [f"hacon make-{kind}" for kind in ("benchmark", "sweep", "cycles", "maps", "truth")]
    assert [element.text.partition(",")[0] for element in page.all("dt")] == [
        "Label distributions",
        "Sweep of K",
        "Active-learning cycles",
        "Dataset map from contrast and map of the features",
        "Dataset map from ground truth",
    ]


def test_the_correlation_stands_beside_the_papers() -> None:
    page = Page(render_paper(whole()))
    captions = [e for e in page.all("figcaption") if "Pearson" in e.text]
    assert len(captions) == 1
    assert captions[0].text.startswith("Pearson's r = 0.98, p = 0.012, 3 different first queries; the paper: r = 0.70.")


def test_contents_lead_to_sections_that_are_there() -> None:
    page = Page(render_paper(whole()))
    sections = [element.attributes.get("id") for element in page.all("section")]
    links = [element.attributes["href"] for element in page.all("a")]
    assert links == [f"#{name}" for name in sections if name != "run"]


def test_escapes_names() -> None:
    table = PaperTable(
        "<b>title", ("<u>x",), (("<script>alert(1)</script>; **<em>bold**",),), ("<i>note",), "a <y> && b"
    )
    second = PaperTable("t", ("x", "y"), (("r", "<q>1; **<em>2**"),), minor=True)
    bars = (LabelBar("<s>", (1.0,), "<s>"),)
    data = PaperData(
        "<h6>t", "<h6>r", "<h6>s", tables=(table, second), auc=(CURVE,), notes=("<h6>n",),
        labels=(LabelFigure(1, bars),), classes=("<s>",), commands=Commands(page="<h6>"),
    )  # fmt: skip
    page = Page(render_paper(data))
    for tag in ("script", "u", "em", "i", "y", "q", "s", "h6", "budget"):
        assert page.all(tag) == []
    assert "By <budget>" in page.text and "<script>alert(1)</script>" in page.text and "a <y> && b" in page.text


def test_minor_tables_are_folded_up() -> None:
    minor = PaperTable("Accuracy", ("strategy", "59"), (("random", "50"),), minor=True)
    page = Page(render_paper(PaperData("t", "r", tables=(TABLE, minor))))

    def folded(table: Element) -> bool:
        return any(tag.startswith("details.") for tag in table.inside)

    assert [folded(table) for table in page.all("table")] == [False, True]


def test_every_picture_is_drawn_and_comes_out_the_same_again(undrawn: Undo) -> None:
    undrawn()
    html = render_paper(whole())
    sources = [element.attributes["src"] or "" for element in Page(html).all("img")]
    assert len(sources) == 10 and all(len(source) > 5000 for source in sources)
    assert render_paper(whole()) == html


def test_every_figure_is_also_a_file_of_three_kinds(undrawn: Undo) -> None:
    undrawn()
    data = PaperData("t", "r", auc=(CURVE, CURVE), ablations=(CURVE,))
    files = dict(picture_files(data))
    names = ("by-budget", "by-budget-2", "by-budget-3")
    assert list(files) == [f"{name}.{suffix}" for name in names for suffix in ("png", "svg", "pdf")]
    assert files["by-budget.png"].startswith(b"\x89PNG") and files["by-budget.pdf"].startswith(b"%PDF")
    assert b"<svg" in files["by-budget.svg"]
    assert dict(picture_files(data)) == files, "the same data gives the same bytes"
