"""The store: a directory or an S3 prefix, with the same few verbs for both.

The only module that imports ``pyarrow.fs`` and boto3. Files go through ``pyarrow.fs``; boto3
does what needs the S3 API itself: the conditional put that publishes, and clear words for a
missing bucket or missing credentials. Credentials come from the standard AWS chain only, the
endpoint from ``AWS_ENDPOINT_URL`` where it is set.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import json
import os
import queue
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import yaml
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from pipeline.errors import InputError, StoreError

_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, ProfileNotFound, CredentialRetrievalError)
_GROUP_BYTES = 8 << 20
"""Of a Parquet row group's values, as in a pool's files."""
_TRIES = 10
"""Of a request for a file on S3, each a while after the last: seconds of a busy store must not end a job of hours."""
_LISTERS, _PAGES_AHEAD, _MOST_RANGES = 8, 32, 16
"""Of a listing on S3: requests at a time, pages of 1,000 that wait for the reader, ranges of keys."""
_TEMPORARY = ".tmp-"
"""Begins the name of a file that is being written. Who is killed meanwhile leaves it; nobody reads it."""
GONE = "the file has gone since it was listed"
SKIPPED = ("folders linked again", "dead links", "folders that may not be read", "entries that may not be read")
"""What ``Location.walk`` passes over and counts."""
_NOT_OF_THE_FILE = (
    *("ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"),
    *("RequestTimeTooSkewed", "RequestExpired", "TokenRefreshRequired", "RequestTimeout", "SlowDown", "Throttling"),
    *("TooManyRequests", "NoSuchBucket", "PermanentRedirect", "AuthorizationHeaderMalformed"),
)
"""S3's errors below 500 that say nothing about the one object."""
_FULL = {
    errno.ENOSPC: "is full; free some space there",
    errno.EDQUOT: "is over its quota; free some space there or have the quota raised",
    errno.EROFS: "can only be read by now; have it mounted for writing again",
}
"""Error of a write -> what is the matter, and the remedy."""
_CONFLICT_SECONDS = 0.1
"""Between two tries where S3 says that another conditional put of the same key is under way."""


