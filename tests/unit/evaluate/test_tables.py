"""Tables from trials made by hand, and the packaged paper values against the shared ones."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from pipeline.evaluate.cells import cells, cells_csv
from pipeline.evaluate.latex import latex
from pipeline.evaluate.pairs import pairs, pairs_csv, pairs_table
from pipeline.evaluate.paper import PaperCell, PaperKey, paper_tables
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.tables import Table, against_table, saved_table, strategy_table
from pipeline.evaluate.trial import TrialResult


def trials(name: str, budget: int, aucs: list[float | None], uniform: bool = False) -> list[TrialResult]:
    return [
        TrialResult(
            spec=TrialSpec(name, budget, seed, uniform=uniform),
            ids=(1, 2 if name == "hard-to-contrast" else 3 + seed),
            covered=0.5 if auc is None else 1.0,
            entropy=2.0 + seed / 10,
            auc=auc,
            accuracy=60.0,
            balanced_accuracy=55.0,
            seconds=0.1,
            oracle=uniform or name in ("random_covered", "easy-to-learn"),
            saw_test=name == "entropy",
            note="",
        )
        for seed, auc in enumerate(aucs)
    ]


RESULTS = [
    *trials("entropy", 59, [None, None]),
    *trials("hard-to-contrast", 119, [92.0, 92.0]),
    *trials("hard-to-contrast", 59, [90.0, 91.0]),
    *trials("hard-to-contrast", 59, [93.0, 93.0], uniform=True),
    *trials("random", 59, [94.0, None, 96.0]),
    *trials("random_covered", 59, [95.0, 95.0]),
    *trials("easy-to-learn", 59, [99.0]),
    *trials("easy-to-learn", 59, [99.0], uniform=True),
    *trials("authors:gt_easy", 59, [98.0]),
    *trials("authors:hard", 59, [89.0]),
    *trials("entropy", 119, [80.0, 81.0]),
]


def test_table_1_by_hand() -> None:
    table = strategy_table("AUC", cells(RESULTS, "auc", table=1, dataset="bloodmnist"))
    assert table.header == ("strategy", "Unif.", "59", "119")
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    assert list(rows) == [
        ("random_covered‡", "no"),
        ("hard-to-contrast", "no"),
        ("hard-to-contrast‡", "yes"),
        ("random", "no"),
        ("entropy†", "no"),
        ("easy-to-learn‡", "no"),
        ("easy-to-learn‡", "yes"),
        ("authors:gt_easy‡", "no"),
        ("authors:hard", "no"),
    ]
    assert rows["random_covered‡", "no"] == ("95.0 ± 0.0; paper 93.2 ± 1.5", "")
    # The best of its kind that is neither an oracle nor lacks trials.
    assert rows["hard-to-contrast", "no"] == (
        "**90.5** ± 0.7 (1 query)",
        "**92.0** (1 query)",
    )
    assert rows["hard-to-contrast‡", "yes"] == ("**93.0**§ (1 query)", "")
    assert rows["random", "no"][0] == "95.0 ± 1.4 (2 of 3)"
    assert rows["entropy†", "no"] == ("-; paper -", "80.5 ± 0.7; paper -")
    assert rows["easy-to-learn‡", "no"] == ("99.0", "") and rows["easy-to-learn‡", "yes"] == ("99.0§", "")
    assert rows["authors:gt_easy‡", "no"] == ("98.0", "")
    text = table.markdown()
    lines = ["### AUC", "", "| strategy | Unif. | 59 | 119 |", "| --- | --- | --- | --- |", "| random_covered‡ | no |"]
    assert text.startswith("\n".join(lines))
    for words in (
        "1 to 3 trials",
        '"(1 query)", "(n queries)": whatever the seed',
        "Without an interval: fewer than three",
        "§ queries with Unif.",
        '"paper -"',
        '"-": a class is missing',
        '"(n of m)"',
        "† its scorer",
        "‡ an oracle",
    ):
        assert words in text


def test_table_6_by_hand() -> None:
    of = cells(trials("hard-to-contrast", 11, [None, 90.0]), "covered", table=6, dataset="bloodmnist")
    assert strategy_table("Classes", of).rows == (("hard-to-contrast", "no", "**0.75** ± 0.35 (1 query); paper 1.00"),)


def test_queries_that_label_diversity_leaves_shorter_are_said() -> None:
    whole = [replace(each, ids=tuple(range(119))) for each in trials("random", 119, [90.0], uniform=True)]
    short = [
        replace(each, ids=tuple(range(98 + each.spec.seed))) for each in trials("coreset", 119, [90.0, 91.0], True)
    ]
    plain = [replace(each, ids=(1, 2)) for each in trials("random", 119, [90.0])]  # cannot be, and is not said
    text = strategy_table("AUC", cells([*whole, *short, *plain], "auc")).markdown()
    assert "fewer images than the budget (98 of 119 at the least)" in text
    assert "fewer images" not in strategy_table("AUC", cells([*whole, *plain], "auc")).markdown()


def test_variants_are_told_apart() -> None:
    plain = trials("hard-to-contrast", 59, [90.0])
    wide = [replace(each, spec=replace(each.spec, k=59)) for each in plain]
    table = strategy_table("K", cells(plain + wide, "auc"))
    assert [row[0] for row in table.rows] == ["hard-to-contrast (k=None)", "hard-to-contrast (k=59)"]


def test_the_order_of_trials_does_not_matter() -> None:
    for figure in ("auc", "entropy"):
        assert cells(RESULTS[::-1], figure) == cells(RESULTS, figure)  # type: ignore[arg-type]


def test_csv_holds_every_figure() -> None:
    rows = list(csv.DictReader(io.StringIO(cells_csv(cells(RESULTS, "auc", table=1, dataset="bloodmnist")))))
    assert len(rows) == 11
    first = ("random_covered", "59", "auc", "95.0", "93.2", "1.5", "True", "2")
    names = ("strategy", "budget", "figure", "mean", "paper", "paper_std", "oracle", "n")
    assert tuple(rows[0][name] for name in names) == first
    missing = next(row for row in rows if row["strategy"] == "entropy" and row["budget"] == "59")
    assert (missing["mean"], missing["n"], missing["trials"], missing["saw_test"]) == ("", "0", "2", "True")


def test_annotation_saved() -> None:
    results = [
        *(trial for budget, auc in ((10, 60.0), (40, 80.0)) for trial in trials("random_covered", budget, [auc])),
        *trials("hard-to-contrast", 10, [70.0]),
        *trials("hard-to-contrast", 40, [85.0]),
        *trials("margin", 10, [50.0]),
    ]
    table = saved_table(results, "bloodmnist")
    assert table.rows == (("hard-to-contrast", "no", "50%", "-"), ("margin†", "no", "≤ 0%", "-"))
    assert "The paper's HaCon, early on: 52%" in table.markdown() and '"-": not measured' in table.markdown()
    assert saved_table(trials("margin", 10, [50.0])).rows == ()


def test_rows_with_label_diversity_are_set_beside_random_with_it() -> None:
    results = [
        *(trial for budget, auc in ((10, 60.0), (40, 80.0)) for trial in trials("random", budget, [auc, None])),
        *(trial for budget, auc in ((10, 70.0), (40, 90.0)) for trial in trials("random", budget, [auc], uniform=True)),
        *trials("entropy", 10, [70.0]),
        *trials("entropy", 20, [80.0], uniform=True),
    ]
    # Random's covering queries reach 70 at 20 images; with label diversity, random reaches 80 there.
    rows = saved_table(results).rows
    assert rows == (("entropy†", "no", "50%", "-", "-"), ("entropy†‡", "yes", "-", "0%", "-"))
    assert "an oracle" in saved_table(results).markdown() and "its scorer" in saved_table(results).markdown()


def test_hacon_against_the_others() -> None:
    apart = [replace(each, ids=(each.spec.seed,)) for each in trials("hard-to-contrast", 59, [90.0, 91.0, 92.0])]
    results = [
        *apart,
        *trials("random", 59, [80.0, 82.0, 84.0]),
        *trials("coreset", 59, [92.0, 91.0, 90.0]),
        *trials("margin", 59, [80.0, None]),
        *[replace(each, ids=(1,)) for each in trials("maxherding", 59, [89.0, 89.0])],
        *trials("random", 59, [70.0], uniform=True),
    ]
    table = against_table("AUC", cells(results, "auc"))
    rows = {row[0]: row[2] for row in table.rows}
    assert rows["random"].startswith("**+9.0** [+7.") and rows["coreset"].startswith("+0.0 [-")
    # A query without an AUC is not compared; of a single query there is no interval; Unif. has no HaCon beside it.
    assert rows["margin†"] == "-" and rows["maxherding"] == "+2.0" and len(table.rows) == 4


def test_an_interval_needs_three_different_queries() -> None:
    apart = [replace(each, ids=(each.spec.seed,)) for each in trials("coreset", 59, [90.0, 91.0, 92.0])]
    assert "[" in strategy_table("AUC", cells(apart, "auc")).rows[0][2]
    for few in (apart[:2], [replace(each, ids=(min(each.spec.seed, 1),)) for each in apart]):
        (cell,) = cells(few, "auc")
        assert "[" not in strategy_table("AUC", [cell]).rows[0][2]
        assert "[" not in against_table("AUC", cells([*apart, *_hacon(few)], "auc")).rows[0][2]
        row = next(csv.DictReader(io.StringIO(cells_csv([cell]))))
        assert row["low"] == row["high"] == "" and row["std"] != ""


def _hacon(of: list[TrialResult]) -> list[TrialResult]:
    return [replace(each, spec=replace(each.spec, strategy="hard-to-contrast")) for each in of]


def test_each_footnote_has_its_mark_and_each_mark_its_footnote() -> None:
    table = strategy_table("AUC", cells(RESULTS, "auc", table=1, dataset="bloodmnist"))
    body = "".join(cell for row in table.rows for cell in row)
    for sign in "†‡§":
        assert (sign in body) == any(note.startswith(sign) for note in table.notes)
    plain = strategy_table("AUC", cells(trials("coreset", 2, [70.0]), "auc"))
    assert len(plain.notes) == 1, "nothing in it needs a footnote"


@pytest.mark.parametrize(("aucs", "said"), [([50.4, 49.1], True), ([47.0], True), ([50.0, 61.0], False)])
def test_a_table_at_chance_level_says_so(aucs: list[float], said: bool) -> None:
    table = strategy_table("AUC", cells(trials("coreset", 59, [*aucs]) + trials("random", 59, [50.0]), "auc"))
    assert table.notes[0].startswith("At chance level") == said
    of = cells(trials("coreset", 59, [90.0]), "balanced_accuracy")
    assert "At chance level: guessing reaches 54%" in strategy_table("B", of, {"balanced_accuracy": 54.0}).notes[0]
    assert "chance" not in "".join(strategy_table("B", of, {"balanced_accuracy": 12.5}).notes)


def test_latex_is_escaped_and_has_every_cell() -> None:
    text = latex([Table("100% of a_b & c", ("strategy", "59"), (("x_1†", "**90.5** ± 0.7 (p < 0.001)"),), ("‡ ≥ #1",))])
    assert "\\caption{100\\% of a\\_b \\& c}" in text and "{x\\_1$\\dagger$} & " in text
    assert "{\\textbf{90.5} $\\pm$ 0.7 (p \\textless{} 0.001)} \\\\" in text and "$\\ddagger$ $\\geq$ \\#1" in text
    assert text.isascii() and text.count("{") == text.count("}")
    whole = latex([strategy_table("AUC", cells(RESULTS, "auc", table=1, dataset="bloodmnist"))])
    assert whole.isascii() and whole.count("\\begin{longtable}") == whole.count("\\end{longtable}") == 1


def test_all_pairs_are_corrected_for_their_number() -> None:
    def seeds(name: str, mean: float) -> list[TrialResult]:
        return [
            replace(each, ids=(each.spec.seed,))
            for each in trials(name, 59, [mean - 1, mean, mean + 1, mean + 0.5, mean - 0.5])
        ]

    results = [*seeds("random", 70), *seeds("coreset", 70.2), *seeds("margin", 90), *trials("bald", 59, [80.0])]
    found = {(pair.strategy, pair.minus): pair for pair in pairs(cells(results, "auc"))}
    assert len(found) == 6, "each with each, once"
    apart, alike = found["random", "margin†"], found["random", "coreset"]
    values = [sorted(each.auc or 0 for each in results if each.spec.strategy == name) for name in ("random", "margin")]
    p = float(stats.ttest_ind(*values, equal_var=False).pvalue)
    assert apart.p == pytest.approx(p) and apart.holm is not None and apart.holm >= 2 * p
    assert alike.holm is not None and alike.holm > 0.5
    alone = [pair for names, pair in found.items() if "bald†" in names]
    assert len(alone) == 3 and all(pair.p is None and pair.interval is None for pair in alone)
    table = pairs_table("AUC", cells(results, "auc"))
    text = {row[:2]: row[3] for row in table.rows}
    assert text["random", "margin†"].startswith("**-20.0** (p < 0.001)") and "**" not in text["random", "coreset"]
    assert "Holm for the 3 comparisons" in table.notes[0]
    rows = list(csv.DictReader(io.StringIO(pairs_csv({"auc": cells(results, "auc")}))))
    assert len(rows) == 6 and float(next(row for row in rows if row["minus"] == "margin†")["holm"]) < 0.001


def test_the_best_of_each_classifier() -> None:
    weak = trials("random", 59, [70.0])
    strong = [replace(each, auc=90.0, spec=replace(each.spec, classifier="finetune")) for each in weak]
    rows = strategy_table("AUC", cells(weak + strong, "auc")).rows
    assert sorted(row[2] for row in rows) == ["**70.0**", "**90.0**"]


def test_the_papers_number_stands_beside_what_it_measured() -> None:
    def paper(**settings: object) -> bool:
        (trial,) = trials("entropy", 119, [80.0])
        changed = replace(trial, spec=replace(trial.spec, **settings))  # type: ignore[arg-type]
        return cells([changed], "auc", table=1, dataset="bloodmnist")[0].paper is not None

    assert paper() and paper(k=30) and not paper(k=119) and not paper(scorer="labelled")


def test_a_cell_that_lacks_trials_says_so() -> None:
    table = strategy_table("AUC", cells([*trials("random", 10, [1.0, 2.0, 3.0]), *trials("random", 20, [4.0])], "auc"))
    assert table.rows[0][3] == "**4.0** (1 trial)"


def test_the_papers_cells() -> None:
    tables = paper_tables()
    assert len(tables) == 72 + 64 + 72
    # Some of each table, read off the paper.
    assert tables[PaperKey(1, "pathmnist", "random", True, 449)].mean == 96.8
    assert tables[PaperKey(1, "organamnist", "margin", False, 172)] == PaperCell(None, None)
    assert tables[PaperKey(1, "bloodmnist", "bald", True, 119)].mean == 92.7
    assert tables[PaperKey(6, "cifar10-lt", "hard-to-contrast", False, 37)] == PaperCell(0.8, None)
    assert tables[PaperKey(6, "organamnist", "random", False, 69)] == PaperCell(0.98, 0.04)
    assert tables[PaperKey(7, "cifar10-lt", "vaal", True, 620)] == PaperCell(90.3, 0.5)
    assert {key.budget for key in tables if key.table == 7} == {124, 620, 1240, 2481, 3721, 4962}


def test_they_are_the_shared_ones(shared: Path) -> None:
    with open(shared / "reference" / "paper_tables.csv") as file:
        theirs = [(int(row["table"]), row["dataset"], row["mean"], row["std"]) for row in csv.DictReader(file)]
    text = (Path(__file__).parents[3] / "pipeline" / "evaluate" / "paper_tables.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    assert [(int(row["table"]), row["dataset"], row["mean"], row["std"]) for row in rows] == theirs


def test_no_trials_no_rows() -> None:
    assert strategy_table("empty", []).markdown() == "### empty\n\n| strategy | Unif. |\n| --- | --- |\n\n"
