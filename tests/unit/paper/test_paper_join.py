"""Trials and curves as the page takes them: numbers by hand. Nothing here starts Ray."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.config import override
from pipeline.evaluate.cycles import CyclePoint, CycleResult, CycleSpec
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.trial import TrialResult
from pipeline.paper.commands import benchmark_command, commands
from pipeline.paper.data import CurveFigure
from pipeline.paper.figures import (
    ablation_figures,
    auc_figures,
    coverage_figures,
    cycle_figures,
    label_figures,
    sweep_figures,
)
from pipeline.paper.tables import benchmark_tables, cycle_tables
from pipeline.presets import preset
from pipeline.select import STRATEGIES

SCORERS = ("test", "labelled")


def trial(strategy: str, budget: int = 59, seed: int = 0, auc: float | None = 90.0, **fields: Any) -> TrialResult:
    named = {name: fields.pop(name) for name in ("ids", "covered", "entropy", "oracle", "saw_test") if name in fields}
    spec = TrialSpec(strategy, budget, seed, **fields)
    values: dict[str, Any] = {
        "ids": (0,), "covered": 1.0, "entropy": 2.0, "auc": auc, "accuracy": 50.0, "balanced_accuracy": 40.0,
        "seconds": 1.0, "oracle": False, "saw_test": False, "note": f"from scratch; epoch {seed} of 9",
    }  # fmt: skip
    return TrialResult(spec, **(values | named))


def curve(initial: str, later: str, first: float, last: float, seed: int = 0) -> CycleResult:
    points = tuple(CyclePoint(n, auc, 0.0, 0.0, 1.0, 2.0) for n, auc in ((20, first), (50, last)))
    return CycleResult(CycleSpec(initial, later, seed, step=30), points, (), 1.0, False, False, "")


def drawn(figure: CurveFigure, panel: int = 0) -> dict[str, dict[float, tuple[float, float]]]:
    """By curve: x -> (mean, standard deviation)."""
    return {
        each.name: {x: (m, s) for x, m, s in zip(each.x, each.mean, each.std, strict=True)}
        for each in figure.panels[panel].curves
    }


def config(**values: Any) -> Any:
    return override(preset("small"), {"run": "night-1", **values})


# ---- tables ------------------------------------------------------------------------------


def test_table_1_has_our_numbers_and_the_papers() -> None:
    results = [
        trial("random_covered", seed=0, auc=90.0, oracle=True),
        trial("random_covered", seed=1, auc=92.0, oracle=True, ids=(1,)),
        trial("hard-to-contrast", auc=95.0),
        trial("margin", auc=None, saw_test=True),
    ]
    tables = {table.title: table for table in benchmark_tables(results, "bloodmnist", "the command", "")}
    auc = tables["Table 1: AUC in percent, by probe"]
    assert auc.header == ("strategy", "Unif.", "59")
    # Mean 91, standard deviation sqrt(2); of two values there is no interval.
    assert auc.rows == (
        ("random_covered‡", "no", "91.0 ± 1.4; paper 93.2 ± 1.5"),
        ("hard-to-contrast", "no", "**95.0**"),
        ("margin†", "no", "-; paper -"),
    )
    assert any("test split" in note for note in auc.notes) and any("oracle" in note for note in auc.notes)
    assert (
        auc.notes.count("from scratch") == 1
        and not any("epoch" in note for note in auc.notes)
        and auc.command == "the command"
    )
    assert tables["Annotation saved against random"].rows[0][0] == "hard-to-contrast"
    assert any("52%" in note for note in tables["Annotation saved against random"].notes)


def test_table_6_counts_each_query_once_whatever_learned_from_it() -> None:
    results = [
        trial("coreset", 11, seed, covered=covered, classifier=classifier, ids=(seed,))
        for classifier in ("probe", "paper")
        for seed, covered in enumerate((0.5, 1.0))
    ]
    (covered,) = [
        table for table in benchmark_tables(results, "bloodmnist", "", "") if table.title.startswith("Table 6")
    ]
    assert covered.rows == (("coreset", "no", "**0.75** ± 0.35; paper 0.63"),)


def test_long_tailed_cifar_is_table_7() -> None:
    results = [trial("coreset", 620, classifier="paper", uniform=True, oracle=True)]
    table = benchmark_tables(results, "cifar10-lt", "", "")[0]
    assert table.title == "Table 7: AUC in percent, by paper"
    assert table.rows == (("coreset‡", "yes", "**90.0**§; paper 89.7 ± 1.3"),)


def test_a_sweep_of_k_has_tables_of_its_own() -> None:
    results = [trial("hard-to-contrast", k=k, covered=0.5) for k in (5, 10)]
    results += [trial(name, seed=seed) for name in ("hard-to-contrast", "coreset") for seed in (0, 1)]
    tables = {table.title: table for table in benchmark_tables(results, None, "", "the sweep")}
    rows = [row[0] for row in tables["Table 6: share of the classes covered"].rows]
    assert rows == ["hard-to-contrast", "coreset"]
    swept = tables["By the number of clusters: share of the classes covered"]
    assert swept.minor and swept.command == "the sweep"
    assert [row[0] for row in swept.rows] == [f"hard-to-contrast (k={k})" for k in ("None", 5, 10)]


def test_no_trials_no_tables() -> None:
    assert benchmark_tables([], "bloodmnist", "x", "y") == () == cycle_tables([], "x")


# ---- figures -----------------------------------------------------------------------------


def test_curves_by_budget_leave_out_what_is_not_complete() -> None:
    results = [
        *(trial(name, b, s, 80 + b / 10 + 2 * s) for name in ("random", "typiclust") for b in (10, 20) for s in (0, 1)),
        trial("typiclust", 30, 0, 99.0),
        trial("typiclust", 30, 1, None),
    ]
    (figure,) = auc_figures(results)
    assert figure.title == "Made for low budgets"
    found = drawn(figure)
    assert found.keys() == {"random", "typiclust"}
    # 80 + 1, 80 + 3: mean 82, standard deviation sqrt(2).
    assert found["typiclust"] == {10: (82.0, pytest.approx(2**0.5)), 20: (83.0, pytest.approx(2**0.5))}


def test_every_strategy_has_its_place() -> None:
    results = [trial(name, uniform=uniform) for name in (*STRATEGIES, "authors:hard") for uniform in (False, True)]
    figures = auc_figures(results)
    oracles = [figure for figure in figures if ", Unif." in figure.title]
    plain = [figure for figure in figures if figure not in oracles]
    # The others are the ablations'.
    expected = {*STRATEGIES, "authors:hard"} - {"pixel-clusters", "closest-to-centroid", "lowest-confidence"}
    for some in (plain, oracles):
        assert {name for figure in some for name in drawn(figure)} == expected
        assert some[-1].title.startswith("Other orders") and "authors:hard" in drawn(some[-1])
        assert all({"random", "hard-to-contrast"} <= drawn(figure).keys() for figure in some)
    assert all("an oracle" in figure.note for figure in oracles)
    covered = {name for figure in coverage_figures(results) for name in drawn(figure)}
    assert covered == {*STRATEGIES, "authors:hard"}


def test_two_classifiers_have_figures_of_their_own_and_two_scorers_lines() -> None:
    results = [
        trial("margin", classifier=name, scorer=by) for name in ("probe", "paper") for by in ("test", "labelled")
    ]
    figures = auc_figures(results)
    assert [figure.title for figure in figures] == [f"Published active selection, by {n}" for n in ("probe", "paper")]
    assert drawn(figures[0]).keys() == {"margin (scorer=test)", "margin (scorer=labelled)"}


def test_ablations() -> None:
    results = [trial(name, 11, auc=None, covered=0.5) for name in ("hard-to-contrast", "lowest-confidence", "random")]
    results += [trial(name, 23, auc=auc) for name, auc in (("hard-to-contrast", 80.0), ("lowest-confidence", 70.0))]
    (figure,) = ablation_figures(results)
    assert [panel.label for panel in figure.panels] == ["AUC (%)", "classes covered (share)"]
    assert drawn(figure) == {"HaCon": {23: (80.0, 0.0)}, "without K-means": {23: (70.0, 0.0)}}
    assert list(drawn(figure, 1)) == ["HaCon", "without K-means", "random"]
    assert drawn(figure, 1)["HaCon"] == {11: (0.5, 0.0), 23: (1.0, 0.0)}
    assert ablation_figures([trial("hard-to-contrast"), trial("random")]) == ()


def test_the_sweep_of_k_is_apart_from_all_other_curves() -> None:
    results = [trial("hard-to-contrast", 50, covered=0.5, auc=None, k=k) for k in (5, 10)]
    results += [trial(name, 50, seed) for name in ("hard-to-contrast", "typiclust") for seed in (0, 1)]
    (figure,) = sweep_figures(results)
    # Without a K of its own a query of 50 has 30 clusters. Only there has it an AUC, and one point is no line.
    assert [panel.label for panel in figure.panels] == ["classes covered (share)"]
    assert drawn(figure) == {"50 images": {5: (0.5, 0.0), 10: (0.5, 0.0), 30: (1.0, 0.0)}}
    assert drawn(auc_figures(results)[0]).keys() == {"hard-to-contrast", "typiclust"}
    assert sweep_figures(results[2:]) == ()


def test_label_distributions_are_means_over_seeds_beside_the_pool() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, -1])
    results = [
        trial("random", 2, 0, ids=(0, 1), covered=1 / 3, entropy=0.0),
        trial("random", 2, 1, ids=(2, 5), covered=2 / 3, entropy=1.0),
        trial("coreset", 2, 0, ids=(3, 6), covered=1 / 3, entropy=0.0),
        trial("coreset", 2, 0, uniform=True, oracle=True),
    ]
    (figure,) = label_figures(results, labels, 3)
    assert figure.budget == 2
    assert [(bar.name, bar.counts) for bar in figure.bars] == [
        ("the pool", (3, 2, 1)),
        ("random", (1.5, 0.0, 0.5)),
        ("coreset", (0.0, 1.0, 0.0)),
    ]
    # 1/2 log2 2 + 1/3 log2 3 + 1/6 log2 6 = 1.459 bits.
    assert [bar.remark for bar in figure.bars] == ["3.0/3  1.46", "1.5/3  0.50", "1.0/3  0.00"]


def test_cycles_by_later_strategy_with_the_papers_correlation() -> None:
    results = [
        curve("random", "margin", 80.0, 90.0, 0), curve("random", "margin", 84.0, 91.0, 1),
        curve("hard-to-contrast", "margin", 86.0, 95.0), curve("random", "random", 80.0, 90.0),
    ]  # fmt: skip
    random, margin = cycle_figures(results)
    assert (random.later, random.r, random.paper_r, random.n) == ("random", None, 0.92, 1)
    assert (margin.later, margin.paper_r, margin.n) == ("margin", 0.70, 3)
    assert margin.r == pytest.approx(np.corrcoef([80, 84, 86], [90, 91, 95])[0, 1])
    assert margin.pairs == {"hard-to-contrast": ((86.0, 95.0),), "random": ((80.0, 90.0), (84.0, 91.0))}
    first, second = margin.curves
    assert (first.name, first.x, first.mean) == ("hard-to-contrast", (20, 50), (86.0, 95.0))
    assert second.mean == (82.0, 90.5) and second.std == pytest.approx((8**0.5, 0.5**0.5))
    (table,) = cycle_tables(results, "c")
    assert [row[0] for row in table.rows] == ["random", "margin"] and table.rows[1][-1] == "0.70"
    assert (margin.points, random.points) == (3, 0)


# ---- commands ----------------------------------------------------------------------------


def test_commands_are_those_that_made_the_trials() -> None:
    specs = [TrialSpec("coreset", b, seed, uniform=u) for b in (23, 11) for seed in (0, 1) for u in (False, True)]
    specs += [TrialSpec("random", 11, 99), TrialSpec("authors:hard", 11, 0)]
    assert benchmark_command(config(), specs) == (
        "hacon benchmark --run night-1 --strategies random,coreset,authors:hard --uniform both --budgets 11,23 "
        "--seeds 2 --classifier probe --set benchmark.random_seeds=100"
    )
    swept = [TrialSpec("hard-to-contrast", 11, 0, k=k, scorer="labelled", classifier="paper") for k in (5, 6)]
    assert benchmark_command(config(), swept) == " && ".join(
        "hacon benchmark --run night-1 --strategies hard-to-contrast --uniform off --budgets 11 --seeds 1 "
        f"--classifier paper --scorer labelled --k {k}"
        for k in (5, 6)
    )
    assert benchmark_command(config(), []) == ""
    everything = [TrialSpec(name, 11, 0) for name in ("random_covered", *STRATEGIES)]
    assert "--strategies all --uniform off" in benchmark_command(config(), everything)


def test_commands_for_what_is_not_there() -> None:
    made = commands(config(store="s3://b/x"), [], [], "bloodmnist")
    flags = "--run night-1 --store s3://b/x"
    assert made.benchmark == f"hacon benchmark {flags} --budgets 11,23,59,119 --seeds 3 --strategies all --uniform both"
    assert made.truth.endswith("--strategies easy-to-learn,hard-to-learn,ambiguous-to-learn")
    assert made.sweep.startswith("for k in 5 10 20 30; do hacon benchmark") and made.sweep.endswith("--k $k; done")
    assert made.cycles == f"hacon cycles {flags} --later random,entropy,margin,bald,coreset"
    assert made.page == f"hacon report --paper {flags}" and made.maps == f"hacon select {flags}"


def test_the_command_of_cycles() -> None:
    results = [curve(first, "margin", 1, 2, seed) for first in ("random", "coreset") for seed in (0, 1, 2)]
    assert commands(config(), [], results, None).cycles == (
        "hacon cycles --run night-1 --initial random,coreset --later margin --trials 3 --classifier probe "
        "--set cycles.step=30"
    )
