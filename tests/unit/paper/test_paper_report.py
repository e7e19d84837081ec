"""What is gathered from a store for the page. Ray is imported, and never started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save

from pipeline.artifacts import CLUSTER_SCHEMA, CONFIDENCE_SCHEMA, LABEL_SCHEMA, PoolManifest
from pipeline.config import RunConfig, override
from pipeline.evaluate.cycles import CyclePoint, CycleResult, CycleSpec
from pipeline.evaluate.paper import dataset_of
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.trial import TrialResult
from pipeline.presets import preset
from pipeline.progress import silent
from pipeline.report import figures
from pipeline.results import Clustered, SharedPart, Trained
from pipeline.run import Run
from pipeline.stages.paper import paper, paper_data
from pipeline.storage import Location
from tests.unit.report.reading import Page, assert_loads_nothing

N = 40


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ray.init", refuse)


@pytest.fixture
def store(tmp_path: Path) -> Location:
    return Location(str(tmp_path / "store"))


@pytest.fixture
def pool(store: Location) -> PoolManifest:
    """Ids 0 .. 39 of classes a and b in turn; the file's rows run backwards."""
    ids = np.arange(N)[::-1]
    store.write_table("pools/p/labels/train.parquet", pa.table([ids, (ids % 2).astype(np.int32)], schema=LABEL_SCHEMA))
    return PoolManifest("p", "npz:x.npz", "pools/p", N, 2, 2, 1, {"train": N}, ("a", "b"), 0, 0, "f")


def config(**values: Any) -> RunConfig:
    return override(preset("small"), {"run": "night-1", **values})


def run_in(store: Location) -> Run:
    return Run(config(), store, silent)


def gathered(store: Location, pool: PoolManifest) -> Any:
    return paper_data(run_in(store), pool)


def page_of(store: Location, pool: PoolManifest) -> str:
    return paper(run_in(store), pool)


def put_trials(store: Location) -> None:
    for seed, auc in ((0, 90.0), (1, None)):
        spec = TrialSpec("coreset", 4, seed)
        result = TrialResult(spec, (0, 2, 4, 1), 1.0, 0.81, auc, 50.0, 50.0, 1.0, False, False, "")
        store.write_json(f"runs/night-1/benchmark/trials/{spec.id}.json", result.to_row())
    store.write_json("runs/night-1/benchmark/failed.json", {})


def put_clusters(store: Location) -> None:
    """One cluster of all."""
    files = "runs/night-1/clusters/f"
    columns = [np.arange(N), np.zeros(N, np.int32), np.zeros(N, np.float32)]
    store.write_table(f"{files}/clusters.parquet", pa.table(columns, schema=CLUSTER_SCHEMA))
    store.write_table(f"{files}/centroids.parquet", pa.table({"centroid": [[1.0, 0.0]]}))
    done = Clustered(files=files, k=1, inertia=0.0, backend="sklearn", reason="", seed=0)
    store.write_json("runs/night-1/clusters/done.json", done.to_dict())


def test_a_run_without_anything_has_a_page_that_says_so(store: Location, pool: PoolManifest) -> None:
    page = page_of(store, pool)
    assert page == "runs/night-1/report/paper.html"
    html = store.read_bytes(page).decode()
    assert_loads_nothing(html)
    assert "Nothing was measured in this run yet" in html
    assert len(Page(html).all("dd")) == 7


def test_trials_and_curves_are_read_from_their_files(
    store: Location, pool: PoolManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "svg", lambda figure: b"")
    put_trials(store)
    spec = CycleSpec("random", "margin", 0)
    points = tuple(CyclePoint(n, 80.0 + n, 0.0, 0.0, 1.0, 1.0) for n in spec.sizes)
    curve = CycleResult(spec, points, (1, 2), 1.0, False, False, "")
    store.write_json(f"runs/night-1/cycles/trials/{spec.id}.json", curve.to_row())
    data = gathered(store, pool)
    assert (data.trials, data.images, data.classes) == (2, N, ("a", "b"))
    assert not any("failed" in note for note in data.notes)
    store.write_json("runs/night-1/benchmark/failed.json", {"coreset-1": "Traceback"})
    assert any(note.startswith("1 of the benchmark's trials failed") for note in gathered(store, pool).notes)
    assert data.tables[0].rows == (("coreset", "no", "90.0 (1 of 2) (1 query)"),)
    (labels,) = data.labels
    # Ids 0, 2 and 4 are of class a, 1 is of b.
    assert [(bar.name, bar.counts) for bar in labels.bars] == [("the pool", (20, 20)), ("coreset", (3.0, 1.0))]
    assert data.cycles[0].pairs == {"random": ((100.0, 130.0),)}
    assert data.commands.cycles.endswith("--initial random --later margin --trials 1 --classifier probe")
    assert "90.0" in Page(store.read_bytes(page_of(store, pool)).decode()).text


def test_maps_mark_what_each_strategy_takes_first(store: Location, pool: PoolManifest) -> None:
    ids = np.arange(N)
    confidence = ids / N
    one = np.full(N, 1)
    columns = [ids, np.full(N, 0.05), one, confidence, 0.1 + confidence[::-1], one / 9]
    store.write_table("runs/night-1/pretrain/f/confidence.parquet", pa.table(columns, schema=CONFIDENCE_SCHEMA))
    trained = Trained(
        files="runs/night-1/pretrain/f", weights="w", dimensions=2, arch="resnet18", loss=1.0, fitted={}, notes=[]
    )
    store.write_json("runs/night-1/pretrain/done.json", trained.to_dict())
    put_clusters(store)
    arrays = {"mean": 1 - confidence, "std": confidence}
    store.write_bytes("runs/night-1/evaluation/learnability-features/f/arrays.safetensors", save(arrays))
    store.write_json(
        "runs/night-1/evaluation/learnability-features/done.json",
        SharedPart(files="runs/night-1/evaluation/learnability-features/f").to_dict(),
    )
    contrast, truth = gathered(store, pool).maps
    assert (contrast.kind, truth.kind) == ("contrast", "truth")
    np.testing.assert_array_equal(contrast.mean, confidence)
    # One cluster, 30 taken: those with the lowest, the highest confidence, the highest variability.
    assert np.flatnonzero(contrast.selections["hard-to-contrast"]).tolist() == list(range(30))
    assert np.flatnonzero(contrast.selections["easy-to-contrast"]).tolist() == list(range(10, 40))
    assert np.flatnonzero(contrast.selections["ambiguous"]).tolist() == list(range(30))
    assert np.flatnonzero(truth.selections["hard-to-learn"]).tolist() == list(range(10, 40))
    assert np.flatnonzero(truth.selections["easy-to-learn"]).tolist() == list(range(30))


@pytest.mark.parametrize(
    ("source", "dataset"),
    [
        ("medmnist:bloodmnist", "bloodmnist"),
        ("cifar10-lt", "cifar10-lt"),
        ("npz:../data/blood28.npz", None),
        ("folder:/some/path/of/bloodmnist", None),
    ],
)
def test_the_papers_numbers_stand_beside_its_own_data_sets_only(source: str, dataset: str | None) -> None:
    assert dataset_of(source) == dataset
