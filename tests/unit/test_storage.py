"""The store: the same verbs with the same outcome on a directory and on S3, and clear words where it cannot be."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 (as Ray sends it to a worker; nothing is read from storage so)
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from pipeline import storage
from pipeline.errors import InputError
from pipeline.storage import Location, open_source, open_store

# ---- the same on a directory and on S3 ---------------------------------------------------


def test_what_is_written_is_read(place: Location) -> None:
    data = bytes(range(256)) * 300
    place.write_bytes("a/b/file.bin", data)
    assert place.read_bytes("a/b/file.bin") == data
    with place.open("a/b/file.bin") as file:
        file.seek(255)
        assert file.read(3) == b"\xff\x00\x01"
    place.write_bytes("a/b/file.bin", b"short")
    assert place.read_bytes("a/b/file.bin") == b"short"
    place.write_bytes("empty", b"")
    assert place.read_bytes("empty") == b""


def test_json_and_yaml(place: Location) -> None:
    value = {"z": [1, 2.5, None], "a": {"ü": "naïve"}}
    place.write_json("x/value.json", value)
    assert place.read_json("x/value.json") == value
    assert place.read_bytes("x/value.json").endswith(b"}\n")
    place.write_bytes("x/value.yaml", "a: {ü: naïve}\nz: [1, 2.5, null]\n".encode())
    assert place.read_yaml("x/value.yaml") == value


def test_what_is_not_there(place: Location) -> None:
    assert place.read_json("no/such.json") is None and place.read_yaml("no/such.yaml") is None
    assert not place.exists("no") and not place.is_file("no/such.json")
    assert place.files("no") == []
    with pytest.raises(FileNotFoundError):
        place.read_bytes("no/such.bin")


def test_exists_tells_of_files_and_folders(place: Location) -> None:
    place.write_bytes("folder/file", b"x")
    assert place.exists() and place.exists("folder") and place.exists("folder/file")
    assert place.is_file("folder/file") and not place.is_file("folder")
    assert not place.exists("fold")


def test_files_and_walk_list_all_below_with_size_and_time(place: Location) -> None:
    place.make_folder("in/empty")
    for name in ("in/b.txt", "in/a/1.txt", "in/a/ü b.txt", "outside.txt", "in2/c.txt"):
        place.write_bytes(name, name.encode())
    listed = place.files("in")
    assert [(name, size) for name, size, _ in listed] == [("a/1.txt", 10), ("a/ü b.txt", 13), ("b.txt", 8)]
    assert [name for name, _, _ in place.files()] == [
        "in/a/1.txt",
        "in/a/ü b.txt",
        "in/b.txt",
        "in2/c.txt",
        "outside.txt",
    ]
    now = listed[0][2] / 1e9
    assert 1.6e9 < now < 4e9
    walked = sorted(place.walk("in"))
    assert [entry[:2] for entry in walked] == [entry[:2] for entry in listed]
    # S3 tells the time in whole seconds, pyarrow and boto3 alike.
    assert all(abs(one[2] - other[2]) < 1e9 for one, other in zip(walked, listed, strict=True))


def test_what_a_killed_writer_left_is_no_file(tmp_path: Path) -> None:
    store, table = Location(str(tmp_path)), pa.table({"sample_id": [1]})
    with store.writing("tables/a.parquet") as path:
        pq.write_table(table, path)
        (begun,) = (tmp_path / "tables").glob(".*")
    begun.write_bytes(b"")  # as it stays where nothing could clean up
    assert [name for name, _, _ in store.files("tables")] == ["a.parquet"]
    assert list(store.batches("tables", ["sample_id"], 10)) == [table] and store.read_table("tables") == table


def test_tables(place: Location) -> None:
    table = pa.table({"sample_id": pa.array([3, 1, 2]), "key": ["c", "a", "b"], "wide": [b"x" * 50] * 3})
    place.write_table("one/part-0.parquet", table)
    assert place.read_table("one/part-0.parquet").equals(table)
    assert place.read_table("one/part-0.parquet", columns=["key"]).column_names == ["key"]
    assert pq.read_table(pa.BufferReader(place.read_bytes("one/part-0.parquet"))).equals(table)


def test_a_folder_of_tables_is_one_table(place: Location) -> None:
    for part in range(3):
        place.write_table(f"many/part-{part}.parquet", pa.table({"sample_id": [10 * part, 10 * part + 1]}))
    ids = place.read_table("many")["sample_id"].to_pylist()
    assert sorted(ids) == [0, 1, 10, 11, 20, 21]


def test_delete_folder_takes_all_below_and_nothing_else(place: Location) -> None:
    for name in ("in/a/1", "in/b", "in2/c"):
        place.write_bytes(name, b"x")
    place.delete_folder("in")
    place.delete_folder("in")
    assert not place.exists("in") and [name for name, _, _ in place.files()] == ["in2/c"]


def test_put_if_absent_keeps_the_first(place: Location) -> None:
    assert place.put_if_absent("run/settings.json", {"by": "first"})
    assert not place.put_if_absent("run/settings.json", {"by": "second"})
    assert place.read_json("run/settings.json") == {"by": "first"}
    assert [name for name, _, _ in place.files()] == ["run/settings.json"]


def test_of_many_threads_that_publish_exactly_one_wins(place: Location) -> None:
    writers = 8
    place.exists()  # connected, so that all of them come at the same time
    for round_ in range(5):
        gate = threading.Barrier(writers)

        def publish(writer: int, name: str = f"{round_}/done.json", gate: threading.Barrier = gate) -> bool:
            gate.wait()
            return place.put_if_absent(name, {"writer": writer, "padding": "x" * 10_000})

        with ThreadPoolExecutor(writers) as pool:
            won = list(pool.map(publish, range(writers)))
        assert sum(won) == 1
        assert place.read_json(f"{round_}/done.json")["writer"] == won.index(True)
    assert len(place.files()) == 5


def test_a_reader_sees_the_old_or_the_new_file_but_never_a_part(place: Location) -> None:
    versions = [bytes([number]) * 200_000 for number in (1, 2)]
    place.write_bytes("file", versions[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for version in versions:
                place.write_bytes("file", version)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [place.read_bytes("file") in versions for _ in range(30)]
    finally:
        stop.set()
        writer.join()
    assert all(seen)


def test_files_by_a_local_path_appear_whole_or_not_at_all(place: Location) -> None:
    with place.writing("state/x.bin") as path:
        path.write_bytes(b"first")
        assert not place.is_file("state/x.bin")
    with pytest.raises(ZeroDivisionError), place.writing("state/x.bin") as path:
        path.write_bytes(b"half of the sec") / 0
    with place.reading("state/x.bin") as path:
        assert path.read_bytes() == b"first"
    with place.writing("state/x.bin") as path:
        path.write_bytes(b"second")
    assert place.read_bytes("state/x.bin") == b"second"
    assert [name for name, _, _ in place.files()] == ["state/x.bin"], "and nothing temporary stays"


def test_a_location_travels_before_and_after_its_first_use(place: Location) -> None:
    fresh = pickle.loads(pickle.dumps(place))
    place.write_bytes("file", b"x")
    used = pickle.loads(pickle.dumps(place))
    assert fresh == place == used
    assert fresh.read_bytes("file") == used.read_bytes("file") == b"x"
    # A connection that travels has pyarrow's own number of tries.
    assert "filesystem" not in pickle.loads(pickle.dumps(place)).__dict__


def test_opening_a_store_leaves_nothing_behind(place: Location) -> None:
    store = open_store(place.uri)
    assert store.root == place.root and store.files() == []
    store.write_bytes("file", b"x")
    assert open_source(place.uri).read_bytes("file") == b"x"


# ---- only on a directory -----------------------------------------------------------------


def test_a_relative_path_stays_where_it_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("results")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.write_bytes("file", b"x")
    pickle.loads(pickle.dumps(store)).write_bytes("other", b"x")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["file", "other"]


def test_places_are_shown_as_a_person_would_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location("out").show("a/b") == "out/a/b"
    assert Location(str(tmp_path.parent)).show("a") == f"{tmp_path.parent}/a"
    assert Location(f"file://{tmp_path}").root == str(tmp_path)
    assert Location("s3://bucket/prefix/").show("a/b") == "s3://bucket/prefix/a/b"
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert Location("~/out").root == str(tmp_path / "me" / "out")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Location(str(tmp_path))
    store.write_bytes("file", b"old")

    def full(handle: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        store.write_bytes("file", b"new")
    assert store.read_bytes("file") == b"old"
    assert [name for name, _, _ in store.files()] == ["file"]


def test_walk_follows_links_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"x")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    assert [name for name, _, _ in Location(str(tmp_path / "in")).walk()] == ["file"]


# ---- only on S3 --------------------------------------------------------------------------


def test_a_folder_marker_is_no_file(make_bucket: Callable[[], str]) -> None:
    bucket = make_bucket()
    for key in ("scans/", "scans/sub/", "scans/a.png"):
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"")
    place = Location(f"s3://{bucket}/scans")
    assert [name for name, _, _ in place.walk()] == [name for name, _, _ in place.files()] == ["a.png"]


def test_walk_reads_page_after_page(make_bucket: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    place = Location(f"s3://{make_bucket()}")
    for number in range(25):
        place.write_bytes(f"in/{number:02d}", b"x")
    assert boto3.client("s3").list_objects_v2(Bucket=place.root)["IsTruncated"]
    assert [name for name, _, _ in place.walk("in")] == [f"{number:02d}" for number in range(25)]
    assert len(list(place.walk())) == 25


class BusyS3(BaseHTTPRequestHandler):
    """Has one file of five bytes, for which it is too busy as often as ``left`` says."""

    left: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"image")

    def _answer(self, body: bytes) -> None:
        busy = BusyS3.left > 0
        BusyS3.left -= busy
        self.send_response(503 if busy else 200)
        self.send_header("Content-Length", "0" if busy else "5")
        self.end_headers()
        if not busy:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_busy_store_is_asked_again_by_workers_too(monkeypatch: pytest.MonkeyPatch, s3_endpoint: str) -> None:
    """More often than the three times of pyarrow's own, which it goes back to when a file system is sent anywhere."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BusyS3)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    here = Location("s3://bucket/scans")
    assert here.read_bytes("a.png") == b"image"  # connected, when it is sent
    BusyS3.left = 3
    assert pickle.loads(pickle.dumps(here)).read_bytes("a.png") == b"image"
    assert BusyS3.left == 0
    server.shutdown()
    server.server_close()


