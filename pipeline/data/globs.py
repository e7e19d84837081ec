"""Which files of a folder are wanted: globs over keys, as rsync and git have them."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_SPECIAL = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Glob:
    """A pattern for the names of files and folders. It fits a file whose own name, or a folder on its way, it fits.

    ``*``, ``?`` and ``[...]`` stay within one name; ``**`` stands for any number of folders. A pattern of several names
    fits at any depth; a slash in front ties it to the top. Letters' case and their Unicode form do not matter, as they
    do not in the suffixes of images.
    """

    text: str

    def fits(self, key: str) -> bool:
        """Whether the file ``key`` is meant."""
        parts = _same(key).split("/")
        starts = (0,) if self.text.startswith("/") else range(len(parts))
        return any(_fit(self._parts, parts[start:]) for start in starts)

    @cached_property
    def _parts(self) -> tuple[re.Pattern[str] | None, ...]:
        """Of each name; None for ``**``."""
        names = [name for name in _same(self.text).split("/") if name not in ("", ".")]
        return tuple(None if name == "**" else re.compile(fnmatch.translate(name)) for name in names)


@dataclass(frozen=True)
class Wanted:
    """Which keys to take. Without ``include`` all that are not excluded."""

    include: tuple[Glob, ...] = ()
    exclude: tuple[Glob, ...] = ()
    within: Glob | None = None
    """What the source's own path asks for (``folder:scans/*.png``)."""

    def takes(self, key: str) -> bool:
        """Whether the file ``key`` is wanted."""
        if self.within is not None and not self.within.fits(key):
            return False
        if self.include and not any(glob.fits(key) for glob in self.include):
            return False
        return not any(glob.fits(key) for glob in self.exclude)

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude or self.within)

    @property
    def words(self) -> str:
        """The globs, as flags."""
        flags = [f"--include '{glob.text}'" for glob in self.include]
        return " ".join(flags + [f"--exclude '{glob.text}'" for glob in self.exclude])


def split_glob(path: str) -> tuple[str, str]:
    """A path with a glob -> (the folder before it, the glob); without one, (the path, "")."""
    parts = path.split("/")
    first = next((at for at, part in enumerate(parts) if _SPECIAL.search(part)), len(parts))
    folder = "/".join(parts[:first])
    return folder or ("/" if path.startswith("/") else "."), "/".join(parts[first:])


def _fit(names: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """Whether the first of ``parts`` fit ``names``."""
    if not names:
        return True
    if names[0] is None:
        return any(_fit(names[1:], parts[at:]) for at in range(len(parts) + 1))
    return bool(parts) and names[0].match(parts[0]) is not None and _fit(names[1:], parts[1:])


def _same(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
