"""Benchmark and cycles on a real Ray Tune: side by side, through a worker's death, an interruption and a failure."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jobs.arguments import configure, parser
from jobs.cli import main
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.trial import TrialResult, run_trial
from pipeline.progress import say
from pipeline.run import Run
from pipeline.storage import Location

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(600)]

SIZE, TEST = 150, 60
TINY = ["pretrain.epochs=1", "pretrain.batch_size=32", "pretrain.queue_size=64", "pretrain.bn_splits=2"]
TINY += ["preset=hacon", "cluster.n_init=2"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits with a test split, and beside them orders of two kinds and an array that is none."""
    digits = load_digits()
    images = (digits.images * 15.9).astype(np.uint8)
    labels = digits.target[:, None].astype(np.uint8)
    folder = tmp_path_factory.mktemp("archive")
    test = slice(SIZE, SIZE + TEST)
    np.savez(
        folder / "digits.npz",
        train_images=images[:SIZE],
        train_labels=labels[:SIZE],
        test_images=images[test],
        test_labels=labels[test],
    )
    np.savez(folder / "orders.npz", back=np.arange(SIZE)[::-1], short=np.arange(15), cluster=np.zeros(SIZE, int))
    return folder


@pytest.fixture(scope="module")
def store(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Location:
    """A store with one run, "r", that is pre-trained and embedded."""
    store = Location(str(tmp_path_factory.mktemp("store")))
    flags = ["--pool", f"npz:{archive / 'digits.npz'}", "--store", store.uri, "--run", "r", "--set", *TINY]
    assert all(main([job, *flags]) == 0 for job in ("ingest", "pretrain", "embed"))
    return store


def _benchmark(store: Location, *flags: str) -> int:
    return main(["benchmark", "--store", store.uri, "--run", "r", *flags])


def _rows(store: Location, folder: str = "runs/r/benchmark/trials") -> dict[str, dict[str, Any]]:
    names = [name for name, _, _ in store.files(folder)]
    return {name.removesuffix(".json"): store.read_json(f"{folder}/{name}") for name in names}


def _apart_from_time(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.fixture(scope="module")
def done(store: Location, archive: Path) -> Location:
    """The store with a benchmark of one strategy of each kind."""
    strategies = "random,random_covered,hard-to-contrast,pixel-clusters,bald,consistency,coreset,hard-to-learn"
    strategies += ",k-medoids,typiclust"
    flags = ["--strategies", f"{strategies},authors:back", "--budgets", "15", "--orders", str(archive / "orders.npz")]
    assert _benchmark(store, *flags, "--seeds", "2", "--uniform", "both", "--set", "benchmark.random_seeds=3") == 0
    return store


def test_every_trial_of_the_grid_has_a_row(done: Location) -> None:
    rows = _rows(done)
    by_strategy: dict[str, int] = {}
    for row in rows.values():
        by_strategy[row["strategy"]] = by_strategy.get(row["strategy"], 0) + 1
    # Plain and uniform; random_covered, which covers already, plain only.
    assert by_strategy == {
        "random": 6,
        "random_covered": 3,
        **dict.fromkeys(("hard-to-contrast", "pixel-clusters", "bald", "consistency", "coreset"), 4),
        **dict.fromkeys(("hard-to-learn", "k-medoids", "typiclust", "authors:back"), 4),
    }
    assert done.read_json("runs/r/benchmark/failed.json") == {}
    published = [row for row in rows.values() if row["strategy"] == "authors:back" and not row["uniform"]]
    assert all(row["ids"] == list(range(SIZE))[:-16:-1] for row in published)
    table = done.read_table("runs/r/benchmark/trials.parquet").to_pylist()
    assert {row["trial"]: row["auc"] for row in table} == {name: row["auc"] for name, row in rows.items()}
    for name in ("auc", "covered", "saved"):
        text = done.read_bytes(f"runs/r/benchmark/{name}.md").decode()
        assert "hard-to-contrast" in text and done.is_file(f"runs/r/benchmark/{name}.csv")
        assert "hard-to-contrast" in done.read_bytes(f"runs/r/benchmark/{name}.tex").decode()
    figures = {name.rpartition(".")[2] for name, _, _ in done.files("runs/r/benchmark/figures")}
    assert figures == {"png", "svg", "pdf"} and done.is_file("runs/r/benchmark/pairs.csv")


def test_a_row_is_that_of_the_plain_function(done: Location) -> None:
    from pipeline.evaluate.opened import opened
    from pipeline.evaluate.stored_parts import stored_parts
    from pipeline.select import strategy

    given = opened(_evaluation(done))
    for name, row in _rows(done).items():
        looked_at = row["strategy"] in ("hard-to-contrast", "consistency", "bald", "k-medoids", "typiclust")
        if looked_at and row["seed"] == 1:
            spec = TrialResult.from_row(row).spec
            parts = stored_parts(given, strategy(spec.strategy).needs)
            again = run_trial(spec, given.data, parts, given.resources).to_row()
            assert _apart_from_time(json.loads(json.dumps(again))) == _apart_from_time(row), name


def test_shared_parts_are_made_without_the_pools_labels(done: Location) -> None:
    """Each, made again where every label of the pool is hidden, but for the map that is made of them."""
    from dataclasses import replace

    from pipeline.evaluate import part_makers as make
    from pipeline.evaluate.opened import Opened

    blind = Opened(_evaluation(done), on_gpu=False)
    blind.train = replace(blind.train, labels=np.full(SIZE, -1, np.int32))
    made = {
        "features-test": make.features(blind, "test"),
        "copies": make.copies(blind),
        "clusters-features-15-0": make.clusters(blind, "features", 15, 0),
        "clusters-pixels-15-0": make.clusters(blind, "pixels", 15, 0),
        "clusters-fresh-15-0": make.fresh_clusters(blind, 15, 0),
        "scores-probe-0": make.scores(blind, 0, views=False),
        "scores-probe-0-views": make.scores(blind, 0, views=True),
    }
    kept = {name.split("/")[0] for name, _, _ in done.files("runs/r/evaluation")}
    by_seed = {re.sub(r"-1(-views)?$", r"-0\1", name) for name in kept if "fresh" not in name}
    assert by_seed - {"orders"} == {*made, "learnability-features"} - {"clusters-fresh-15-0"}
    for name, (arrays, _) in made.items():
        for column, array in blind.evaluation.arrays(name)[0].items():
            # Its worker had one thread, and sums of several differ in the last digits.
            assert np.allclose(array, arrays[column], atol=1e-4), (name, column)


def test_the_clusters_of_a_budget_are_made_once_for_all_who_ask(done: Location) -> None:
    """Of k-medoids and typiclust, plain and under uniform, which asks for more until each class has its part."""
    names = [name.split("/")[0] for name, _, _ in done.files("runs/r/evaluation") if name.endswith("/done.json")]
    fresh = [name for name in names if name.startswith("clusters-fresh-")]
    assert {"clusters-fresh-15-0", "clusters-fresh-15-1"} < {*fresh}
    tried = [name for name, _, _ in done.files("runs/r/evaluation") if "clusters-fresh-15-0/files-" in name]
    assert len(tried) == 1
    modified = {name: when for name, _, when in done.files("runs/r/evaluation")}
    flags = ["--strategies", "k-medoids,typiclust", "--budgets", "15", "--seeds", "2", "--uniform", "both"]
    rows = {name for name, row in _rows(done).items() if row["strategy"] in ("k-medoids", "typiclust")}
    for name in rows:
        done.delete_file(f"runs/r/benchmark/trials/{name}.json")
    assert _benchmark(done, *flags) == 0
    assert rows < _rows(done).keys()
    assert {name: when for name, _, when in done.files("runs/r/evaluation")} == modified, "all was there"


def test_rows_of_other_inputs_are_never_mixed(done: Location, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(done.path("runs/r/benchmark/settings.json"))
    kept = file.read_text()
    file.write_text(kept.replace('"weights": "', '"weights": "other'))
    assert _benchmark(done) == 2
    file.write_text(kept)
    error = capsys.readouterr().err
    assert "was begun with weights=other" in error and "start a new run" in error


def test_another_files_orders_do_not_pass_for_those_that_were_tried(
    done: Location, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "orders.npz", back=np.arange(SIZE), short=np.arange(15))
    flags = ["--strategies", "authors:back", "--budgets", "15", "--seeds", "1", "--uniform", "off"]
    assert _benchmark(done, *flags, "--orders", str(archive / "orders.npz")) == 0
    assert "the 1 trial is done" in capsys.readouterr().out
    assert _benchmark(done, *flags, "--orders", str(tmp_path / "orders.npz")) == 2
    assert "was begun with another orders than this" in capsys.readouterr().err


def test_trials_of_other_clusters_are_never_mixed(done: Location, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--strategies", "hard-to-contrast", "--budgets", "14", "--set"]
    assert _benchmark(done, *flags, "benchmark.n_init=3") == 2
    assert "was begun with cluster.n_init=2, now it is 3" in capsys.readouterr().err
    assert _benchmark(done, *flags, "cluster.space=umap2d") == 2
    assert "has cluster.space=features, now it is umap2d; an evaluation takes a run as it" in capsys.readouterr().err


# ---- what goes wrong ------------------------------------------------------------------------


def _evaluation(store: Location) -> Any:
    from pipeline.stages.evaluation import evaluation_of_run

    config, _ = configure(vars(parser("benchmark").parse_args(["--store", store.uri, "--run", "r"])))
    return evaluation_of_run(Run(config, store, say), config.benchmark)[0]


def _random(store: Location, folder: str, trials: int, run: Callable[..., Any]) -> Any:
    """Trials of "random", run by ``run``."""
    from pipeline.on_ray.trials import Trials

    specs = {spec.id: spec for spec in (TrialSpec("random", 12, seed) for seed in range(trials))}
    return Trials(_evaluation(store), f"runs/r/{folder}/trials", specs, run, lambda spec: [spec])


def test_trials_outlive_a_killed_worker_and_a_failure_and_run_at_once(store: Location, tmp_path: Path) -> None:
    from pipeline.config import TrialsConfig
    from pipeline.on_ray.trials import run_missing

    folder = str(tmp_path)

    # A function of this function goes to the workers whole: they cannot import a test's module.
    def run(spec: TrialSpec, *given: Any) -> TrialResult:
        if spec.seed == 1 and not os.path.exists(f"{folder}/killed"):
            open(f"{folder}/killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if spec.seed == 2:
            raise ValueError("a long story\nits last line")
        if spec.seed in (5, 6):  # each waits for the other: they must run at once
            open(f"{folder}/{spec.seed}", "w").close()
            deadline = time.monotonic() + 100
            while not os.path.exists(f"{folder}/{11 - spec.seed}"):
                assert time.monotonic() < deadline, "the other did not come"
                time.sleep(0.02)
        return run_trial(spec, *given)

    trials = _random(store, "hard-life", 8, run)
    bad = next(name for name, spec in trials.specs.items() if spec.seed == 2)
    failed = run_missing(trials, {}, TrialsConfig(), say)
    assert failed == store.read_json("runs/r/hard-life/failed.json") and failed.keys() == {bad}
    assert failed[bad].startswith("Traceback") and failed[bad].endswith("ValueError: a long story\nits last line")
    assert _rows(store, trials.folder).keys() == trials.specs.keys() - {bad}
    assert (tmp_path / "killed").exists()


def test_an_interrupted_benchmark_does_the_rest_and_more(store: Location, capsys: pytest.CaptureFixture[str]) -> None:
    trials = "runs/r/benchmark/trials"

    def there() -> dict[str, Any]:
        """Size and time of each row of this test."""
        return {name: facts for name, *facts in store.files(trials) if name.startswith("random-13-")}

    flags = ["--strategies", "random", "--budgets", "13", "--uniform", "off"]
    flags += ["--store", store.uri, "--run", "r", "--set"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "jobs.benchmark", *flags, "benchmark.random_seeds=100"]
    job = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 200
    while len(there()) < 3 and time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.02)
    # Killed, as a lost machine would be: an interrupt is ignored by what is started in the background of a script.
    os.killpg(job.pid, signal.SIGKILL)
    assert job.wait(60) != 0
    before = there()
    assert 3 <= len(before) < 100
    parts = store.files("runs/r/evaluation")

    assert main(["benchmark", *flags, "benchmark.random_seeds=110"]) == 0
    said = re.search(r"(\d+) trials to run, (\d+) done before", capsys.readouterr().out)
    assert said is not None
    to_run, done = int(said[1]), int(said[2])
    # One trial a core may outlive the killed job by a moment, and its row counts too.
    assert to_run + done == 110 and len(before) <= done <= len(before) + (os.cpu_count() or 1)
    assert before.items() <= there().items() and len(there()) == 110
    assert store.files("runs/r/evaluation") == parts
    assert main(["benchmark", *flags, "benchmark.random_seeds=105"]) == 0
    assert "all 105 trials are done" in capsys.readouterr().out


# ---- cycles ---------------------------------------------------------------------------------


def test_cycles_give_curves_and_their_correlation(store: Location) -> None:
    flags = ["--initial", "random,hard-to-contrast,entropy", "--later", "random,entropy", "--trials", "2"]
    sizes = ["cycles.start=10", "cycles.step=5", "cycles.end=20"]
    assert main(["cycles", "--store", store.uri, "--run", "r", *flags, "--set", *sizes]) == 0
    rows = _rows(store, "runs/r/cycles/trials")
    assert len(rows) == 3 * 2 * 2
    assert all([point["labelled"] for point in row["points"]] == [10, 15, 20] for row in rows.values())
    assert all(len(set(row["ids"])) == 20 for row in rows.values())
    lines = store.read_bytes("runs/r/cycles/points.csv").decode().splitlines()
    assert len(lines) == 1 + 12 * 3
    correlation = store.read_bytes("runs/r/cycles/correlation.md").decode()
    assert "| entropy |" in correlation and "0.81" in correlation, "the paper's value beside ours"
    assert "hard-to-contrast" in store.read_bytes("runs/r/cycles/curves.md").decode()
    assert store.read_table("runs/r/cycles/curves.parquet").num_rows == 12


def test_a_strategy_from_outside_runs_in_the_workers(done: Location) -> None:
    own = "tests.own_strategy:pick"
    assert _benchmark(done, "--strategies", own, "--budgets", "15", "--seeds", "1", "--uniform", "off") == 0
    (name,) = [name for name in _rows(done) if name.startswith("tests.own_strategy.pick-15-0-")]
    assert _rows(done)[name]["ids"] == list(range(15))
    assert own in done.read_bytes("runs/r/benchmark/auc.md").decode()
