"""Runs that train nothing: features of a frozen network, or as they are given, from images to page and benchmark."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.datasets import load_digits

import hacon
from jobs.cli import main
from pipeline.artifacts import Float32, by_sample_id, features_of
from pipeline.cluster.space import Space
from pipeline.embed import open_embedder
from pipeline.on_ray import write_features
from pipeline.publish import finished
from pipeline.results import Compared, Embedded, Queried
from pipeline.storage import Location
from tests.runs import files_of

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(600)]

SIZE, TEST, BUDGET = 120, 60, 8
FEW = ["--set", "report.umap_points=40", "report.random_draws=50", "cluster.k=6"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    digits = load_digits()
    images, labels = (digits.images * 15.9).astype(np.uint8), digits.target[:, None].astype(np.uint8)
    file = tmp_path_factory.mktemp("pool") / "digits.npz"
    splits = {"train": slice(0, SIZE), "test": slice(SIZE, SIZE + TEST)}
    arrays = {f"{name}_images": images[rows] for name, rows in splits.items()}
    np.savez(file, **arrays, **{f"{name}_labels": labels[rows] for name, rows in splits.items()})  # type: ignore[arg-type]
    return file


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return Location(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def frozen(store: Location, archive: Path) -> str:
    """A run without any flag on features."""
    flags = ["--pool", f"npz:{archive}", "--store", store.uri, "--budget", str(BUDGET)]
    assert main(["select", *flags, "--run", "frozen", *FEW]) == 0
    return "frozen"


def features(store: Location, run: str, stage: str) -> Float32:
    """(N, D) of a stage, in id order."""
    return features_of(by_sample_id(ds.dataset(store.path(files_of(store, run, stage))).to_table())["features"])


def query_of(store: Location, run: str) -> list[dict[str, str]]:
    """The rows of query.csv."""
    return list(csv.DictReader(io.StringIO(store.read_bytes(f"runs/{run}/query/query.csv").decode())))


def test_nothing_is_trained_and_the_features_are_the_networks(store: Location, frozen: str, archive: Path) -> None:
    assert not store.exists(f"runs/{frozen}/pretrain")
    embedded = finished(store, f"runs/{frozen}/embeddings", Embedded)
    assert embedded is not None and embedded.encoder is not None
    assert (embedded.source, embedded.encoder.side, embedded.dimensions) == ("imagenet", 96, 1280)
    embed = open_embedder(store.read_bytes(embedded.encoder.file), embedded.encoder, torch.device("cpu"))
    with np.load(archive) as arrays:
        expected = embed(arrays["train_images"][..., np.newaxis])
    np.testing.assert_allclose(features(store, frozen, "embeddings"), expected, atol=1e-5)


def test_the_query_is_that_of_the_components(store: Location, frozen: str) -> None:
    compared = finished(store, f"runs/{frozen}/components", Compared)
    assert compared is not None
    space = Space.from_bytes(store.read_bytes(compared.space_file))
    moved = space(features(store, frozen, "embeddings"))
    np.testing.assert_array_equal(features(store, frozen, "components"), moved)
    rows = query_of(store, frozen)
    ids = hacon.order(moved, BUDGET, strategy="greedy-medoids")
    assert [int(row["sample_id"]) for row in rows] == ids.tolist()
    assert {row["confidence"] for row in rows} == {""}
    queried = finished(store, f"runs/{frozen}/query", Queried)
    assert queried is not None and queried.order == "greedy-medoids" and "measured best" in queried.reason


def test_the_page_says_what_was_done_and_shows_no_confidence(store: Location, frozen: str) -> None:
    page = store.read_bytes(f"runs/{frozen}/report/report.html").decode()
    for words in ("EfficientNet-Lite0", "apache-2.0", "SHA-256", "principal components", "query.order=auto took"):
        assert words in page
    for words in ("Dataset map", "median confidence", "MoCo v2"):
        assert words not in page


def test_status_counts_only_the_stages_that_there_are(
    store: Location, frozen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--store", store.uri, "--run", frozen]) == 0
    said = capsys.readouterr().out
    assert "pretrain" not in said and "components" in said and "finished" in said


def test_actors_give_the_features_of_one_process(
    store: Location, frozen: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_features, "only_this_machine", lambda: False)
    flags = ["--pool", f"npz:{archive}", "--store", store.uri, "--run", "actors", "--budget", str(BUDGET)]
    assert main(["embed", *flags, *FEW]) == 0
    ours = features(store, "actors", "embeddings")
    np.testing.assert_allclose(ours, features(store, frozen, "embeddings"), atol=1e-5)


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_features_that_are_given(store: Location, archive: Path, tmp_path: Path, kind: str) -> None:
    """The query is ``hacon.order``'s; no network is looked at; the benchmark finds the test split's in the file."""
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=(rows, 16)).astype(np.float32) for name, rows in (("train", SIZE), ("test", TEST))}
    file = tmp_path / f"vectors.{kind}"
    if kind == "npz":
        np.savez(file, **given)  # type: ignore[arg-type]
    else:
        back = [(name, row) for name in ("test", "train") for row in range(len(given[name]))][::-1]
        columns = {"key": [str(row) for _, row in back], "split": [name for name, _ in back]}
        pq.write_table(pa.table({**columns, "vector": [given[name][row].tolist() for name, row in back]}), file)
    run = f"given-{kind}"
    flags = ["--store", store.uri, "--run", run]
    more = ["--pool", f"npz:{archive}", "--budget", str(BUDGET), "--features", str(file), *FEW, "embed.space=features"]
    assert main(["select", *flags, *more]) == 0
    unit = given["train"] / np.linalg.norm(given["train"], axis=1, keepdims=True)
    ids = hacon.order(unit, BUDGET, strategy="greedy-medoids")
    assert [int(row["sample_id"]) for row in query_of(store, run)] == ids.tolist()
    strategies = ["--strategies", "random,greedy-medoids", "--budgets", "12", "--seeds", "2"]
    assert main(["benchmark", *flags, *strategies, "--set", "benchmark.random_seeds=2"]) == 0
    assert "greedy-medoids" in store.read_bytes(f"runs/{run}/benchmark/accuracy.md").decode()


def test_the_league_of_two_runs(store: Location, frozen: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials on halves of the pool; strategies that ask for confidence are left out of "all" and refused by name."""
    flags = ["benchmark", "--store", store.uri, "--run", frozen, "--budgets", "10"]
    assert main([*flags, "--strategies", "hard-to-contrast"]) == 2
    assert "needs cluster" not in (said := capsys.readouterr().err) and "has not trained MoCo" in said
    half = ["--seeds", "3", "--set", "benchmark.share=0.5", "benchmark.random_seeds=6"]
    assert main([*flags, "--strategies", "random,greedy-medoids,continue-medoids", *half]) == 0
    assert main(["league", "--store", store.uri, "--runs", frozen]) == 0
    rows = list(csv.DictReader(io.StringIO(store.read_bytes("league/league.csv").decode())))
    assert {(row["strategy"], row["figure"], row["parts"]) for row in rows} == {
        (strategy, figure, "3")
        for strategy in ("greedy-medoids", "continue-medoids")
        for figure in ("auc_with_chance", "balanced_accuracy")
    }
    assert "Who beats chance" in store.read_bytes("league/league.html").decode()
    assert main(["league", "--store", store.uri, "--runs", "nobody"]) == 2
    assert "Run 'nobody' has no trials" in capsys.readouterr().err


