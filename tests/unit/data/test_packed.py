"""Parquet files and tar shards of real images, against the same images read as a folder."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from pipeline.config import IngestConfig
from pipeline.data.catalogue import checked, look, open_images, pool_name
from pipeline.data.sources import Decoded, Source
from pipeline.errors import InputError

SOME = 120


def opened(source: str, **settings: Any) -> Source:
    return open_images(checked(IngestConfig(source=source, image_size=32, **settings)))


def whole(source: Source, rows: int = 7) -> Decoded:
    """All pieces as one."""
    pieces = source.pieces("train", rows)
    assert [start for start, _ in pieces] == [0, *(stop for _, stop in pieces[:-1])]
    assert all(start % rows == 0 for start, _ in pieces)
    found = [each for start, stop in pieces for each in source.read("train", start, stop, rows, source.shape())]
    seen = [{*each.position.tolist(), *(position for position, _ in each.rejected)} for each in found]
    assert sorted(position for some in seen for position in some) == list(range(source.splits["train"]))
    return Decoded(
        np.concatenate([each.position for each in found]),
        [key for each in found for key in each.key],
        [digest for each in found for digest in each.sha256],
        np.concatenate([each.images for each in found]),
        [row for each in found for row in each.rejected],
        [row for each in found for row in each.paged],
    )


def why(source: Source) -> dict[str, str]:
    """Key -> reason of what is set aside."""
    rows = whole(source).rejected
    return dict(
        zip(source.keys("train", np.array([at for at, _ in rows], np.int64)), [r for _, r in rows], strict=True)
    )


@pytest.fixture(scope="module")
def photographs() -> dict[str, bytes]:
    """Name -> a JPEG, cut from the two photographs that scikit-learn brings; the names are in order."""
    found: dict[str, bytes] = {}
    for name in ("china.jpg", "flower.jpg"):
        whole_image = Image.fromarray(load_sample_image(name))
        for top in range(0, 420, 70):
            for left in range(0, 600, 60):
                file = io.BytesIO()
                whole_image.crop((left, top, left + 60, top + 70)).save(file, "JPEG")
                found[f"{len(found):04d}"] = file.getvalue()
    assert len({*found.values()}) == len(found) == SOME
    return found


@pytest.fixture
def folder(photographs: dict[str, bytes], tmp_path: Path) -> Source:
    """The same images as files."""
    (tmp_path / "files").mkdir()
    for name, data in photographs.items():
        (tmp_path / "files" / f"{name}.jpg").write_bytes(data)
    return opened(f"folder:{tmp_path / 'files'}")


def write(path: Path, images: Any, group: int = 50, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, **columns}), path, row_group_size=group)


def members(path: Path, files: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def put(root: Path, bucket: str) -> None:
    for file in root.rglob("*"):
        if file.is_file():
            boto3.client("s3").upload_file(str(file), bucket, str(file.relative_to(root)))


def same(packed: Source, folder: Source, suffix: str = ".jpg") -> None:
    found, expected = whole(packed), whole(folder)
    assert found.rejected == []
    assert [f"{key}{suffix}" for key in found.key] == expected.key
    assert found.sha256 == expected.sha256
    assert packed.shape() == folder.shape()
    assert (found.images == expected.images).all()


# ---- Parquet -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "place"), [("bytes", "local"), ("hugging face", "local"), ("hugging face", "s3")])
def test_encoded_images_are_those_of_a_folder(
    kind: str, place: str, photographs: dict[str, bytes], folder: Source, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = tmp_path / "packed"
    for number, part in enumerate(np.array_split(np.arange(SOME), 3)):
        data = [photographs[f"{at:04d}"] for at in part]
        images = data if kind == "bytes" else [{"bytes": each, "path": "x.jpg"} for each in data]
        write(root / "data" / f"train-{number}.parquet", images, 17, id=[f"{at:04d}" for at in part])
    where = str(root)
    if place == "s3":
        bucket = request.getfixturevalue("make_bucket")()
        put(root, bucket)
        where = f"s3://{bucket}"
    same(opened(f"parquet:{where}", key_column="id"), folder)
    same(opened(f"parquet:{where}/data/*.parquet", key_column="id"), folder)
    one = opened(f"parquet:{where}/data/train-1.parquet", key_column="id")
    assert one.splits == {"train": 40} and whole(one).key[0] == "0040"


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 3), (6, 4, 3)])
def test_arrays_of_every_kind_are_the_very_pixels(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, *shape), np.uint8)
    flat = pixels.reshape(30, -1)
    rows = pa.array(list(flat), pa.list_(pa.uint8()))
    kinds = {
        "list": rows,
        "large": rows.cast(pa.large_list(pa.uint8())),
        "fixed": pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1]),
        "binary": pa.array([row.tobytes() for row in flat], pa.binary(flat.shape[1])),
        "nested": pa.array(pixels.tolist(), {2: pa.list_(pa.list_(pa.uint8())),
                                             3: pa.list_(pa.list_(pa.list_(pa.uint8())))}[len(shape)]),
        "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
    }  # fmt: skip
    for kind, images in kinds.items():
        write(tmp_path / f"{kind}.parquet", images, 8, key=list(range(30)))
        given = shape if shape[0] != shape[1] and kind not in ("nested", "tensor") else ()
        source = dataclasses.replace(
            opened(f"parquet:{tmp_path / kind}.parquet", image_shape=given),  # type: ignore[type-var]
            size=None,
        )
        held = [np.asarray(each) for each in source.contents(0, 30)]  # type: ignore[attr-defined]
        assert (np.stack(held) == pixels).all(), kind
        assert source.shape()[2] == (1 if len(shape) == 2 else 3)
        assert source.keys("train", np.array([29])) == ["29"]


def test_digits_in_parquet_are_the_digits(tmp_path: Path) -> None:
    digits = opened("digits")
    expected = whole(dataclasses.replace(digits, size=None), 2000)  # type: ignore[type-var]
    labels = digits.labels("train")
    assert labels is not None
    write(tmp_path / "digits.parquet", list(expected.images.reshape(-1, 64)), 500, key=expected.key, label=labels)
    source = opened(f"parquet:{tmp_path / 'digits.parquet'}", channels="grey")
    found = whole(source, 100)
    assert found.sha256 == expected.sha256
    assert (found.images == whole(digits, 2000).images).all()
    assert source.classes == digits.classes
    numbers = source.labels("train")
    assert numbers is not None and (numbers == labels).all()


def test_what_cannot_be_used_is_set_aside_with_its_reason(photographs: dict[str, bytes], tmp_path: Path) -> None:
    good = list(photographs.values())
    images = [*good[:6], None, b"", good[6][: len(good[6]) // 2], b"id,finding", good[7]]
    keys = ["a", "b", None, "", "a", "f", "g", "h", "i", "j", "k"]
    write(tmp_path / "some.parquet", images, 4, key=pa.array(keys, pa.string()))
    source = opened(f"parquet:{tmp_path / 'some.parquet'}")
    assert whole(source).key == ["a", "b", "f", "k"]
    reasons = why(source)
    assert reasons["some.parquet#row=2"] == reasons["some.parquet#row=3"] == "has no key"
    assert reasons["some.parquet#row=4"] == "its key is that of some.parquet#row=0"
    assert "null" in reasons["g"] and reasons["h"] == "the file is empty"
    assert reasons["i"].startswith("damaged") and reasons["j"].startswith("not a JPEG")
    assert len(reasons) == 7
    lists = [[1] * 9, [1] * 8, [1] * 8 + [None]]
    write(tmp_path / "lists.parquet", pa.array(lists, pa.list_(pa.uint8())), key=["a", "b", "c"])
    reasons = why(opened(f"parquet:{tmp_path / 'lists.parquet'}"))
    assert reasons["b"] == "8 values are no square; say its ingest.image_shape" and "null" in reasons["c"]
    reasons = why(opened(f"parquet:{tmp_path / 'lists.parquet'}", image_shape=(2, 4)))
    assert "not 2 x 4" in reasons["a"] and "b" not in reasons


def test_a_damaged_row_group_is_set_aside_and_the_others_are_read(
    photographs: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "some.parquet"
    write(path, list(photographs.values()), 30, key=list(photographs))
    place = pq.read_metadata(path).row_group(2).column(0)
    data = bytearray(path.read_bytes())
    at = place.dictionary_page_offset or place.data_page_offset
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    source = opened(f"parquet:{path}")
    reasons = why(source)
    assert sorted(reasons) == [f"{at:04d}" for at in range(60, 90)]
    assert {*reasons.values()} == {"its row group is damaged"}
    assert len(whole(source).key) == SOME - 30


def test_labels_of_every_kind(photographs: dict[str, bytes], tmp_path: Path) -> None:
    images, keys = list(photographs.values())[:4], ["a", "b", "c", "d"]
    path, source = tmp_path / "some.parquet", f"parquet:{tmp_path / 'some.parquet'}"

    def named(column: str = "label") -> list[str | None]:
        found = opened(source, label_column=column)
        numbers, classes = found.labels("train"), found.classes
        assert numbers is not None and classes is not None
        return [None if number < 0 else classes[number] for number in numbers.tolist()]

    kinds = {
        "text": (["x", None, "NA", "y"], ["x", None, None, "y"]),
        "numbers": (pa.array([10, 2, None, 2], pa.int64()), ["10", "2", None, "2"]),
        "dictionary": (pa.array(["x", "y", None, "y"]).dictionary_encode(), ["x", "y", None, "y"]),
    }
    for column, expected in kinds.values():
        write(path, images, key=keys, label=column)
        assert named() == expected
        write(path, images, key=keys, finding=column)
        assert named("finding") == expected
        assert opened(source).labels("train") is None
    # Hugging Face's datasets keep the names of whole numbers in the file's metadata.
    table = pa.table({"image": images, "key": keys, "label": [1, 0, -1, 1]})
    features = {"info": {"features": {"label": {"names": ["benign", "malignant"], "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    assert named() == ["malignant", "benign", None, "malignant"]


def test_a_parquet_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    path, source = tmp_path / "some.parquet", f"parquet:{tmp_path / 'some.parquet'}"

    def fails(words: str, **settings: Any) -> None:
        with pytest.raises(InputError, match=words):
            opened(source, **settings)

    fails("There is no .parquet file at|There is nothing at")
    path.write_bytes(b"PAR1 but no more")
    fails("is no Parquet file, or a damaged one")
    write(path, [b"a", b"b"], id=["x", "y"])
    fails(r"has no column 'key'; choose --key-column among image, id")
    fails(r"has no column 'pixels'; choose --image-column among image, id", image_column="pixels", key_column="id")
    fails(r"has no column 'finding'; choose --label-column", key_column="id", label_column="finding")
    fails(r"Column 'id' of .* holds string values, which are no images", image_column="id", key_column="id")
    fails(r"Column 'image' of .* holds binary values; choose one of text or whole numbers", key_column="image")
    write(path, [[1, 2], [3, 4]], id=["x", "y"])
    fails(r"holds lists of int64 values; convert them to uint8", key_column="id")
    write(path, [b"a", b"b", b"c", b"d"], patient=[1, 1, 1, 1])
    fails(r"Column 'patient' names 1 of 4 images; choose one that names each", key_column="patient")
    write(path, pa.array([], pa.binary()), id=pa.array([], pa.string()))
    fails("There is no row in", key_column="id")
    write(path, [b"a"], key=["x"])
    write(tmp_path / "more.parquet", [[1]], key=["x"])
    with pytest.raises(InputError, match=r"more.parquet' holds lists of int64"):
        opened(f"parquet:{tmp_path}")
    write(tmp_path / "more.parquet", pa.array([[1]], pa.list_(pa.uint8())), key=["x"])
    with pytest.raises(InputError, match=r"is list<element: uint8> in '.*' and binary in '.*'; write both alike"):
        opened(f"parquet:{tmp_path}")


def test_settings_of_packed_pools(tmp_path: Path) -> None:
    for source, settings, words in (
        ("digits", {"image_column": "x"}, r"image_column is for parquet:PATH and webdataset:PATH, not for 'digits'"),
        (f"webdataset:{tmp_path}", {"image_shape": (2, 2)}, r"image_shape is for parquet:PATH, not"),
        (f"parquet:{tmp_path}", {"image_shape": (2,)}, r"give HEIGHT,WIDTH"),
        (f"parquet:{tmp_path}", {"image_shape": (2, 2, 2)}, r"give HEIGHT,WIDTH"),
        (f"parquet:{tmp_path}", {"labels": "folder"}, r"brings its own labels"),
        (f"parquet:{tmp_path}", {"include": ("*",)}, r"include is for folder:PATH"),
        (f"webdataset:{tmp_path}", {"key_column": "id"}, r"leave --key-column out"),
        ("parquet", {}, r"should read parquet:PATH"),
    ):
        with pytest.raises(InputError, match=words):
            open_images(checked(IngestConfig(source=source, **settings)))
    with pytest.raises(InputError, match=r"There is nothing at"):
        look(IngestConfig(source=f"parquet:{tmp_path / 'none.parquet'}"))
    assert pool_name(IngestConfig(source="parquet:s3://bucket/Skin/a.parquet")) == "a-224px"
    assert pool_name(IngestConfig(source="webdataset:shards/skin-0.tar", image_size=64)) == "skin-0-64px"


# ---- tar shards --------------------------------------------------------------------------


def shards(root: Path, photographs: dict[str, bytes]) -> None:
    for number, part in enumerate(np.array_split(np.arange(SOME), 3)):
        files = [
            (f"./{at:04d}.{suffix}", photographs[f"{at:04d}"] if suffix == "jpg" else str(at % 3).encode())
            for at in part
            for suffix in ("cls", "jpg")
        ]
        members(root / f"train-{number}.tar", files)


@pytest.mark.parametrize("place", ["local", "s3"])
def test_shards_are_a_folder(
    place: str, photographs: dict[str, bytes], folder: Source, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = tmp_path / "packed"
    shards(root, photographs)
    where = str(root)
    if place == "s3":
        bucket = request.getfixturevalue("make_bucket")()
        put(root, bucket)
        where = f"s3://{bucket}"
    source = opened(f"webdataset:{where}")
    same(source, folder)
    assert source.notes == () and source.classes == ("0", "1", "2")
    labels = source.labels("train")
    assert labels is not None and labels.tolist() == [at % 3 for at in range(SOME)]
    assert opened(f"webdataset:{where}/train-[01].tar").splits == {"train": 80}
    assert whole(opened(f"webdataset:{where}/train-1.tar")).key[0] == "0040"


def test_the_state_is_that_of_the_files(photographs: dict[str, bytes], tmp_path: Path) -> None:
    shards(tmp_path, photographs)
    write(tmp_path / "some.parquet", list(photographs.values()), key=list(photographs))
    for source, file in ((f"webdataset:{tmp_path}", "train-1.tar"), (f"parquet:{tmp_path}", "some.parquet")):
        first = opened(source).state
        assert opened(source).state == first
        status = (tmp_path / file).stat()
        os.utime(tmp_path / file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert opened(source).state != first
        assert opened(source, no_label=("9",)).state != opened(source).state
    single = f"parquet:{tmp_path / 'some.parquet'}"
    assert opened(single).state == opened(f"parquet:{tmp_path}").state


@pytest.mark.parametrize("cut", [512 * 4 + 100, -1, 0.5, 0.9])
def test_a_torn_shard_gives_what_lies_before_the_tear(
    cut: float, photographs: dict[str, bytes], tmp_path: Path
) -> None:
    shards(tmp_path, photographs)
    path = tmp_path / "train-1.tar"
    with tarfile.open(path) as tar:
        images = [info for info in tar.getmembers() if info.name.endswith(".jpg")]
        last = images[-1]
    # Within the first image, before the last byte of the last, and anywhere.
    at = {-1: last.offset_data + last.size - 1}.get(int(cut), int(cut * path.stat().st_size) if cut < 1 else int(cut))
    path.write_bytes(path.read_bytes()[:at])
    source = opened(f"webdataset:{tmp_path}")
    kept = [info.name[2:6] for info in images if info.offset_data + info.size <= at]
    found = whole(source)
    assert found.key == [*(f"{n:04d}" for n in range(40)), *kept, *(f"{n:04d}" for n in range(80, 120))]
    reasons = why(source)
    assert "what follows is lost" in reasons["train-1.tar"] or "not read" in reasons["train-1.tar"]
    cut_off = [info.name[2:6] for info in images if info.offset_data <= at < info.offset_data + info.size]
    assert [reasons[key] for key in cut_off] == ["the shard ends within it"] * len(cut_off)
    assert {*reasons} - {"train-1.tar", *cut_off} <= {images[min(len(kept), 39)].name[2:6]}


def test_a_damaged_header_ends_a_shard_with_a_reason(photographs: dict[str, bytes], tmp_path: Path) -> None:
    shards(tmp_path, photographs)
    path = tmp_path / "train-0.tar"
    with tarfile.open(path) as tar:
        tenth = tar.getmembers()[20]
    data = bytearray(path.read_bytes())
    data[tenth.offset : tenth.offset + 200] = os.urandom(200)
    path.write_bytes(data)
    source = opened(f"webdataset:{tmp_path}")
    assert whole(source).key == [f"{n:04d}" for n in [*range(10), *range(40, SOME)]]
    assert why(source) == {"train-0.tar": f"the shard is damaged after {tenth.offset} bytes; what follows is not read"}
    path.write_bytes(b"this is no tar")
    assert why(opened(f"webdataset:{tmp_path}"))["train-0.tar"].startswith("is no tar file, or a damaged one")


def test_samples_of_shards(photographs: dict[str, bytes], tmp_path: Path) -> None:
    image = list(photographs.values())
    about = json.dumps({"label": "x", "finding": "f", "age": 3}).encode()
    members(
        tmp_path / "a.tar",
        [("one.jpg", image[0]), ("one.json", about), ("two.txt", b"no image"), ("three.left.jpg", image[1]),
         ("three.right.JPG", image[2]), ("._one.jpg", b"mac"), ("dir/four.jpg", image[3]), ("one.jpg", image[4]),
         ("README", b"text"), ("five.jpg", b"broken")],
    )  # fmt: skip
    members(tmp_path / "b.tar", [("one.jpg", image[5]), ("six.jpg", image[6]), ("six.cls", b"y\n")])
    source = opened(f"webdataset:{tmp_path}")
    found = whole(source)
    assert found.key == ["a.tar/one", "dir/four", "b.tar/one", "six"]
    reasons = why(source)
    assert reasons.pop("five").startswith("not a JPEG")
    assert reasons == {
        "two": "has no image among its members (.txt)",
        "three": "has several images (.left.jpg, .right.jpg); choose one, as with --image-column left.jpg",
        "a.tar#sample=4": "its key is that of a.tar#sample=0",
    }
    assert any("of no sample" in note and note.endswith("2") for note in source.notes)
    labels = source.labels("train")
    assert labels is not None and source.classes == ("x", "y")
    assert labels[[0, -1]].tolist() == [0, 1]
    assert opened(f"webdataset:{tmp_path}", label_column="finding").classes == ("f",)
    assert whole(opened(f"webdataset:{tmp_path}", image_column=".left.jpg")).key == ["three"]


def test_a_tar_without_its_end_mark_is_said(photographs: dict[str, bytes], tmp_path: Path) -> None:
    path = members(tmp_path / "a.tar", [("one.jpg", photographs["0000"])])
    with tarfile.open(path) as tar:
        end = tar.getmembers()[0].offset_data + -(-tar.getmembers()[0].size // 512) * 512
    path.write_bytes(path.read_bytes()[:end])
    source = opened(f"webdataset:{tmp_path}")
    assert whole(source).key == ["one"]
    assert source.notes == ("shards without the mark that ends a tar, perhaps cut after a member: 1",)


def test_a_large_shard_is_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads a few of many images; counts the bytes that were asked for."""
    import pipeline.data.shards as module

    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(noise, "PNG")
    path = members(tmp_path / "a.tar", [(f"{n:04d}.png", noise.getvalue() + bytes([n])) for n in range(250)])
    assert path.stat().st_size > 30_000_000
    asked = [0]

    def counting(location: Any, name: str) -> Any:
        class Raw(io.FileIO):
            def readinto(self, buffer: Any) -> int:
                asked[0] += len(buffer)
                return super().readinto(buffer) or 0

        return io.BufferedReader(Raw(location.path(name)), 1 << 16)

    monkeypatch.setattr(module, "_opened", counting)
    source = opened(f"webdataset:{tmp_path}")
    assert asked[0] < path.stat().st_size * 0.7  # headers, with what a buffer reads beyond
    asked[0] = 0
    assert len(next(source.read("train", 240, 245, 5, (32, 32, 3))).key) == 5
    assert asked[0] < 2 << 20