@dataclass(frozen=True)
class Location:
    """A directory or an S3 prefix: ``uri`` as given. Picklable; connects on first use."""

    uri: str

    def __post_init__(self) -> None:
        _ = self.root  # resolved here and now: the working directory of a worker may be another

    def __getstate__(self) -> dict[str, Any]:
        """No connection: pyarrow's, sent to another process, forgets how often it should try again."""
        return {"uri": self.uri, "root": self.root}

    @cached_property
    def is_s3(self) -> bool:
        """Whether this is on S3."""
        return self.uri.startswith("s3://")

    @cached_property
    def root(self) -> str:
        """The path that ``filesystem`` understands, without a slash at the end."""
        if self.is_s3:
            return self.uri.removeprefix("s3://").rstrip("/")
        return str(Path(self.uri.removeprefix("file://")).expanduser().resolve())

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        """The ``pyarrow.fs`` file system that holds it."""
        if not self.is_s3:
            return pafs.LocalFileSystem()
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return pafs.S3FileSystem(
            region=boto3.session.Session().region_name or "us-east-1",
            endpoint_override=endpoint or None,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        )

    def path(self, name: str = "") -> str:
        """The file system's path of ``name`` (slashes between folders) below this location."""
        return f"{self.root}/{name}" if name else self.root

    def address(self, name: str = "") -> str:
        """``name`` below this location as anybody can open it: an absolute path or an S3 address."""
        return f"s3://{self.path(name)}" if self.is_s3 else self.path(name)

    def show(self, name: str = "") -> str:
        """``name`` below this location as a person would write it: a path or an S3 address."""
        path = self.address(name)
        here = Path.cwd()
        return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path

    # ---- reading -------------------------------------------------------------------------

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or a folder of that name."""
        return self.filesystem.get_file_info(self.path(name)).type != pafs.FileType.NotFound

    def is_file(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self.filesystem.get_file_info(self.path(name)).is_file)

    def files(self, name: str = "") -> list[tuple[str, int, int]]:
        """All whole files below folder ``name``: (name relative to it, bytes, modification time in ns), by name."""
        base = self.path(name)
        selector = pafs.FileSelector(base, recursive=True, allow_not_found=True)
        return sorted(
            (info.path[len(base) :].lstrip("/"), info.size, info.mtime_ns or 0)
            for info in self._listed(selector)
            if info.is_file and not info.base_name.startswith(_TEMPORARY)
        )

    def row(self, name: str) -> tuple[str, int, int]:
        """One file as ``walk`` of its folder yields it.

        Raises:
            FileNotFoundError: there is none.
        """
        if not self.is_s3:
            status = os.stat(self.path(name))
            return name, status.st_size, status.st_mtime_ns
        bucket, _, key = self.path(name).partition("/")
        for rest, size, time_ns in _s3_page(self._client, bucket, key, key[:-1], None).rows:
            if not rest:
                return name, size, time_ns
        raise FileNotFoundError(errno.ENOENT, "there is no such object", self.address(name))

    def folders(self, name: str = "") -> list[str]:
        """Names of the folders right below folder ``name``, sorted."""
        selector = pafs.FileSelector(self.path(name), allow_not_found=True)
        return sorted(info.base_name for info in self._listed(selector) if info.type == pafs.FileType.Directory)

    def _listed(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """What a selector finds. Arrow looks twice: a folder that was made or removed in between is an error."""
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                found: list[pafs.FileInfo] = self.filesystem.get_file_info(selector)
                return found
        raise FileNotFoundError(f"'{selector.base_dir}' comes and goes while it is listed")

    def walk(
        self, name: str = "", late: Callable[[str], bool] = lambda _: False, skipped: Counter[str] | None = None
    ) -> Iterator[tuple[str, int, int]]:
        """As ``files``, but one at a time and in no promised order: for folders of many millions.

        Links are followed, into each folder once. Of several ways to a folder, which one is taken does not depend on
        the disk's order: first one without a link, then the first by name.

        Args:
            late: folders (by their name relative to ``name``) that are walked after all others.
            skipped: counts here what is passed over, by ``SKIPPED``.

        Raises:
            PermissionError, NotADirectoryError: of the folder ``name`` itself.
        """
        base = self.path(name)
        if self.is_s3:
            yield from _s3_objects(*base.partition("/")[::2])
        else:
            yield from _local_files(base, late, Counter() if skipped is None else skipped)

    def open(self, name: str) -> pa.NativeFile:
        """The file for reading, anywhere in it."""
        return self.filesystem.open_input_file(self.path(name))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """The file as a local path, for who can only read from one."""
        if not self.is_s3:
            yield Path(self.path(name))
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            pafs.copy_files(self.path(name), str(path), self.filesystem, pafs.LocalFileSystem())
            yield path

    def read_bytes(self, name: str) -> bytes:
        """The whole file."""
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def refusal(self, name: str, error: Exception) -> str | None:
        """Why this one file cannot be read, or None where ``error`` is not about the file (the network, credentials).

        Args:
            error: what reading it raised.
        """
        if isinstance(error, pa.ArrowInvalid):
            return f"its name cannot be used: {error}"
        if self.is_s3:
            return self._s3_refusal(name)
        if isinstance(error, FileNotFoundError):
            return GONE
        if isinstance(error, PermissionError):
            return "may not be read (permission denied)"
        return f"cannot be read ({_short(error)})"

    def _s3_refusal(self, name: str) -> str | None:
        """S3's own answer: pyarrow's errors do not tell an archived object from a broken connection."""
        bucket, _, key = self.path(name).partition("/")
        try:
            self._client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
        except ClientError as answer:
            code, status = answer.response["Error"]["Code"], answer.response["ResponseMetadata"]["HTTPStatusCode"]
            if code in _NOT_OF_THE_FILE or status >= 500:
                return None
            if code == "InvalidObjectState":
                kind = answer.response["Error"].get("StorageClass", "an archive")
                return f"is archived (storage class {kind}); restore it first"
            if status == 404:
                return GONE
            return f"may not be read (S3 answers {status}, {code})"
        except BotoCoreError:
            return None
        # boto3 reads it. pyarrow asks for another key where "." or ".." stands between slashes.
        return "its name cannot be used: '.' or '..' as a folder" if {".", ".."} & set(name.split("/")) else None

    @cached_property
    def _client(self) -> Any:
        return boto3.session.Session().client("s3")  # of its own session: making clients of one is not thread-safe

    def read_json(self, name: str) -> Any:
        """The parsed JSON file, or None where there is none."""
        try:
            return json.loads(self.read_bytes(name))
        except FileNotFoundError:
            return None

    def read_yaml(self, name: str) -> Any:
        """The parsed YAML file, or None where there is none."""
        try:
            return yaml.safe_load(self.read_bytes(name))
        except FileNotFoundError:
            return None

    def read_table(
        self, name: str, columns: list[str] | None = None, between: tuple[str, float, float] | None = None
    ) -> pa.Table:
        """A Parquet file, or all Parquet files of a folder as one table (in no promised row order).

        Args:
            between: (column, lowest, highest): no more than the rows with such a value are ever held.
        """
        rows = between and [(between[0], ">=", between[1]), (between[0], "<=", between[2])]
        return pq.read_table(self.path(name), columns=columns, filesystem=self.filesystem, filters=rows)

    def batches(self, name: str, columns: list[str], rows: int) -> Iterator[pa.Table]:
        """All rows of a folder's Parquet files, ``rows`` at a time at most, file after file.

        Holds as many row groups as have ``rows`` rows.
        """
        for file, _, _ in self.files(name):
            # Not a dataset's scanner: with batches this small it takes ten times as long and several row groups more.
            with self.open(f"{name}/{file}") as source:
                parquet = pq.ParquetFile(source, pre_buffer=True)
                for groups in _together(parquet.metadata, rows):  # all at once would be buffered at once
                    for batch in parquet.iter_batches(rows, row_groups=groups, columns=columns):
                        yield pa.Table.from_batches([batch])

    # ---- writing -------------------------------------------------------------------------

    def write_bytes(self, name: str, data: bytes | pa.Buffer) -> None:
        """Write or overwrite one file; it appears whole or not at all."""
        if self.is_s3:
            with self.filesystem.open_output_stream(self.path(name)) as stream:
                stream.write(data)
            return
        with self.writing(name) as path:
            path.write_bytes(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local path for who can only write to one; what is there after the block appears whole or not at all.

        Raises:
            StoreError: there is no room.
        """
        if self.is_s3:
            with _told(f"temporary folder '{tempfile.gettempdir()}'"), tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "file"
                yield path
                pafs.copy_files(str(path), self.path(name), pafs.LocalFileSystem(), self.filesystem)
            return
        with _told(f"store '{self.show()}'"), _temporary_beside(self.path(name)) as path:
            yield path
            _flush(path)
            os.replace(path, self.path(name))

    def write_json(self, name: str, value: Any) -> None:
        """``write_bytes`` of ``value`` as JSON."""
        self.write_bytes(name, _json_bytes(value))

    def write_yaml(self, name: str, value: Any) -> None:
        """``write_bytes`` of ``value`` as YAML."""
        self.write_bytes(name, yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode())

    def write_table(self, name: str, table: pa.Table) -> None:
        """``write_tables`` of one."""
        self.write_tables(name, table.schema, [table])

    def write_tables(self, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        """One Parquet file of all their rows, whole or not at all. Holds one of the tables and a row group's pages.

        A row group has ``_GROUP_BYTES`` at most (one row at least), which is what its readers hold.
        """
        with (
            self.writing(name) as path,
            pq.ParquetWriter(path, schema, compression="zstd", **_encodings(schema)) as writer,
        ):
            for table in tables:
                rows = max(1, _GROUP_BYTES * len(table) // max(1, table.nbytes))
                writer.write_table(table, row_group_size=rows)

    def put_if_absent(self, name: str, value: Any) -> bool:
        """Write ``value`` as JSON unless the file exists already: of several writers one wins.

        Returns:
            Whether this call wrote it.
        """
        data = _json_bytes(value)
        if self.is_s3:
            return _s3_put_if_absent(*self.path(name).partition("/")[::2], data)
        with _told(f"store '{self.show()}'"), _temporary_beside(self.path(name)) as path:
            path.write_bytes(data)
            _flush(path)
            try:
                os.link(path, self.path(name))
            except FileExistsError:
                return False
        return True

    def make_folder(self, name: str) -> None:
        """Create a folder where the file system has such things."""
        if not self.is_s3:
            with _told(f"store '{self.show()}'"):
                os.makedirs(self.path(name), exist_ok=True)

    def delete_file(self, name: str) -> None:
        """Delete a file; fine if there is none."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))

    def delete_folder(self, name: str) -> None:
        """Delete a folder and all below it; fine if there is none."""
        if self.exists(name):
            self.filesystem.delete_dir(self.path(name))


def open_store(uri: str) -> Location:
    """The place for results, checked: reachable and writable.

    Raises:
        InputError: no such bucket, no credentials, or not writable.
    """
    location = _absolute(uri)
    if location.is_s3:
        _check_bucket(location)
    probe, fresh = f".write-test-{os.getpid()}", not location.exists()
    try:
        location.write_bytes(probe, b"hacon")
        location.filesystem.delete_file(location.path(probe))
        if fresh and not location.is_s3:
            with suppress(OSError):  # another job may have begun to write there
                os.rmdir(location.root)  # a job that is refused now leaves nothing
    except OSError as error:
        raise InputError(
            f"The store '{uri}' is not writable ({_short(error)}); give another with --store, or mend its permissions."
        ) from error
    return location


def open_source(uri: str) -> Location:
    """A place to read images from, checked: it exists and can be listed.

    Raises:
        InputError: it is missing, or its bucket, or the credentials for it.
    """
    location = _absolute(uri)
    if location.is_s3:
        _check_bucket(location)
    if not location.exists():
        raise InputError(f"There is nothing at '{uri}'; check the path.")
    return location


def _absolute(uri: str) -> Location:
    """Workers have other working directories: a relative path is resolved here, once."""
    scheme, separator, _ = uri.partition("://")
    if not uri or (separator and scheme not in ("s3", "file")):
        raise InputError(f"'{uri}' is no place that can be used; write a directory's path or s3://bucket/prefix.")
    try:
        uri.encode()
    except UnicodeEncodeError:
        raise InputError(f"The path {uri!a} is not in UTF-8; rename it.") from None
    location = Location(uri)
    return location if location.is_s3 else Location(location.root)


def _check_bucket(location: Location) -> None:
    bucket = location.root.partition("/")[0]
    try:
        _s3().head_bucket(Bucket=bucket)
    except _NO_CREDENTIALS as error:
        raise InputError(
            f"No AWS credentials were found for '{location.uri}' ({_short(error)}); give them by environment "
            "variables, a profile (AWS_PROFILE) or the machine's role."
        ) from None
    except ParamValidationError:
        raise InputError(f"'{location.uri}' names no valid bucket; write s3://bucket/prefix.") from None
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            raise InputError(
                f"There is no bucket '{bucket}' ('{location.uri}'); create it, or check its name."
            ) from None
        if status in (400, 401, 403):
            raise InputError(
                f"The bucket '{bucket}' refuses these credentials (HTTP {status}); check the role's policy and region."
            ) from None
        raise
    except (BotoCoreError, ValueError) as error:  # ValueError: the endpoint is no address
        raise InputError(
            f"'{location.uri}' cannot be reached ({_short(error)}); check AWS_ENDPOINT_URL and the network."
        ) from None


def _s3() -> Any:
    return boto3.client("s3")


def _s3_put_if_absent(bucket: str, key: str, data: bytes) -> bool:
    while True:
        try:
            _s3().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 412:  # it exists
                return False
            if status != 409:
                raise
            # Nobody has won yet: who is told "no" must be able to read the winner's file.
            time.sleep(_CONFLICT_SECONDS)
        else:
            return True


def _s3_objects(bucket: str, folder: str) -> Iterator[tuple[str, int, int]]:
    """What ``Location.walk`` yields. Ranges of keys are listed side by side; a few pages wait at a time."""
    prefix, client = f"{folder}/" if folder else "", _s3()
    page_of = partial(_s3_page, client, bucket, prefix)
    first = page_of(prefix, None)
    yield from first.rows
    if first.last is None:
        return
    starts = [first.last, *(each for each in _s3_folders(client, bucket, prefix, first.last) if each > first.last)]
    pages: queue.Queue[list[tuple[str, int, int]] | BaseException | None] = queue.Queue(_PAGES_AHEAD)
    stopped = threading.Event()

    def put(page: list[tuple[str, int, int]] | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                pages.put(page, timeout=0.1)
                return

    def list_range(start: str, stop: str | None) -> None:
        try:
            last: str | None = start
            while last is not None and not stopped.is_set():
                page = page_of(last, stop)
                put(page.rows)
                last = page.last
        except BaseException as error:  # noqa: BLE001 - whatever it is, the reader raises it
            put(error)
        put(None)

    ranges = list(zip(starts, [*starts[1:], None], strict=True))
    with ThreadPoolExecutor(_LISTERS) as listers:
        try:
            for each in ranges:
                listers.submit(list_range, *each)
            ended = 0
            while ended < len(ranges):
                page = pages.get()
                if isinstance(page, BaseException):
                    raise page
                ended += page is None
                yield from page or ()
        finally:
            stopped.set()


@dataclass(frozen=True)
class _Page:
    rows: list[tuple[str, int, int]]
    last: str | None
    """The key after which the next page begins; None: there is none."""


def _s3_page(client: Any, bucket: str, prefix: str, after: str, before: str | None) -> _Page:
    """The objects after key ``after``, up to key ``before``.

    S3 says when an object was written in whole seconds. Digits of its ETag take the place of the nanoseconds, so that
    what is written twice within a second differs too.
    """
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after)
    rows: list[tuple[str, int, int]] = []
    contents = found.get("Contents", ())
    for item in contents:
        key = item["Key"]
        if before is not None and key > before:
            return _Page(rows, None)
        if not key.endswith("/"):  # what the console leaves for a folder
            digits = int(hashlib.sha256(item["ETag"].encode()).hexdigest()[:8], 16) % 10**9
            rows.append((key[len(prefix) :], item["Size"], int(item["LastModified"].timestamp()) * 10**9 + digits))
    return _Page(rows, contents[-1]["Key"] if found["IsTruncated"] else None)


def _s3_folders(client: Any, bucket: str, prefix: str, after: str) -> list[str]:
    """Keys that part what lies below ``prefix`` into a few ranges: names of folders, ascending."""
    while True:
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after, Delimiter="/")
        folders = [each["Prefix"] for each in found.get("CommonPrefixes", ())]
        if len(folders) != 1 or found["IsTruncated"] or found.get("Contents"):
            break
        prefix = folders[0]
    step = max(1, len(folders) // _MOST_RANGES)
    return folders[step::step]


def _local_files(root: str, late: Callable[[str], bool], skipped: Counter[str]) -> Iterator[tuple[str, int, int]]:
    """What ``Location.walk`` yields. A folder is known by its device and number: links may form a circle."""
    seen = {_identity(os.stat(parent)) for parent in Path(root).parents}  # a link to one of them is a circle, too
    todo = [(False, False, "")]
    while todo:
        is_late, is_linked, prefix = heapq.heappop(todo)
        folder = os.path.join(root, prefix)
        try:
            identity = _identity(os.stat(folder))
            if identity in seen:
                skipped["folders linked again"] += 1
                continue
            if identity[1]:  # some network file systems number nothing
                seen.add(identity)
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir():
                            below = f"{prefix}{entry.name}/"
                            linked = is_linked or entry.is_symlink()
                            heapq.heappush(todo, (is_late or late(below), linked, below))
                        elif entry.is_file():
                            status = entry.stat()
                            yield prefix + entry.name, status.st_size, status.st_mtime_ns
                        elif entry.is_symlink():
                            skipped["dead links"] += 1
                    except OSError as error:  # links that form a circle, or lead where nobody may look
                        skipped["dead links" if error.errno == errno.ELOOP else "entries that may not be read"] += 1
        except OSError:
            if not prefix:
                raise
            skipped["folders that may not be read"] += 1


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _short(error: Exception) -> str:
    """Its first line, to go into a sentence."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:200]


def _together(metadata: pq.FileMetaData, rows: int) -> Iterator[list[int]]:
    """A file's row groups in order, as few together as have ``rows`` rows."""
    together, held = [], 0
    for group in range(metadata.num_row_groups):
        together.append(group)
        held += metadata.row_group(group).num_rows
        if held >= rows or group + 1 == metadata.num_row_groups:
            yield together
            together, held = [], 0


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Which columns of a Parquet file have a dictionary, and which have the bytes of their numbers apart.

    Texts have the first: numbers that hardly repeat take three times as long with one, and more room. Fractions have
    the second: their exponents repeat, which is a tenth less to store and a quarter less time to write.
    """
    texts, fractions = [], []
    for column in schema:
        of_lists = pa.types.is_fixed_size_list(column.type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            texts.append(column.name)
        elif pa.types.is_floating(column.type.value_type if of_lists else column.type):
            fractions.append(f"{column.name}.list.element" if of_lists else column.name)
    return {"use_dictionary": texts or False, "use_byte_stream_split": fractions or False}


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


@contextmanager
def _temporary_beside(path: str) -> Iterator[Path]:
    """An empty file in the folder of ``path``, made where missing; gone after the block unless it was moved."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=_TEMPORARY)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """A full disk as a sentence that begins with ``place``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StoreError(f"The {place} {_FULL[error.errno]}; the same command goes on from there.") from None


def _flush(path: Path) -> None:
    """To the disk, so that a name never stands for a file whose bytes a power cut can take."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