def test_a_run_of_no_training_that_then_asks_for_confidence_trains(
    store: Location, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["pretrain.epochs=1", "pretrain.batch_size=32", "pretrain.queue_size=64", "pretrain.bn_splits=2"]
    flags = ["--pool", f"npz:{archive}", "--store", store.uri, "--run", "both", "--budget", str(BUDGET), *FEW, *tiny]
    assert main(["select", *flags, "query.order=hard-to-contrast"]) == 0
    queried = finished(store, "runs/both/query", Queried)
    assert queried is not None and queried.premise is not None
    assert "The premise of hard-to-contrast" in store.read_bytes("runs/both/report/report.html").decode()
    assert all(row["confidence"] or row["rank"] for row in query_of(store, "both"))


def test_what_is_labelled_already_is_not_chosen_again_and_counts_as_covered(
    store: Location, frozen: str, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the query of an earlier run, with a key that is in no pool."""
    first = store.read_bytes(f"runs/{frozen}/query/query.csv").decode()
    done = tmp_path / "done.csv"
    done.write_text(first + "9,999,nobody,0,,\n")
    flags = ["--pool", f"npz:{archive}", "--store", store.uri, "--run", "next", "--from", frozen, "--budget", "10"]
    assert main(["select", *flags, "--labelled", str(done), *FEW]) == 0
    said = capsys.readouterr().out
    assert f"{BUDGET} of {SIZE} images labelled already" in said and "1 id of" in said and "'nobody'" in said
    before = [int(row["sample_id"]) for row in query_of(store, frozen)]
    after = [int(row["sample_id"]) for row in query_of(store, "next")]
    moved = features(store, frozen, "components")
    expected = hacon.order(moved, 10, strategy="greedy-medoids", labelled=before)
    assert after == expected.tolist() and not {*before} & {*after}
    # One nested order: what follows the first query is what the longer query has after it.
    assert after == hacon.order(moved, BUDGET + 10, strategy="greedy-medoids")[BUDGET:].tolist()
    done.write_text(first.splitlines()[0] + "\n" + first.splitlines()[1] + "\n")
    assert main(["select", *flags, "--labelled", str(done), *FEW]) == 2
    assert "was begun with another labelled than this" in capsys.readouterr().err
    assert main(["select", *flags, "--labelled", str(tmp_path / "gone.csv"), *FEW]) == 2
    assert "There is no file" in capsys.readouterr().err
