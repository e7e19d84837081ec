"""What a folder's list takes, passes over, counts and says: leftovers, links, globs, kinds, twins."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.data.catalogue import checked, image_folder, open_images, pool_name
from pipeline.data.globs import Glob, split_glob
from pipeline.data.kinds import leftover
from pipeline.data.listing import Listing, list_images
from pipeline.data.sources import Source
from pipeline.errors import InputError
from pipeline.storage import Location

LEFT_BY_OTHERS = [
    ".ipynb_checkpoints/1-checkpoint.png", "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", ".Trash-1000/files/1.png",
    "a/._1.png", ".DS_Store", "a/Thumbs.db", "lost+found/1.png", "__MACOSX/a/1.png", "#recycle/1.png",
    "$RECYCLE.BIN/1.png", "System Volume Information/1.png", "a/.thumbnails/1.png", ".git/1.png", "@Recycle/1.png",
]  # fmt: skip


def save(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (9, 9), shade).save(path, path.suffix[1:] if path.suffix in (".bmp", ".gif") else "PNG")


def opened(path: Path | str, **settings: object) -> Source:
    return open_images(checked(IngestConfig(source=f"folder:{path}", image_size=8, **settings)))  # type: ignore[arg-type]


def keys(source: Source) -> list[str]:
    return source.keys("train", np.arange(source.splits["train"]))


def listing(path: Path) -> Listing:
    return list_images(Location(str(path)))


# ---- leftovers -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["directory", "s3"])
def test_leftovers_are_passed_over_and_counted(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for number, key in enumerate(["a/1.png", "b/2.png", *LEFT_BY_OTHERS]):
        save(tmp_path / key, number)
    place = str(tmp_path)
    if where == "s3":
        bucket = request.getfixturevalue("make_bucket")()
        for path in (path for path in tmp_path.rglob("*") if path.is_file()):
            boto3.client("s3").upload_file(str(path), bucket, f"p/{path.relative_to(tmp_path)}")
        place = f"s3://{bucket}/p"
    source = opened(place, labels="folder")
    assert keys(source) == ["a/1.png", "b/2.png"]
    assert source.classes == ("a", "b")
    (note,) = source.notes
    assert "passed over: 14 (" in note and ", 12 of them images; --set ingest.hidden=true" in note
    assert "1 .DS_Store" in note and "1 @eaDir" in note and "1 ._*" in note
    everything = opened(place, hidden=True)
    images = sorted(key for key in LEFT_BY_OTHERS if not key.endswith(("_Store", ".db")))
    assert keys(everything) == ["a/1.png", "b/2.png", *images], "the hidden come last: of equal files the first stays"


def test_names_that_only_look_like_leftovers_are_images() -> None:
    for key in ("a.b/1.png", "lost and found/1.png", "@home/1.png", "x._y/1.png", "thumbs.db.d/1.png", "a../1.png"):
        assert leftover(key) is None, key


def test_a_name_that_may_be_a_patients_is_not_said() -> None:
    assert leftover(".doe-john/1.png") == "other names with a dot in front"


# ---- links ---------------------------------------------------------------------------------


def test_links_are_counted_and_do_not_depend_on_the_disks_order(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "1.png")
    save(tmp_path / "pool" / "real" / "2.png", 2)
    pool = tmp_path / "pool"
    for link, target in (
        ("z", "elsewhere"), ("b", "elsewhere"), ("a", "pool/real"), ("up", "."), ("self", "pool")
    ):  # fmt: skip
        (pool / link).symlink_to(tmp_path / target)
    (pool / "dead.png").symlink_to(tmp_path / "nowhere")
    (pool / "loop1").symlink_to(pool / "loop2")
    (pool / "loop2").symlink_to(pool / "loop1")
    found = listing(pool)
    assert found.table["key"].to_pylist() == ["b/1.png", "real/2.png"]
    assert found.notes == ("passed over: dead links (3), folders linked again (4)",)


def test_what_is_linked_from_a_hidden_folder_is_read(tmp_path: Path) -> None:
    """As data set tools lay files out: the visible name counts."""
    save(tmp_path / ".store" / "v1" / "1.png")
    (tmp_path / "scans").symlink_to(tmp_path / ".store" / "v1")
    assert listing(tmp_path).table["key"].to_pylist() == ["scans/1.png"]


def test_a_folder_that_may_not_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the disk's answer is made up."""
    save(tmp_path / "1.png")
    save(tmp_path / "closed" / "2.png")
    scan = os.scandir

    def refusing(folder: str) -> Any:
        if "closed" in folder:
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    assert listing(tmp_path).notes == ("passed over: folders that may not be read (1)",)
    with pytest.raises(InputError, match=r"closed/*' may not be read; mend its permissions"):
        listing(tmp_path / "closed")


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")
    assert listing(tmp_path).table["key"].to_pylist() == ["1.png"]


