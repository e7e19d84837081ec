"""Folders of real image files: what is listed, what is read, what is rejected, and their labels."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto.s3.exceptions import S3AccessDeniedError
from moto.s3.responses import S3Response
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.data.catalogue import checked, open_images
from pipeline.data.decode import decode
from pipeline.data.sources import Decoded, Source
from pipeline.errors import InputError
from pipeline.storage import Location

MANY = 10**8


def save(path: Path, shade: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (20, 10), (shade, 0, 0) if mode == "RGB" else shade).save(path)


def opened(path: Path | str, **settings: Any) -> Source:
    return open_images(checked(IngestConfig(source=f"folder:{path}", image_size=8, **settings)))


def read_all(source: Source, rows: int = 3) -> list[Decoded]:
    shape = source.shape()
    return [
        piece
        for start, stop in source.pieces("train", rows)
        for piece in source.read("train", start, stop, rows, shape)
    ]


def keys_of(source: Source) -> list[str]:
    return source.keys("train", np.arange(source.splits["train"]))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """b/2.PNG, b/10.jpg, a.tif, c/d/e.bmp, and what is no image."""
    for name, shade in (("b/2.PNG", 20), ("b/10.jpg", 100), ("a.tif", 1), ("c/d/e.bmp", 9)):
        save(tmp_path / name, shade)
    for name in ("list.csv", "b/notes.txt", "b/png", "x.heic"):
        (tmp_path / name).write_text("text")
    return tmp_path


def test_a_list_is_one_chunk_and_may_be_of_any_length(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.listing._BATCH", 3)
    listing = opened(scans).listing
    assert listing["key"].to_pylist() == ["a.tif", "b/10.jpg", "b/2.PNG", "c/d/e.bmp"]
    assert listing["key"].num_chunks == 1 and str(listing["key"].type) == "large_string"


def test_images_are_found_below_and_sorted_by_key(scans: Path) -> None:
    source = opened(scans)
    assert source.splits == {"train": 4}
    assert source.keys("train", np.arange(4)) == ["a.tif", "b/10.jpg", "b/2.PNG", "c/d/e.bmp"]
    assert [piece.key for piece in read_all(source)] == [["a.tif", "b/10.jpg", "b/2.PNG"], ["c/d/e.bmp"]]
    (first, second) = read_all(source)
    assert first.position.tolist() == [0, 1, 2]
    assert second.position.tolist() == [3]
    assert first.images[0, 0, 0].tolist() == [1, 0, 0]
    assert first.sha256[0] == hashlib.sha256((scans / "a.tif").read_bytes()).digest()


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    inside, outside = tmp_path / "pool", tmp_path / "mount"
    save(inside / "a.png", 1)
    save(outside / "b.png", 2)
    (inside / "linked").symlink_to(outside)
    (inside / "circle").symlink_to(inside)
    (inside / "broken.png").symlink_to(tmp_path / "nothing")
    source = opened(inside)
    assert source.keys("train", np.arange(2)) == ["a.png", "linked/b.png"]


def test_s3_gives_what_the_folder_gives(scans: Path, make_bucket: Callable[[], str]) -> None:
    bucket, client = make_bucket(), boto3.client("s3")
    for path in scans.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), bucket, f"pre/scans/{path.relative_to(scans)}")
    client.put_object(Bucket=bucket, Key="pre/scans2/other.png", Body=b"")
    client.put_object(Bucket=bucket, Key="pre/scans/empty.png/", Body=b"")  # how consoles make folders
    local, remote = opened(scans), opened(f"s3://{bucket}/pre/scans")
    assert remote.keys("train", np.arange(4)) == local.keys("train", np.arange(4))
    for ours, theirs in zip(read_all(local), read_all(remote), strict=True):
        assert (ours.key, ours.sha256) == (theirs.key, theirs.sha256)
        assert (ours.images == theirs.images).all()


def test_bad_files_are_rejected_with_a_reason_and_the_rest_goes_on(scans: Path, bomb_png: bytes) -> None:
    (scans / "b" / "3.png").write_text("patient,finding")
    (scans / "b" / "4.png").write_bytes(b"")
    (scans / "b" / "5.png").write_bytes(bomb_png)
    (scans / "b" / "6.jpg").write_bytes((scans / "b" / "10.jpg").read_bytes()[:-60])
    source = opened(scans)
    pieces = read_all(source)
    assert [key for piece in pieces for key in piece.key] == ["a.tif", "b/10.jpg", "b/2.PNG", "c/d/e.bmp"]
    rejected = {source.keys("train", np.array([at]))[0]: why for piece in pieces for at, why in piece.rejected}
    assert rejected.keys() == {"b/3.png", "b/4.png", "b/5.png", "b/6.jpg"}
    assert "not a JPEG" in rejected["b/3.png"]
    assert "empty" in rejected["b/4.png"]
    assert "20000 x 20000" in rejected["b/5.png"]
    assert "damaged" in rejected["b/6.jpg"]
    images = np.concatenate([piece.images for piece in pieces])
    assert (images[2] == decode((scans / "b" / "2.PNG").read_bytes(), 8, 3, MANY)).all()


def test_files_that_vanish_or_are_huge_are_rejected(scans: Path) -> None:
    with (scans / "b" / "2.PNG").open("r+b") as stream:
        stream.truncate(5000)  # more than 8 bytes for each of 200 + 400 pixels
    source = opened(scans, max_pixels=600)
    (scans / "a.tif").unlink()
    rejected = [why for piece in read_all(source) for _, why in piece.rejected]
    assert rejected == [
        "the file has gone since it was listed",
        "5000 bytes are more than any image of ingest.max_pixels = 600",
    ]


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def test_objects_that_cannot_be_read_are_rejected(
    make_bucket: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, client = make_bucket(), boto3.client("s3")
    kinds = {"cold.png": "GLACIER", "deep.png": "DEEP_ARCHIVE"}
    names = ["cold.png", "deep.png", "empty.png", "gone.png", "secret.png", "/slash.png", "a//b.png", "./dot.png"]
    for number, name in enumerate([*names, "fine 1+%20#?.png", "\u00fc.png"]):
        body = b"" if name == "empty.png" else png(number)
        client.put_object(Bucket=bucket, Key=f"p/{name}", Body=body, StorageClass=kinds.get(name, "STANDARD"))
    source = opened(f"s3://{bucket}/p")
    client.delete_object(Bucket=bucket, Key="p/gone.png")

    def refusing(answer: Callable[..., Any]) -> Callable[..., Any]:
        def answered(self: Any, *args: Any, **kwargs: Any) -> Any:
            if "secret" in self.uri:
                raise S3AccessDeniedError()
            return answer(self, *args, **kwargs)

        return answered

    for verb in ("get_object", "head_object"):
        monkeypatch.setattr(S3Response, verb, refusing(getattr(S3Response, verb)))
    pieces = read_all(source)
    assert [key for piece in pieces for key in piece.key] == ["fine 1+%20#?.png", "\u00fc.png"]
    reasons = {source.keys("train", np.array([at]))[0]: why for piece in pieces for at, why in piece.rejected}
    assert reasons == {
        "cold.png": "is archived (storage class GLACIER); restore it first",
        "deep.png": "is archived (storage class DEEP_ARCHIVE); restore it first",
        "empty.png": "the file is empty",
        "gone.png": "the file has gone since it was listed",
        "secret.png": "may not be read (S3 answers 403, AccessDenied)",
        "/slash.png": f"its name cannot be used: Empty path component in path {bucket}/p//slash.png",
        "a//b.png": f"its name cannot be used: Empty path component in path {bucket}/p/a//b.png",
        "./dot.png": "its name cannot be used: '.' or '..' as a folder",
    }


def test_an_outage_rejects_no_images(make_bucket: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = make_bucket()
    boto3.client("s3").put_object(Bucket=bucket, Key="p/1.png", Body=png(1))
    source = opened(f"s3://{bucket}/p")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr("pipeline.storage._TRIES", 1)
    with pytest.raises(OSError, match=r"(?i)connect|network"):
        read_all(dataclasses.replace(source, location=Location(f"s3://{bucket}/p"), channels=3))


def test_a_bad_disk_block_costs_one_image(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, read = opened(scans), Location.read_bytes

    def failing(self: Location, name: str) -> bytes:
        if name == "a.tif":
            raise OSError(errno.EIO, "Input/output error")
        return read(self, name)

    monkeypatch.setattr(Location, "read_bytes", failing)
    rejected = [why for piece in read_all(source) for _, why in piece.rejected]
    assert rejected == ["cannot be read ([Errno 5] Input/output error)"]


@pytest.mark.parametrize("mount_point", [True, False])
def test_a_machine_that_does_not_see_the_folder_rejects_no_images(scans: Path, mount_point: bool) -> None:
    """Else a pool is what the nodes with the mount have read of it."""
    source = opened(scans)
    shutil.rmtree(scans)
    if mount_point:
        scans.mkdir()
    for look in (lambda: read_all(source), source.shape):
        with pytest.raises(InputError, match=r"listed with \d+ images, and on the machine '.*' they are not there"):
            look()


def test_a_pool_is_grey_where_all_of_it_is(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", number, "L")
    assert opened(tmp_path).shape() == (8, 8, 1)
    assert opened(tmp_path, channels="rgb").shape() == (8, 8, 3)
    (tmp_path / "broken.png").write_bytes(b"")
    assert opened(tmp_path).shape() == (8, 8, 1)
    save(tmp_path / "5.png", 200)  # red
    assert opened(tmp_path).shape() == (8, 8, 3)
    assert opened(tmp_path, channels="grey").shape() == (8, 8, 1)


def test_state_follows_names_sizes_and_times(scans: Path) -> None:
    state = opened(scans).state
    assert opened(scans).state == state
    (scans / "notes2.txt").write_text("no image")
    assert opened(scans).state == state
    os.utime(scans / "a.tif", ns=(1, 1))
    assert opened(scans).state != state


@pytest.mark.parametrize(
    ("path", "message"),
    [("nothing", "nothing at"), ("empty", r"no image \(.jpg, .*\) in or below"), ("file.png", "is a file")],
)
def test_folders_without_images(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    (tmp_path / "empty" / "sub" / "notes.txt").write_text("text")
    save(tmp_path / "file.png", 1)
    with pytest.raises(InputError, match=message):
        opened(tmp_path / path)


def test_missing_bucket_and_credentials(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no bucket 'not-there'"):
        opened("s3://not-there/scans")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it has found credentials before
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InputError, match="No AWS credentials"):
        opened("s3://not-there/scans")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")
    with pytest.raises(InputError, match=r"no image .*: names that are not in UTF-8, to be renamed \(1\)"):
        opened(tmp_path)
    save(tmp_path / "b.png", 1)
    source = opened(tmp_path)
    assert keys_of(source) == ["b.png"]
    assert source.notes == ("passed over: names that are not in UTF-8, to be renamed (1)",)


# ---- labels ------------------------------------------------------------------------------


def labels_of(source: Source) -> dict[str, str]:
    numbers, classes = source.labels("train"), source.classes
    assert numbers is not None
    assert classes is not None
    assert list(classes) == sorted(classes)
    keys = source.keys("train", np.arange(len(numbers)))
    return {key: classes[number] for key, number in zip(keys, numbers, strict=True) if number >= 0}


def test_labels_from_folders(scans: Path) -> None:
    source = opened(scans, labels="folder")
    assert labels_of(source) == {"b/10.jpg": "b", "b/2.PNG": "b", "c/d/e.bmp": "d"}
    others = "files that are no images to us are left aside: 1 .csv, 1 .heic, 1 .txt, 1 other"
    assert source.notes == (others, "1 of 4 images have no label")


@pytest.mark.parametrize(
    "rows",
    ["a.tif,x\nb/10.jpg,y\nb/2.PNG,x\nc/d/e.bmp,z", "a.tif,x\n10.jpg,y\n2.PNG,x\ne.bmp,z", "a,x\n10,y\n2,x\ne,z\n77,w"],
    ids=["path", "file name", "stem"],
)
def test_labels_from_csv(scans: Path, rows: str) -> None:
    (scans / "list.csv").write_text(
        "\ufefflesion,image_id,dx,age\n" + "".join(f"L,{row},30\n" for row in rows.split("\n"))
    )
    source = opened(scans, labels=str(scans / "list.csv"), key_column="image_id", label_column="dx")
    assert labels_of(source) == {"a.tif": "x", "b/10.jpg": "y", "b/2.PNG": "x", "c/d/e.bmp": "z"}


def test_labels_of_some_images_and_quoted_ones(scans: Path) -> None:
    (scans / "list.csv").write_text('key,label\na,"cyst, large"\n10,\n"not there",z\n')
    source = opened(scans, labels=str(scans / "list.csv"))
    assert labels_of(source) == {"a.tif": "cyst, large"}
    assert source.classes == ("cyst, large",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,dx\na,1\n", "no column 'key'; choose --key-column among image_id, dx"),
        ("image_id;dx\na;1\n", "no column 'key'; .* image_id;dx"),
        ("key,dx\na,1\n", "no column 'label'; choose --label-column among key, dx"),
        ("", "no column 'key'; .* none"),
        ("key,label\nq,1\n", r"None of 4 images \(such as 'a.tif'\) .* \(such as 'q'\).*: key, label"),
        ("key,label\na,1\na,2\n", "gives 'a' the labels '1' and '2'"),
        ("key,label\na,1,1\n", "is no CSV file"),
        ("key,label\na,1\n".encode("utf-16"), "is no CSV file .*zero bytes"),
        (b"PK\x03\x04 a workbook \r\x00", "is no CSV file"),
        (b'key,"' + b"x" * 200_000, "is no CSV file|no column"),
    ],
)
def test_labels_that_do_not_fit(scans: Path, text: str | bytes, message: str) -> None:
    (scans / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        opened(scans, labels=str(scans / "list.csv"))


def test_what_is_left_aside_is_counted_without_a_word_of_its_name(scans: Path) -> None:
    for name in ("Doe.John", "1.2.840.113619.55", "x.DCM"):
        (scans / name).write_bytes(b"DICM")
    assert opened(scans).notes == (
        "files that are no images to us are left aside: 1 .csv, 1 .dcm, 1 .heic, 1 .txt, 3 other",
    )


@pytest.mark.parametrize(
    "text", ["key;label\na;x,y\n10;z\n", "key\tlabel\na\tx,y\n10\tz\n", 'key,label\ra,"x,y"\r10,z\r']
)
def test_labels_as_spreadsheets_write_them(scans: Path, text: str) -> None:
    (scans / "list.csv").write_bytes(text.encode())
    assert labels_of(opened(scans, labels=str(scans / "list.csv"))) == {"a.tif": "x,y", "b/10.jpg": "z"}


def test_labels_that_are_nowhere(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labels file"):
        opened(scans, labels=str(scans / "missing.csv"))
    save(tmp_path / "flat" / "a.png", 1)
    with pytest.raises(InputError, match="one folder a class"):
        opened(tmp_path / "flat", labels="folder")


def test_a_labels_file_is_also_looked_for_among_the_images(
    scans: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scans / "HAM_metadata.csv").write_text("image_id,dx\na,nv\n10,mel\n")
    monkeypatch.chdir(elsewhere := tmp_path_factory.mktemp("elsewhere"))
    settings = {"labels": "HAM_metadata.csv", "key_column": "image_id", "label_column": "dx"}
    assert labels_of(opened(scans, **settings)) == {"a.tif": "nv", "b/10.jpg": "mel"}
    (elsewhere / "HAM_metadata.csv").write_text("image_id,dx\na,bcc\n")
    assert labels_of(opened(scans, **settings)) == {"a.tif": "bcc"}, "the path as given comes first"


def test_labels_csv_is_part_of_the_state(scans: Path) -> None:
    (scans / "list.csv").write_text("key,label\na,1\n")
    before = opened(scans, labels=str(scans / "list.csv")).state
    (scans / "list.csv").write_text("key,label\na,2\n")
    assert opened(scans, labels=str(scans / "list.csv")).state != before


def test_real_jpegs(shared: Path) -> None:
    source = opened(shared / "data" / "blood_jpeg", labels="folder")
    assert source.splits == {"train": 1200}
    numbers = source.labels("train")
    assert numbers is not None
    assert np.bincount(numbers).tolist() == [150] * 8
    (piece,) = source.read("train", 0, 5, 5, (8, 8, 3))
    assert len(piece.key) == 5
    for key, image in zip(piece.key, piece.images, strict=True):
        opened_by_hand = Image.open(shared / "data" / "blood_jpeg" / key)
        width, height = opened_by_hand.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = opened_by_hand.crop((left, top, left + side, top + side)).resize((8, 8), Image.Resampling.BOX)
        assert np.abs(image.astype(int) - np.asarray(square)).mean() < 6