class ConflictingS3:
    """Answers a conditional put as S3 does while another one of the same key is under way."""

    def __init__(self, *statuses: int) -> None:
        self.statuses: Iterator[int] = iter(statuses)
        self.calls = 0

    def put_object(self, **put: object) -> None:
        assert put["IfNoneMatch"] == "*"
        self.calls += 1
        status = next(self.statuses)
        if status != 200:
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {}}, "PutObject")


@pytest.mark.parametrize(("statuses", "won"), [((409, 409, 412), False), ((409, 200), True), ((412,), False)])
def test_a_conflict_is_settled_before_anyone_is_told_no(
    statuses: tuple[int, ...], won: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = ConflictingS3(*statuses)
    monkeypatch.setattr(storage, "_s3", lambda: s3)
    monkeypatch.setattr(storage, "_CONFLICT_SECONDS", 0.0)
    assert Location("s3://bucket/prefix").put_if_absent("done.json", {}) is won
    assert s3.calls == len(statuses)


def test_another_failure_of_a_conditional_put_is_no_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_s3", lambda: ConflictingS3(500))
    with pytest.raises(ClientError):
        Location("s3://bucket/prefix").put_if_absent("done.json", {})


# ---- what cannot be opened ---------------------------------------------------------------


def sentence(open_: Callable[[str], Location], uri: str) -> str:
    """What ``open_`` says, which is one sentence on one line."""
    with pytest.raises(InputError) as caught:
        open_(uri)
    text = str(caught.value)
    assert "\n" not in text and uri in text and ";" in text and text[-1] == "."
    return text


@pytest.fixture
def new_session(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """boto3 keeps the credentials that it has found once: make it look again."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return monkeypatch


@pytest.mark.parametrize("open_", [open_store, open_source])
def test_bucket_missing(open_: Callable[[str], Location], s3_endpoint: str) -> None:
    text = sentence(open_, "s3://no-such-bucket/prefix")
    assert text == ("There is no bucket 'no-such-bucket' ('s3://no-such-bucket/prefix'); create it, or check its name.")


@pytest.mark.parametrize("open_", [open_store, open_source])
def test_no_credentials(
    open_: Callable[[str], Location], new_session: pytest.MonkeyPatch, make_bucket: Callable[[], str]
) -> None:
    bucket = make_bucket()
    new_session.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        new_session.delenv(name)
    text = sentence(open_, f"s3://{bucket}/prefix")
    assert text.startswith("No AWS credentials were found for 's3://") and "AWS_PROFILE" in text


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_SECRET_ACCESS_KEY", None), ("AWS_PROFILE", "night-shift")], ids=["half", "profile"]
)
def test_half_credentials_and_unknown_profiles(name: str, value: str | None, new_session: pytest.MonkeyPatch) -> None:
    new_session.delenv(name, raising=False)
    if value is not None:
        new_session.setenv(name, value)
    text = sentence(open_store, "s3://bucket/prefix")
    assert text.startswith("No AWS credentials were found") and (value or name) in text


@pytest.mark.parametrize("uri", ["s3://", "s3:///prefix", "s3://Not_A!Bucket/prefix"])
def test_no_bucket_in_the_address(uri: str, s3_endpoint: str) -> None:
    assert sentence(open_store, uri).endswith("names no valid bucket; write s3://bucket/prefix.")


@pytest.mark.parametrize("endpoint", ["nonsense", "http://127.0.0.1:1"])
def test_an_endpoint_that_is_none(endpoint: str, new_session: pytest.MonkeyPatch) -> None:
    new_session.setenv("AWS_ENDPOINT_URL", endpoint)
    new_session.setenv("AWS_MAX_ATTEMPTS", "1")
    text = sentence(open_store, "s3://bucket/prefix")
    assert "cannot be reached" in text and endpoint in text and "AWS_ENDPOINT_URL" in text


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_bucket_that_refuses(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def head_bucket(self, **_: object) -> None:
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {}}, "HeadBucket")

    monkeypatch.setattr(storage, "_s3", Refusing)
    assert f"refuses these credentials (HTTP {status}); check the role's policy" in sentence(
        lambda uri: open_store(f"s3://{uri}"), "bucket"
    )


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    # Root may write anywhere, so no mode would do: a file lies where the directory should be.
    (tmp_path / "file").write_bytes(b"")
    for uri in (str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        text = sentence(open_store, uri)
        assert text.startswith(f"The store '{uri}' is not writable (") and "--store" in text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_source_that_is_missing(tmp_path: Path, make_bucket: Callable[[], str]) -> None:
    for uri in (str(tmp_path / "scans"), f"s3://{make_bucket()}/scans"):
        assert sentence(open_source, uri) == f"There is nothing at '{uri}'; check the path."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["gs://bucket/prefix", "S3://bucket", "https://example.org/x", ""])
def test_places_of_another_kind(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for open_ in (open_store, open_source):
        assert "write a directory's path or s3://bucket/prefix" in sentence(open_, uri)
    assert list(tmp_path.iterdir()) == []


def test_only_rows_between_two_values_are_read(tmp_path: Path) -> None:
    store = Location(str(tmp_path))
    store.write_table("t.parquet", pa.table({"temperature": [0.2, 0.05, 0.2, 0.01], "row": [0, 1, 2, 3]}))
    found = store.read_table("t.parquet", between=("temperature", 0.2 * (1 - 1e-8), 0.2 * (1 + 1e-8)))
    assert found["row"].to_pylist() == [0, 2]


def test_tables_become_one_file_of_small_row_groups(place: Location) -> None:
    parts = [
        pa.table({"row": np.arange(start, start + 2_000_000), "key": ["k"] * 2_000_000}) for start in (0, 2_000_000)
    ]
    place.write_tables("t.parquet", parts[0].schema, iter(parts))
    assert place.read_table("t.parquet").equals(pa.concat_tables(parts))
    with place.open("t.parquet") as source:
        metadata = pq.ParquetFile(source).metadata
    each = parts[0].nbytes / len(parts[0])
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert max(rows) * each <= 8 << 20 and len(rows) <= 2 + 2 * parts[0].nbytes / (8 << 20)


def test_fractions_come_back_bit_by_bit_and_take_less_room(tmp_path: Path) -> None:
    features = np.abs(np.random.default_rng(0).normal(size=(2_000, 16)).astype(np.float32))
    features[0, :5] = [np.nan, np.inf, -np.inf, -0.0, 1e-45]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 16)
    table = pa.table({"sample_id": np.arange(2_000), "key": ["k"] * 2_000, "features": lists, "mean": features[:, 0]})
    store = Location(str(tmp_path))
    store.write_table("t.parquet", table)
    back = store.read_table("t.parquet")
    assert back.schema == table.schema
    assert np.asarray(back["features"].combine_chunks().values).tobytes() == features.tobytes()
    assert np.asarray(back["mean"]).tobytes() == features[:, 0].tobytes()
    assert back.drop_columns(["features", "mean"]).equals(table.drop_columns(["features", "mean"]))
    pq.write_table(table, tmp_path / "plain.parquet", compression="zstd", use_dictionary=["key"])
    assert (tmp_path / "t.parquet").stat().st_size < 0.97 * (tmp_path / "plain.parquet").stat().st_size


@pytest.mark.parametrize("rows", [1, 64, 100, 128, 200, 5_000])
def test_batches_hold_the_row_groups_of_one_batch_and_not_the_file(tmp_path: Path, rows: int) -> None:
    groups, group, image = 40, 128, 4096
    pixels = np.random.default_rng(0).integers(0, 256, groups * group * image, np.uint8)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(image), groups * group, [None, pa.py_buffer(pixels)])
    table = pa.table({"row": np.arange(groups * group), "image": column})
    for name, part in (("a", table), ("b", table.slice(7, 300)), ("c", table.slice(0, 0))):
        (tmp_path / "t").mkdir(exist_ok=True)
        pq.write_table(part, tmp_path / "t" / f"{name}.parquet", row_group_size=group, use_dictionary=False)
    before, held, found = pa.total_allocated_bytes(), [], []
    for batch in Location(str(tmp_path)).batches("t", ["row"] if rows == 1 else ["row", "image"], rows):
        held.append(pa.total_allocated_bytes() - before)
        found.append(batch["row"].to_numpy().copy())
        assert 0 < len(batch) <= rows
        if rows > 1:
            assert batch["image"][0].as_py() == pixels[image * found[-1][0] :][:image].tobytes()
    assert np.concatenate(found).tolist() == [*range(groups * group), *range(7, 307)]
    # As it lies in the file and as read, and the batch before; some for pages.
    assert max(held) <= 4 * image * (max(group, rows) + group)


def test_a_table_that_breaks_off_leaves_no_file(place: Location) -> None:
    def parts() -> Iterator[pa.Table]:
        yield pa.table({"row": [1]})
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        place.write_tables("t.parquet", pa.schema([("row", pa.int64())]), parts())
    assert not place.exists("t.parquet")


def test_a_table_without_rows_comes_back(place: Location) -> None:
    place.write_table("t.parquet", pa.schema([("row", pa.int64())]).empty_table())
    assert len(place.read_table("t.parquet")) == 0


@pytest.mark.parametrize(
    ("folders", "each", "most"),
    [(1, 5, 1), (1, 3500, 6), (7, 500, 14), (2500, 1, 22), (30, 120, 24)],
)
def test_a_listing_side_by_side_is_whole_and_costs_little(
    make_bucket: Callable[[], str], monkeypatch: pytest.MonkeyPatch, folders: int, each: int, most: int
) -> None:
    from moto.s3.models import s3_backends

    bucket = make_bucket()
    backend, store = s3_backends["123456789012"]["aws"], Location(f"s3://{bucket}/data")
    keys = [f"deep/down/{folder:05d}/{number:05d}.png" for folder in range(folders) for number in range(each)]
    keys += ["deep/down/aside.txt", "zz.png"]
    for key in keys:
        backend.put_object(bucket, f"data/{key}", key.encode())
    for stray in ("dat", "data2/x", "data/deep/down/00000/"):
        backend.put_object(bucket, stray, b"")
    asked: list[dict[str, object]] = []
    client = boto3.client("s3")
    plain = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **how: asked.append(how) or plain(**how))
    monkeypatch.setattr(storage, "_s3", lambda: client)
    rows = list(store.walk())
    assert sorted(key for key, _, _ in rows) == sorted(keys)
    assert all(size == len(key) for key, size, _ in rows)
    assert len(asked) <= most, f"{len(asked)} requests where pages alone are {len(keys) // 1000 + 1}"


def test_what_is_written_twice_within_a_second_differs(make_bucket: Callable[[], str]) -> None:
    store = Location(f"s3://{make_bucket()}")
    times = set()
    for content in (b"one", b"two", b"six"):
        store.write_bytes("scan.png", content)
        times |= {time for _, _, time in store.walk()}
    assert len(times) == 3


def test_who_stops_reading_a_listing_stops_it(make_bucket: Callable[[], str]) -> None:
    from moto.s3.models import s3_backends

    bucket = make_bucket()
    for number in range(2100):
        s3_backends["123456789012"]["aws"].put_object(bucket, f"{number % 7}/{number}", b"")
    before = threading.active_count()
    walk = Location(f"s3://{bucket}").walk()
    next(walk)
    for _ in range(1500):
        next(walk)
    walk.close()
    assert threading.active_count() <= before + 1