# ---- globs ---------------------------------------------------------------------------------

KEYS = ["1.bmp", "1.png", "a/2.PNG", "a/masks/2.png", "b/c/3.png", "b/masks/x/4.png"]


@pytest.mark.parametrize(
    ("glob", "fitting"),
    [
        ("*.bmp", ["1.bmp"]),
        ("*.png", ["1.png", "a/2.PNG", "a/masks/2.png", "b/c/3.png", "b/masks/x/4.png"]),
        ("masks", ["a/masks/2.png", "b/masks/x/4.png"]),
        ("masks/", ["a/masks/2.png", "b/masks/x/4.png"]),
        ("masks/*", ["a/masks/2.png", "b/masks/x/4.png"]),
        ("*/masks", ["a/masks/2.png", "b/masks/x/4.png"]),
        ("/*.png", ["1.png"]),
        ("./*.png", ["1.png", "a/2.PNG", "a/masks/2.png", "b/c/3.png", "b/masks/x/4.png"]),
        ("a/*.png", ["a/2.PNG"]),
        ("b/**/*.png", ["b/c/3.png", "b/masks/x/4.png"]),
        ("**/[34].png", ["b/c/3.png", "b/masks/x/4.png"]),
        ("/b", ["b/c/3.png", "b/masks/x/4.png"]),
        ("?.png", ["1.png", "a/2.PNG", "a/masks/2.png", "b/c/3.png", "b/masks/x/4.png"]),
        ("c/*", ["b/c/3.png"]),
        ("nothing", []),
    ],
)
def test_what_a_glob_fits(glob: str, fitting: list[str]) -> None:
    assert [key for key in KEYS if Glob(glob).fits(key)] == fitting


def test_a_glob_meets_both_unicode_forms() -> None:
    assert Glob("*\u00fcber*").fits("xu\u0308ber.png")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    for number, key in enumerate(KEYS):
        save(tmp_path / key, number)
    return tmp_path


def test_include_and_exclude(mixed: Path) -> None:
    assert keys(opened(mixed, include=("*.bmp",))) == ["1.bmp"]
    assert keys(opened(mixed, include=("*.bmp", "c"))) == ["1.bmp", "b/c/3.png"]
    source = opened(mixed, exclude=("masks", "*.bmp", "absent"))
    assert keys(source) == ["1.png", "a/2.PNG", "b/c/3.png"]
    assert "images that the globs leave out: 3" in source.notes
    assert "no image fits the glob 'absent'" in source.notes
    assert opened(mixed, include=("*.png",)).state != opened(mixed).state
    with pytest.raises(InputError, match=r"no image .* that --include '\*.tif' takes; it leaves out 6: check the glob"):
        opened(mixed, include=("*.tif",))
    with pytest.raises(InputError, match=r"ingest\.include is for folder:PATH"):
        checked(IngestConfig(source="digits", include=("a",)))


