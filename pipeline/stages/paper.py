"""Results of a run's stages, benchmark and cycles -> one page with the paper's tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from pipeline.artifacts import Int64, PoolManifest
from pipeline.data.pool import PoolReader
from pipeline.evaluate.cycles import CycleResult
from pipeline.evaluate.files import (
    CURVES,
    FAILED,
    MAP_OF_FEATURES,
    MAP_OF_IMAGES,
    TRIALS,
    part_arrays,
    rows_in,
)
from pipeline.evaluate.paper import dataset_of
from pipeline.evaluate.trial import TrialResult
from pipeline.paper.commands import commands
from pipeline.paper.data import FeatureMap, PaperData, PoolMap
from pipeline.paper.figures import (
    ablation_figures,
    auc_figures,
    coverage_figures,
    cycle_figures,
    label_figures,
    sweep_figures,
)
from pipeline.paper.page import picture_files, render_paper
from pipeline.paper.tables import benchmark_tables, cycle_tables
from pipeline.progress import counted
from pipeline.publish import finished
from pipeline.results import Clustered, Embedded, Trained
from pipeline.run import Run, run_folder
from pipeline.select import PoolView, strategy
from pipeline.stages.query import pool_view
from pipeline.stages.report import embedding_map
from pipeline.storage import Location

PAPER_PAGE = "report/paper.html"
PAPER_FIGURES = "report/figures"
"""The page's figures as PNG, SVG and PDF."""
CONTRAST = ("hard-to-contrast", "easy-to-contrast", "ambiguous")
HARD_EASY_AMBIGUOUS = ("hard-to-learn", "easy-to-learn", "ambiguous-to-learn")
MOST_MARKED = 120
"""Most images that a strategy marks on a map. More would hide the map."""


def paper(run: Run, pool: PoolManifest) -> str:
    """Draw the page of all results so far. It is drawn anew at every call, since a benchmark may go on. Ray is running.

    Returns:
        The page's name on the store.
    """
    page = run.folder(PAPER_PAGE)
    data = paper_data(run, pool)
    run.store.write_bytes(page, render_paper(data).encode())
    for name, content in picture_files(data):
        run.store.write_bytes(run.folder(f"{PAPER_FIGURES}/{name}"), content)
    return page


def paper_data(run: Run, pool: PoolManifest) -> PaperData:
    """All results of the run, and the commands that make the missing ones."""
    config, store = run.config, run.store
    trials = [TrialResult.from_row(row) for row in rows_in(store, run.folder(TRIALS))]
    curves = [CycleResult.from_row(row) for row in rows_in(store, run.folder(CURVES))]
    run.log(f"{counted(len(trials), 'trial')}, {counted(len(curves), 'curve')} of cycles")
    dataset = config.benchmark.dataset or dataset_of(pool.source)
    made_by = commands(config, trials, curves, dataset)
    labels = PoolReader(store, pool).labels()
    data = PaperData(
        title=pool.name,
        run=config.run,
        store=store.show(),
        images=pool.size,
        classes=pool.classes or (),
        trials=len(trials),
        commands=made_by,
        tables=benchmark_tables(trials, dataset, made_by.benchmark, made_by.sweep),
        auc=auc_figures(trials),
        ablations=ablation_figures(trials),
        coverage=coverage_figures(trials),
        sweep=sweep_figures(trials),
        labels=() if labels is None or pool.classes is None else label_figures(trials, labels, len(pool.classes)),
        cycle_tables=cycle_tables(curves, made_by.cycles),
        cycles=cycle_figures(curves),
        notes=(*_notes(pool, dataset), *_failures(store, config.run)),
    )
    return _with_maps(data, run)


def _with_maps(data: PaperData, run: Run) -> PaperData:
    """Add the maps for which the run has the stages or the ground-truth map."""
    config, store = run.config, run.store
    trained = finished(store, run.folder(Trained.stage), Trained)
    clustered = finished(store, run.folder(Clustered.stage), Clustered)
    embedded = finished(store, run.folder(Embedded.stage), Embedded)
    truth = _learnability(store, config.run)
    maps: list[PoolMap] = []
    features = None
    budget = min(max(config.query.budget, 30), MOST_MARKED)
    if trained is not None and clustered is not None:
        view = pool_view(store, trained, clustered, config.query.temperature)
        budget = min(budget, len(view.sample_id))
        taken = {name: strategy(name).query(view, budget, config.seed) for name in CONTRAST}
        assert view.confidence is not None and view.variability is not None
        maps.append(_pool_map("contrast", view.sample_id, view.confidence, view.variability, taken))
        if embedded is not None:
            shown = {name: taken[name] for name in CONTRAST[:2]}  # Fig. 9: hard and easy
            chosen = np.unique(np.concatenate(list(shown.values())))
            drawn = embedding_map(config, store, view, chosen, embedded)
            features = FeatureMap(drawn.points, _masks(shown, drawn.sample_id), drawn.method)
    if truth is not None:
        mean, std = truth
        ids = np.arange(len(mean))
        view = PoolView(ids, learnability=mean, learnability_variability=std)
        budget = min(budget, len(ids))
        taken = {name: strategy(name).query(view, budget, config.seed) for name in HARD_EASY_AMBIGUOUS}
        maps.append(_pool_map("truth", ids, mean, std, taken))
    return replace(data, maps=tuple(maps), features=features, budget=budget)


def _learnability(store: Location, run: str) -> tuple[Any, Any] | None:
    """Mean and standard deviation, each (N,) by sample id. The map of images is preferred to that of features."""
    found = part_arrays(store, run, MAP_OF_IMAGES) or part_arrays(store, run, MAP_OF_FEATURES)
    return None if found is None else (found[0]["mean"], found[0]["std"])


def _pool_map(
    kind: Literal["contrast", "truth"], ids: Int64, mean: Any, std: Any, taken: Mapping[str, Int64]
) -> PoolMap:
    return PoolMap(kind, mean, std, _masks(taken, ids))


def _masks(taken: Mapping[str, Int64], ids: Int64) -> dict[str, Any]:
    return {name: np.isin(ids, chosen) for name, chosen in taken.items()}


def _failures(store: Location, run: str) -> list[str]:
    """Sentences on failed trials, which tables and figures lack."""
    found = {group: store.read_json(run_folder(run, f"{group}/{FAILED}")) or {} for group in ("benchmark", "cycles")}
    return [
        f"{len(failed)} of the {group}'s trials failed and are not shown: {store.show(run_folder(run, group))}/{FAILED}"
        for group, failed in found.items()
        if failed
    ]


def _notes(pool: PoolManifest, dataset: str | None) -> tuple[str, ...]:
    if dataset is None:
        return ("The paper has no numbers of this data set to set beside ours (or name it: benchmark.dataset).",)
    return (f"The paper's numbers are of {dataset}; this pool has {pool.size:,} images, from {pool.source}.",)
