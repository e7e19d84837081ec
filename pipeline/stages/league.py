"""The trials of several runs' benchmarks -> one table of who beats chance: league.csv, league.md, league.html."""

from __future__ import annotations

import csv
import io

from pipeline.artifacts import pool_folder
from pipeline.config import RunConfig, override
from pipeline.data.catalogue import checked, pool_name
from pipeline.errors import InputError
from pipeline.evaluate.league import FIGURES, Gain, gains, league_csv, shares
from pipeline.evaluate.trial import TrialResult
from pipeline.publish import finished
from pipeline.report.page import environment
from pipeline.results import Ingested
from pipeline.run import run_folder, saved_config
from pipeline.stages.benchmark import ROWS
from pipeline.storage import Location

FOLDER = "league"


def league(store: Location, runs: list[str]) -> str:
    """Write the league of some runs' trials; returns its folder.

    Raises:
        InputError: a run without trials on parts of its pool.
    """
    tables: list[tuple[str, list[Gain]]] = []
    for run in runs:
        saved, file = saved_config(store, run), f"{run_folder(run, 'benchmark')}/{ROWS}"
        if saved is None or not store.is_file(file):
            raise InputError(f"Run '{run}' has no trials on '{store.show()}'; first: hacon benchmark --run {run}")
        config = override(RunConfig(), saved)
        results = [TrialResult.from_row(row) for row in store.read_table(file).to_pylist()]
        found = gains(run, config.embed.features, results)
        if not found:
            raise InputError(
                f"Run '{run}' has no trials of random and another strategy on two parts of its pool or more; first: "
                f"hacon benchmark --run {run} --set benchmark.share=0.5"
            )
        done = finished(store, pool_folder(pool_name(checked(config.ingest))), Ingested)
        tables.append((f"{done.manifest.name if done else run}, features of {config.embed.features}", found))
    every = [gain for _, of in tables for gain in of]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(league_csv(every))
    store.write_bytes(f"{FOLDER}/league.csv", text.getvalue().encode())
    markdown = "\n".join(_markdown(title, of) for title, of in tables)
    store.write_bytes(f"{FOLDER}/league.md", markdown.encode())
    page = (
        environment()
        .get_template("league.html.j2")
        .render(
            tables=[(title, _rows(of)) for title, of in tables],
            counts=sorted(shares(every, FIGURES[0]).items(), key=lambda item: (-item[1][0], item[1][2], item[0])),
            runs=runs,
        )
    )
    store.write_bytes(f"{FOLDER}/league.html", page.encode())
    return FOLDER


def _rows(of: list[Gain]) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """(strategy, classifier, figure, [(gain in words, verdict)] by budget)."""
    lines: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for gain in of:
        text = f"{gain.budget}: {gain.gain:+.1f} ± {gain.half:.1f} (random {gain.random:.1f})"
        lines.setdefault((gain.strategy, gain.classifier, gain.figure), []).append((text, gain.verdict))
    return [(*key, cells) for key, cells in lines.items()]


def _markdown(title: str, of: list[Gain]) -> str:
    budgets = sorted({gain.budget for gain in of})
    lines = [f"### {title}", ""]
    for figure, words in zip(FIGURES, ("AUC, a missing class counts 50%", "Balanced accuracy"), strict=True):
        here = [gain for gain in of if gain.figure == figure]
        chance = {gain.budget: gain.random for gain in here}
        header = ["strategy", "classifier", *(f"{budget} (random {chance[budget]:.1f})" for budget in budgets)]
        lines += [f"{words}: points above random, with the 95% interval; bold: it leaves out 0.", ""]
        lines += ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
        for strategy, classifier in dict.fromkeys((gain.strategy, gain.classifier) for gain in here):
            cells = {gain.budget: gain for gain in here if (gain.strategy, gain.classifier) == (strategy, classifier)}
            texts = [_text(cells[budget]) if budget in cells else "" for budget in budgets]
            lines.append("| " + " | ".join([strategy, classifier, *texts]) + " |")
        lines.append("")
    return "\n".join(lines)


def _text(gain: Gain) -> str:
    text = f"{gain.gain:+.1f} ± {gain.half:.1f}"
    return text if gain.verdict == "level" else f"**{text}**"