def test_globs_in_the_path(mixed: Path) -> None:
    assert keys(opened(f"{mixed}/*.png")) == ["1.png"]
    assert keys(opened(f"{mixed}/*/masks")) == ["a/masks/2.png", "b/masks/x/4.png"]
    assert keys(opened(f"{mixed}/**/*.png", exclude=("masks",))) == ["1.png", "a/2.PNG", "b/c/3.png"]
    assert image_folder(f"folder:{mixed}/*.png") == str(mixed)
    assert split_glob("*.png") == (".", "*.png") and split_glob("/*.png") == ("/", "*.png")
    assert split_glob("s3://bucket/a/[0-9]*.png") == ("s3://bucket/a", "[0-9]*.png")
    assert pool_name(IngestConfig(source="folder:scans/*.png")) == "scans-png-224px"
    with pytest.raises(InputError, match="nothing at"):
        opened(f"{mixed}/missing/*.png")


def test_a_folder_that_is_called_like_a_glob(tmp_path: Path) -> None:
    save(tmp_path / "scans [2024]" / "1.png")
    assert keys(opened(tmp_path / "scans [2024]")) == ["1.png"]


def test_globs_on_s3(make_bucket: Callable[[], str]) -> None:
    bucket = make_bucket()
    for key in KEYS:
        boto3.client("s3").put_object(Bucket=bucket, Key=f"p/{key}", Body=b"x")
    assert keys(opened(f"s3://{bucket}/p/*.png")) == ["1.png"]
    assert keys(opened(f"s3://{bucket}/p", exclude=("*.png",))) == ["1.bmp"]


# ---- twins and masks -----------------------------------------------------------------------


def test_files_that_share_a_stem_are_pointed_out(tmp_path: Path) -> None:
    for key in ("001.bmp", "001.png", "001.left.png", "0010.png", "a/002.BMP", "a/002.png", "b/002.bmp"):
        save(tmp_path / key)
    (note,) = listing(tmp_path).notes
    assert note == (
        "images that share folder and stem with another: 4 .bmp with .png; if one is the mask of the other, choose, as "
        "with --include '*.bmp'"
    )


@pytest.mark.parametrize("key", ["1_mask.png", "1_segmentation.png", "a/masks/1.png", "1 (2)_mask_1.png", "1-GT.png"])
def test_masks_are_pointed_out(tmp_path: Path, key: str) -> None:
    for name in ("1.png", "unmasked.png", "segment.png", key):
        save(tmp_path / name)
    assert any("called masks, segmentations or annotations: 1 of 4" in note for note in listing(tmp_path).notes)


# ---- no image ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1.dcm": b"", "2.DCM": b"", "a.csv": b""}, r"found 2 DICOM, 1 text or table; export it to 16-bit PNG"),
        ({"IM-0001": bytes(128) + b"DICM", "IM-0002": bytes(128) + b"DICM"}, "found 2 DICOM; export it"),
        ({"1.2.840.1": bytes(128) + b"DICM"}, "found 1 DICOM; export it"),
        ({"a.nii.gz": b"", "b.nii": b""}, "found 2 volume; save the slices"),
        ({"a.svs": b"", "b.ndpi": b""}, "found 2 slide or microscope file; cut it"),
        ({"a.zip": b""}, "found 1 archive; unpack it"),
        ({"a.npz": b""}, "npz:FILE"),
        ({"a.txt": b"", "b.csv": b""}, "found 2 text or table; give the folder that the images lie in"),
        ({"scan": b"\xff\xd8\xff\xe0"}, "found 1 JPEG image without its suffix; give the files their suffix"),
        ({".hidden/1.png": b""}, r"passed over: 1 .*, 1 of them images; --set ingest.hidden=true reads"),
        ({}, "nothing is there; check the path"),
        ({"README": b"text"}, "found 1 other; check the path"),
    ],
)
def test_no_image_says_what_there_is_and_what_to_do(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        opened(tmp_path)
    assert "\n" not in str(raised.value)


def test_an_archive_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "scans.zip").write_bytes(b"")
    with pytest.raises(InputError, match="is a file; unpack it first"):
        opened(tmp_path / "scans.zip")


def test_a_folder_whose_own_path_is_no_text(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    with pytest.raises(InputError, match=r"is not in UTF-8; rename it"):
        opened(f"{tmp_path}/\udcff")
