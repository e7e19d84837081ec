"""What an evaluation works on: refused where nothing can be measured, and known by everything that decides a figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import LABEL_SCHEMA, PoolManifest
from pipeline.config import BenchmarkConfig, RunConfig, override
from pipeline.errors import InputError
from pipeline.evaluate.opened import Evaluation, claim_folder
from pipeline.progress import silent
from pipeline.results import Embedded, Ingested, Trained
from pipeline.run import Run
from pipeline.stages.evaluation import evaluation_of_run
from pipeline.storage import Location

CONFIG = override(RunConfig(), {"run": "r", "ingest.source": "digits"})
MANIFEST = PoolManifest(
    name="digits",
    source="digits",
    folder="pools/digits/files-0",
    size=4,
    height=8,
    width=8,
    channels=1,
    splits={"train": 4, "test": 3},
    classes=("a", "b"),
    duplicates=0,
    rejected=0,
    fingerprint="pool",
)


@pytest.fixture
def store(tmp_path: Path) -> Location:
    """A pool with labels, and the results of the stages that an evaluation builds on."""
    store = Location(str(tmp_path))
    _write_pool(store, MANIFEST)
    for split, size in MANIFEST.splits.items():
        _write_labels(store, split, [0, 1, 1, 0][:size])
    digests = [bytes([number]) * 32 for number in range(3)]
    store.write_table(f"{MANIFEST.folder}/test/0.parquet", pa.table({"sample_id": [0, 1, 2], "sha256": digests}))
    trained = Trained(
        folder="runs/r/pretrain", weights="w", dimensions=2, arch="resnet18", loss=1.0, fitted={}, notes=[]
    )
    store.write_json("runs/r/pretrain/done.json", trained.to_dict())
    embedded = Embedded(folder="runs/r/embeddings", fingerprint="e", size=4, dimensions=2)
    store.write_json("runs/r/embeddings/done.json", embedded.to_dict())
    return store


def _write_pool(store: Location, manifest: PoolManifest) -> None:
    store.write_json("pools/digits/done.json", Ingested(manifest=manifest).to_dict())


def _write_labels(store: Location, split: str, labels: list[int]) -> None:
    columns = [np.arange(len(labels)), np.array(labels, np.int32)]
    store.write_table(f"{MANIFEST.folder}/labels/{split}.parquet", pa.table(columns, schema=LABEL_SCHEMA))


def _of(store: Location, settings: BenchmarkConfig | None = None) -> Evaluation:
    run = Run(CONFIG, store, silent)
    return evaluation_of_run(run, settings or BenchmarkConfig())[0]


def test_labels_test_images_and_weights_are_the_inputs(store: Location) -> None:
    first = _of(store)
    assert _of(store) == first
    _write_labels(store, "test", [0, 1, 0])
    other = _of(store)
    assert other.images != first.images and other.weights == first.weights
    _write_labels(store, "test", [0, 1, 1])
    assert _of(store) == first
    # Row order in a file is of no consequence; what is in it is.
    digests = [bytes([number]) * 32 for number in (2, 1, 0)]
    store.write_table(f"{MANIFEST.folder}/test/0.parquet", pa.table({"sample_id": [2, 1, 0], "sha256": digests}))
    assert _of(store) == first
    store.write_table(f"{MANIFEST.folder}/test/0.parquet", pa.table({"sample_id": [0, 1, 2], "sha256": digests}))
    assert _of(store).images != first.images
    changed = {**store.read_json("runs/r/pretrain/done.json"), "weights": "w2"}
    store.write_json("runs/r/pretrain/done.json", changed)
    assert _of(store).weights == "w2"


def test_results_of_other_inputs_are_refused(store: Location) -> None:
    given = _of(store)
    claim_folder(given, "runs/r/benchmark")
    claim_folder(given, "runs/r/benchmark")
    with pytest.raises(InputError, match=r"was begun with weights=w, now it is w2; .+ start a new run with --run"):
        claim_folder(replace(given, weights="w2"), "runs/r/benchmark")


def test_networks_of_other_settings_are_refused_and_other_classifiers_are_not(store: Location) -> None:
    given = _of(store, BenchmarkConfig(classifier="paper", network="small"))
    claim_folder(given, "runs/r/benchmark")
    claim_folder(replace(given, classifier="resnet18", network=None), "runs/r/benchmark")
    claim_folder(replace(given, classifier="probe", network=None), "runs/r/benchmark")
    with pytest.raises(InputError, match="was begun with network=small, now it is csval"):
        claim_folder(replace(given, network="csval"), "runs/r/benchmark")
    weights = store.path("weights.safetensors")
    store.write_bytes("weights.safetensors", b"1")
    with pytest.raises(InputError, match="was begun with imagenet_weights=None, now it is "):
        claim_folder(replace(given, imagenet_weights=weights), "runs/r/benchmark")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"classes": None},
            "The pool 'digits' has no labels, and an evaluation measures with them; ingest it with --lab",
        ),
        ({"splits": {"train": 4, "val": 2}}, "The pool 'digits' has no test split, on which classifiers are judged; "),
    ],
)
def test_nothing_can_be_measured(changed: dict[str, object], words: str, store: Location) -> None:
    _write_pool(store, replace(MANIFEST, **changed))  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        _of(store)
    assert str(caught.value).startswith(words)
    assert "splits" not in changed or str(caught.value).endswith("--set ingest.held_out=FILE")


def test_classifiers_and_their_files(store: Location) -> None:
    with pytest.raises(InputError, match=r"no classifier .prob.; did you mean .probe."):
        _of(store, BenchmarkConfig(classifier="prob"))
    with pytest.raises(InputError, match=r"There is no file .+; check imagenet_weights"):
        _of(store, BenchmarkConfig(classifier="paper", imagenet_weights=store.path("none.safetensors")))


def test_what_an_evaluation_builds_on_comes_first(store: Location) -> None:
    store.delete_file("runs/r/embeddings/done.json")
    with pytest.raises(InputError, match=r"has no finished embeddings on .+; first: hacon embed --run r"):
        _of(store)
