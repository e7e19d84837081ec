"""Ingest on a local Ray, from files and archives to the pool that a reader sees."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.artifacts import PoolManifest
from pipeline.config import IngestConfig, RunConfig
from pipeline.data.decode import decode
from pipeline.data.pool import PoolReader
from pipeline.errors import InputError
from pipeline.run import Run
from pipeline.stages.ingest import ingest
from pipeline.storage import Location, open_store
from tests.reading import all_images

pytestmark = pytest.mark.usefixtures("local_ray")


def run(store: Location, source: str, **settings: Any) -> tuple[PoolManifest, list[str]]:
    said: list[str] = []
    return ingest(Run(RunConfig(ingest=IngestConfig(source=source, **settings)), store, said.append)), said


def files(store: Location, manifest: PoolManifest) -> list[str]:
    return [name for name, _, _ in store.files(manifest.folder)]


@pytest.fixture
def store(tmp_path: Path) -> Location:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """90 small images in 3 folders; one is a copy, four are broken."""
    rng = np.random.default_rng(0)
    for number in range(90):
        path = tmp_path / "scans" / f"class-{number % 3}" / f"{number:03d}.{('png', 'jpg', 'bmp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(path)
    root = tmp_path / "scans"
    shutil.copy(root / "class-0" / "003.png", root / "class-2" / "copy.png")
    (root / "class-0" / "text.png").write_text("id,finding")
    (root / "class-1" / "empty.jpg").write_bytes(b"")
    (root / "class-1" / "004a.jpg").write_bytes((root / "class-1" / "004.jpg").read_bytes()[:600])
    return root


def test_a_folder_becomes_a_pool(store: Location, scans: Path, bomb_png: bytes) -> None:
    (scans / "class-2" / "bomb.png").write_bytes(bomb_png)
    manifest, said = run(store, f"folder:{scans}", image_size=16, labels="folder", rows_per_file=40)
    keys = sorted(str(path.relative_to(scans)) for path in scans.rglob("*.*") if path.stem.isdigit())
    assert len(keys) == 90
    reader = PoolReader(store, manifest)
    # The ids: dense, in key order, over what is left.
    assert reader.keys(np.arange(90)).to_pylist() == keys
    expected = np.stack([decode((scans / key).read_bytes(), 16, 3, 10**8) for key in keys])
    assert (all_images(reader) == expected).all()
    labels = reader.labels()
    assert labels is not None
    assert manifest.classes == ("class-0", "class-1", "class-2")
    assert [manifest.classes[label] for label in labels] == [key.split("/")[0] for key in keys]
    assert (manifest.size, manifest.splits) == (90, {"train": 90})
    assert (manifest.duplicates, manifest.rejected) == (1, 4)
    assert any("scans-16px" in line and "rejected.csv" in line for line in said)
    rows = list(csv.reader(io.StringIO(store.read_bytes(f"{manifest.folder}/rejected.csv").decode())))
    assert rows[0] == ["key", "reason"]
    assert [row[0] for row in rows[1:]] == [
        "class-0/text.png", "class-1/004a.jpg", "class-1/empty.jpg", "class-2/bomb.png"
    ]  # fmt: skip
    assert "20000 x 20000" in rows[4][1]
    assert store.read_bytes(f"{manifest.folder}/duplicates.csv").decode().splitlines() == [
        "key,duplicate_of",
        "class-2/copy.png,class-0/003.png",
    ]
    catalogue = {row["key"]: row for row in store.read_table(manifest.files.catalogue).to_pylist()}
    assert len(catalogue) == 95 and catalogue["class-2/copy.png"]["sample_id"] is None
    assert catalogue["class-2/copy.png"]["sha256"] == catalogue["class-0/003.png"]["sha256"]
    assert [catalogue[key]["sample_id"] for key in keys] == list(range(90))
    assert catalogue["class-1/empty.jpg"]["sha256"] is None and catalogue["class-1/empty.jpg"]["reason"]
    for key, row in catalogue.items():
        status = (scans / key).stat()
        assert (row["size"], row["time"]) == (status.st_size, status.st_mtime_ns)
    # Nothing is left of the staging; labels lie apart.
    assert files(store, manifest) == [
        "catalogue.parquet",
        "duplicates.csv",
        "labels/train.parquet",
        "rejected.csv",
        "train/part-00000.parquet",
        "train/part-00001.parquet",
        "train/part-00002.parquet",
    ]


def test_a_second_run_keeps_the_first_ones(store: Location, scans: Path) -> None:
    first, _ = run(store, f"folder:{scans}", image_size=16)
    second, said = run(store, f"folder:{scans}", image_size=16)
    assert second == first
    assert any("kept what is there" in line for line in said)
    assert len(list(Path(store.path("pools/scans-16px")).glob("files-*"))) == 1
    Image.new("L", (9, 9)).save(scans / "new.png")
    with pytest.raises(
        InputError, match=r"was begun with other files: since then some were added.*--set ingest.name=scans-16px-2"
    ):
        run(store, f"folder:{scans}", image_size=16)
    said = []
    taken_over = RunConfig(ingest=IngestConfig(source=f"folder:{scans}", image_size=16), reuse="another")
    assert ingest(Run(taken_over, store, said.append)) == first
    assert any("has changed since" in line and "--set ingest.name=scans-16px-2" in line for line in said)
    (scans / "new.png").unlink()
    with pytest.raises(InputError, match="channels=auto, now it is grey"):
        run(store, f"folder:{scans}", image_size=16, channels="grey")
    assert run(store, f"folder:{scans}", image_size=16, name="other")[0].name == "other"


def test_pages_are_counted_or_read(store: Location, tmp_path: Path) -> None:
    stack = [Image.new("L", (9, 9), shade) for shade in (10, 20, 30)]
    (tmp_path / "scans").mkdir()
    stack[0].save(tmp_path / "scans" / "a.tif", save_all=True, append_images=stack[1:])
    stack[0].save(tmp_path / "scans" / "b.gif", save_all=True, append_images=stack[1:])
    stack[1].save(tmp_path / "scans" / "c.png")
    (tmp_path / "labels.csv").write_text("key,label\na.tif,x\nc,y\n")
    source, labels = f"folder:{tmp_path}/scans", str(tmp_path / "labels.csv")
    first, said = run(store, source, image_size=9, labels=labels)
    assert first.size == 3
    assert "files with several pages or frames, read for the first only: 2; ingest.pages=all reads all" in said
    every, said = run(store, source, image_size=9, labels=labels, pages="all", name="every")
    reader = PoolReader(store, every)
    keys = [f"{file}#page={page}" for file in ("a.tif", "b.gif") for page in (1, 2, 3)] + ["c.png"]
    assert reader.keys(np.arange(7)).to_pylist() == keys
    assert all_images(reader)[:, 0, 0, 0].tolist() == [10, 20, 30, 10, 20, 30, 20]
    found = reader.labels()
    assert found is not None and found.tolist() == [0, 0, 0, -1, -1, -1, 1]
    assert not any("several pages" in line for line in said)
    with pytest.raises(InputError, match="was begun with other files"):
        run(store, source, image_size=9, labels=labels, pages="all", name=first.name)


def test_the_original_stays_and_its_hidden_copy_goes(store: Location, scans: Path) -> None:
    hidden = scans / ".ipynb_checkpoints" / "000-checkpoint.png"
    hidden.parent.mkdir()
    shutil.copy(scans / "class-0" / "000.png", hidden)
    manifest, said = run(store, f"folder:{scans}", image_size=16)
    assert (manifest.size, manifest.duplicates) == (90, 1)
    assert any("(1 .ipynb_checkpoints), 1 of them images" in line for line in said)
    every, _ = run(store, f"folder:{scans}", image_size=16, hidden=True, name="every")
    assert (every.size, every.fingerprint) == (90, manifest.fingerprint)
    rows = store.read_bytes(f"{every.folder}/duplicates.csv").decode().splitlines()
    assert rows[-1] == ".ipynb_checkpoints/000-checkpoint.png,class-0/000.png"


def test_objects_that_cannot_be_read_cost_no_job(store: Location, scans: Path, make_bucket: Callable[[], str]) -> None:
    bucket, client = make_bucket(), boto3.client("s3")
    for number, path in enumerate(sorted((scans / "class-0").glob("0*.png"))):
        kind = "GLACIER" if number % 3 == 0 else "STANDARD"
        client.put_object(Bucket=bucket, Key=f"p/{path.name}", Body=path.read_bytes(), StorageClass=kind)
    client.put_object(Bucket=bucket, Key="p//double.png", Body=b"x")
    manifest, _ = run(store, f"folder:s3://{bucket}/p", image_size=16)
    assert (manifest.size, manifest.rejected) == (20, 11)
    text = store.read_bytes(f"{manifest.folder}/rejected.csv").decode()
    assert text.count("is archived (storage class GLACIER); restore it first") == 10
    assert "/double.png,its name cannot be used" in text


def test_s3_to_s3_is_the_same_pool(store: Location, scans: Path, make_bucket: Callable[[], str]) -> None:
    bucket, client = make_bucket(), boto3.client("s3")
    for path in scans.rglob("*.*"):
        client.upload_file(str(path), bucket, f"in/scans/{path.relative_to(scans)}")
    remote = open_store(f"s3://{bucket}/out")
    ours, _ = run(store, f"folder:{scans}", image_size=16, labels="folder")
    theirs, _ = run(remote, f"folder:s3://{bucket}/in/scans", image_size=16, labels="folder")
    assert theirs.fingerprint == ours.fingerprint
    assert files(remote, theirs) == files(store, ours)
    readers = PoolReader(store, ours), PoolReader(remote, theirs)
    assert (all_images(readers[0]) == all_images(readers[1])).all()
    ids = np.array([89, 5, 5, 60])
    assert readers[0].keys(ids).equals(readers[1].keys(ids))


def test_ids_and_pixels_do_not_depend_on_the_pieces(
    store: Location, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(store, f"folder:{scans}", image_size=16, name="whole", rows_per_file=1000)
    monkeypatch.setattr("pipeline.on_ray.pool_maker._LEAST_PIECE", 1)
    monkeypatch.setattr("pipeline.on_ray.pool_maker._PIECES_PER_CPU", 20)
    small, _ = run(store, f"folder:{scans}", image_size=16, name="small", rows_per_file=7)
    assert small.fingerprint == whole.fingerprint
    assert (all_images(PoolReader(store, small)) == all_images(PoolReader(store, whole))).all()
    assert len(files(store, small)) > len(files(store, whole))


def test_archives_keep_their_splits(store: Location, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        f"{split}_images": rng.integers(0, 256, (n, 9, 9), np.uint8)
        for split, n in (("train", 60), ("val", 5), ("test", 7))
    }
    arrays["train_images"][30] = arrays["train_images"][2]
    arrays["test_images"][3] = arrays["test_images"][2]
    arrays |= {f"{split}_labels": rng.integers(0, 2, (n, 1)) for split, n in (("train", 60), ("val", 5), ("test", 7))}
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    manifest, _ = run(store, f"npz:{tmp_path}/set.npz")
    assert (manifest.name, manifest.classes) == ("set", ("0", "1"))
    assert (manifest.height, manifest.width, manifest.channels) == (9, 9, 1)
    assert manifest.splits == {"train": 59, "val": 5, "test": 7}
    assert (manifest.duplicates, manifest.rejected) == (1, 0)
    reader, kept = PoolReader(store, manifest), [i for i in range(60) if i != 30]
    assert reader.keys(np.arange(59)).to_pylist() == [str(i) for i in kept]
    for split, rows in (("train", kept), ("val", slice(None)), ("test", slice(None))):
        assert (all_images(reader, split)[..., 0] == arrays[f"{split}_images"][rows]).all()
        labels = reader.labels(split)
        assert labels is not None
        assert (labels == arrays[f"{split}_labels"][rows, 0]).all()


def test_labels_are_not_in_the_pools_files(store: Location) -> None:
    manifest, _ = run(store, "digits")
    table = pq.read_table(store.path(f"{manifest.folder}/train"))
    assert table.column_names == ["sample_id", "key", "sha256", "image"]
    assert table["sample_id"].to_pylist() == list(range(1797))
    assert pq.read_schema(store.path(f"{manifest.folder}/labels/train.parquet")).names == ["sample_id", "label"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nonsense:x", "no known kind"),
        ("folder:missing", "There is nothing at"),
        ("npz:missing.npz", "There is no file"),
        ("folder:s3://not-there/x", "no bucket 'not-there'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(store: Location, source: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        run(store, source)
    assert type(raised.value) is InputError
    assert "\n" not in str(raised.value)
    assert not store.exists("pools")


def test_a_pool_of_nothing_but_rejects(store: Location, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.png").write_text("text")
    with pytest.raises(InputError, match=r"None of 1 image can be read \(first: 'a.png': not a JPEG"):
        run(store, f"folder:{tmp_path}/scans")
    # The name is not taken: with the images mended it works.
    Image.new("L", (9, 9)).save(tmp_path / "scans" / "a.png")
    assert run(store, f"folder:{tmp_path}/scans", image_size=8)[0].size == 1


def test_damage_met_by_a_worker_is_bad_input(store: Location, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, train_images=np.random.default_rng(0).integers(0, 256, (200, 8, 8), np.uint8))
    data = bytearray(path.read_bytes())
    data[4000:4100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged") as raised:
        run(store, f"npz:{path}")
    assert type(raised.value) is InputError


def test_two_at_once_publish_one(store: Location, scans: Path) -> None:
    """The second finds the first's result when it wants to publish, and takes its own files away."""
    kept, _ = run(store, f"folder:{scans}", image_size=16)
    done = store.read_bytes("pools/scans-16px/done.json")
    Path(store.path("pools/scans-16px/done.json")).unlink()

    def other_finishes_first(line: str) -> None:
        if line.startswith("90 images"):
            store.write_bytes("pools/scans-16px/done.json", done)

    config = RunConfig(ingest=IngestConfig(source=f"folder:{scans}", image_size=16))
    assert ingest(Run(config, store, other_finishes_first)) == kept
    assert [path.name for path in Path(store.path("pools/scans-16px")).glob("files-*")] == [Path(kept.folder).name]


def test_real_jpegs(store: Location, shared: Path, tmp_path: Path) -> None:
    for folder in ("platelet", "ig"):
        (tmp_path / "few" / folder).mkdir(parents=True)
        for path in sorted((shared / "data" / "blood_jpeg" / folder).iterdir())[:20]:
            (tmp_path / "few" / folder / path.name).symlink_to(path)
    manifest, _ = run(store, f"folder:{tmp_path}/few", image_size=64, labels="folder")
    assert (manifest.size, manifest.height, manifest.channels, manifest.rejected) == (40, 64, 3, 0)
    labels = PoolReader(store, manifest).labels()
    assert labels is not None
    assert np.bincount(labels).tolist() == [20, 20]


def test_real_arrays_come_back_whole(store: Location, shared: Path) -> None:
    path = shared / "data" / "breastmnist.npz"
    manifest, _ = run(store, f"npz:{path}")
    assert manifest.splits == {"train": 546, "val": 78, "test": 156}
    assert (all_images(PoolReader(store, manifest))[..., 0] == np.load(path)["train_images"]).all()
