"""What lies in a folder besides images: what other programs leave, and formats that must be exported first."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

LEFTOVERS = {
    "thumbs.db": "Thumbs.db",
    "ehthumbs.db": "Thumbs.db",
    "thumbs.db:encryptable": "Thumbs.db",
    "desktop.ini": "desktop.ini",
    "icon\r": "Icon",
    "__macosx": "__MACOSX",
    "__pycache__": "__pycache__",
    "lost+found": "lost+found",
    "lost.dir": "LOST.DIR",
    "$recycle.bin": "$RECYCLE.BIN",
    "recycler": "RECYCLER",
    "recycled": "RECYCLER",
    "system volume information": "System Volume Information",
    "found.000": "FOUND.000",
    "#recycle": "#recycle",
    "#snapshot": "#snapshot",
    "~snapshot": "~snapshot",
    "@eadir": "@eaDir",
    "@recycle": "@Recycle",
    "@recently-snapshot": "@Recently-Snapshot",
    "@__thumb": "@__thumb",
    "@tmp": "@tmp",
    "network trash folder": "Network Trash Folder",
    "temporary items": "Temporary Items",
    ".ipynb_checkpoints": ".ipynb_checkpoints",
    ".ds_store": ".DS_Store",
    ".thumbnails": ".thumbnails",
    ".git": ".git",
}
"""Names of folders and files, in lower case, that systems and programs leave: desktops, network disks, notebooks. The
log may say them, in the second spelling."""
_LEFTOVER_STARTS = (("._", "._*"), (".trash", ".Trash*"), (".fuse_hidden", ".fuse_hidden*"), (".nfs", ".nfs*"))
_HIDDEN = "other names with a dot in front"

_EXPORT = {
    "DICOM": (
        (".dcm", ".dicom", ".dic", ".ima"),
        "export it to 16-bit PNG first, with DCMTK's dcm2img or with pydicom",
    ),
    "volume": (
        (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".mnc", ".hdr"),
        "save the slices that shall be labelled as PNG first, with nibabel or SimpleITK",
    ),
    "slide or microscope file": (
        (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".isyntax", ".czi", ".lif", ".nd2", ".vsi", ".oib", ".lsm", ".zvi"),
        "cut it into PNG or JPEG tiles first, with OpenSlide or Bio-Formats",
    ),
    "archive": (
        (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"),
        "unpack it first",
    ),
    "tar file": ((".tar",), "give WebDataset's shards as --pool webdataset:PATH, or unpack it first"),
    "Parquet file": ((".parquet",), "give it as --pool parquet:PATH, if it has a column of images"),
    "array file": ((".npz", ".npy"), "give one archive with MedMNIST's keys as --pool npz:FILE"),
    "table of arrays": ((".h5", ".hdf5", ".mat", ".zarr", ".tfrecord"), "save its images as PNG first"),
    "photograph in another format": (
        (".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".tga", ".psd", ".svg", ".eps"),
        "save it as PNG or JPEG first",
    ),
    "video": ((".mp4", ".avi", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg", ".webm"), "save its frames first, with ffmpeg"),
    "document": ((".pdf", ".doc", ".docx", ".ppt", ".pptx"), "save its pictures first"),
    "text or table": (
        (".txt", ".csv", ".tsv", ".json", ".xml", ".xls", ".xlsx", ".md", ".log", ".html", ".yaml", ".yml"),
        "give the folder that the images lie in",
    ),
}
"""Kind -> its suffixes, and what to do with it."""
_KIND_OF = {suffix: kind for kind, (suffixes, _) in _EXPORT.items() for suffix in suffixes}
_MAGIC = (
    (b"\xff\xd8\xff", 0, "JPEG image without its suffix"),
    (b"\x89PNG", 0, "PNG image without its suffix"),
    (b"II*\0", 0, "TIFF image without its suffix"),
    (b"MM\0*", 0, "TIFF image without its suffix"),
    (b"DICM", 128, "DICOM"),
    (b"PK\x03\x04", 0, "archive"),
    (b"\x1f\x8b", 0, "archive"),
    (b"\x89HDF", 0, "table of arrays"),
    (b"%PDF", 0, "document"),
)
HEAD = 132
"""Bytes at the start of a file by which ``kind_of`` knows it."""
OTHER = "other"


def leftover(key: str) -> str | None:
    """What hides the file ``key`` (or the folder, with a slash at its end), as the log may say it; else None."""
    folder, _, name = key.rpartition("/")
    return _leftover_folder(folder) or _leftover_name(name)


@lru_cache(4096)
def _leftover_folder(folder: str) -> str | None:
    return next((found for part in folder.split("/") if (found := _leftover_name(part))), None)


def _leftover_name(name: str) -> str | None:
    lower = name.lower()
    # "." and ".." are no names but odd keys of S3, and are told apart when they are read.
    if lower in LEFTOVERS or not lower.startswith(".") or lower in (".", ".."):
        return LEFTOVERS.get(lower)
    return next((shown for start, shown in _LEFTOVER_STARTS if lower.startswith(start)), _HIDDEN)


def suffix_of(key: str) -> str:
    """A suffix that the log may name, or "other": text after any other dot may be part of a patient's identifier."""
    lower = key.lower()
    if lower.endswith(".nii.gz"):
        return ".nii.gz"
    suffix = posixpath.splitext(lower)[1]
    return suffix if suffix in _KIND_OF else OTHER


def kind_of(suffix: str, head: bytes = b"") -> str:
    """The kind of a file by its suffix (of ``suffix_of``) or its first ``HEAD`` bytes."""
    found = (kind for magic, at, kind in _MAGIC if head[at : at + len(magic)] == magic)
    return _KIND_OF.get(suffix) or next(found, OTHER)


def can_be_exported(kind: str) -> bool:
    """Whether it is a kind of files that hold images which ``decode`` does not read."""
    return kind in _EXPORT


def what_to_do(kinds: Counter[str]) -> str:
    """What the commonest kind that anything can be done with needs."""
    for kind, _ in kinds.most_common():
        if kind in _EXPORT:
            return _EXPORT[kind][1]
        if kind.endswith("without its suffix"):
            return "give the files their suffix, such as .png"
    return "check the path"


def listed(counts: Iterable[tuple[str, int]]) -> str:
    """(what, how many) as text, such as "3 .csv, 1 .txt"."""
    return ", ".join(f"{count} {what}" for what, count in counts)
