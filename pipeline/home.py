"""Where caches, Ray's token and Ray's own files go on a machine whose HOME or TMPDIR cannot take them."""

from __future__ import annotations

import os
import pwd
import secrets
import stat
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from pipeline.errors import InputError

_CACHES = {
    "NUMBA_CACHE_DIR": ".cache/numba",
    "MPLCONFIGDIR": ".config/matplotlib",
    "TORCH_HOME": ".cache/torch",
    "HF_HOME": ".cache/huggingface",
    "TRITON_CACHE_DIR": ".triton/cache",
    "CUPY_CACHE_DIR": ".cupy/kernel_cache",
    "CUDA_CACHE_PATH": ".nv/ComputeCache",
}
"""Variable that moves a library's cache -> where in HOME it lies otherwise."""
_WEIGHTS = frozenset({"TORCH_HOME", "HF_HOME"})
"""Of them, those that may hold weights: they are of use where they can only be read."""
_TOKEN = ("RAY_AUTH_TOKEN_PATH", ".ray/auth_token")
_LONGEST_SOCKET = 107 - len("/session_2026-12-01_05-30-12_123456_1234567/sockets/plasma_store")
"""Most bytes of the path of Ray's folder: below it lie sockets, whose whole path may have 107 bytes on Linux."""


def settle_home(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """Point caches and Ray's token to a temporary folder wherever HOME cannot take them.

    The variables are inherited by every process that this one starts. HOME itself stays where it is a folder, since
    credentials may lie in it.

    Returns:
        A sentence for people; None where nothing had to move.
    """
    _give_a_name(environment)
    home = _home(environment)
    moved = [] if home.is_dir() else ["HOME"]
    for variable, below in _CACHES.items():
        place = Path(environment.get(variable) or home / below)
        if not _takes(place) and not (variable in _WEIGHTS and os.access(place, os.R_OK)):
            moved.append(variable)
    variable, below = _TOKEN
    token = Path(environment.get(variable) or home / below)
    unsaved = "RAY_AUTH_TOKEN" not in environment and not os.access(token, os.R_OK) and not _takes(token)
    if not moved and not unsaved:
        environment["HOME"] = str(home)  # where it was not set: Ray does not look into /etc/passwd
        return None
    instead = _own_folder()
    environment["HOME"] = str(instead if "HOME" in moved else home)
    for name in moved:
        if name != "HOME":
            environment[name] = str(instead / _CACHES[name])
    if unsaved:
        environment[variable] = str(_saved_token(instead / below))
    return f"HOME ('{home}') cannot be written: caches and Ray's token are in {instead}"


def ray_folder(environment: Mapping[str, str] = os.environ) -> str | None:
    """Where an embedded Ray keeps its files; None: where it does by itself, since that will do.

    Its own place will not do if somebody else's Ray made it, or if the paths of its sockets would be too long.

    Raises:
        InputError: no folder will do.
    """
    given = environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp"
    if os.path.isabs(given) and _suits(Path(given, "ray")):
        return None
    for parent in (os.path.abspath(given), "/tmp", "/var/tmp", "/dev/shm"):
        folder = Path(parent, f"ray-{os.getuid()}")
        if _suits(folder):
            return str(folder)
    raise InputError(
        f"Ray finds no place for its files: '{given}' and /tmp cannot be written, or their paths are too long; "
        f"name a folder with RAY_TMPDIR, in at most {_LONGEST_SOCKET - len('/ray')} letters."
    )


def _give_a_name(environment: MutableMapping[str, str]) -> None:
    """A user without an entry in /etc/passwd has no name, for which some libraries ask."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        environment.setdefault("USER", f"uid{os.getuid()}")


def _home(environment: Mapping[str, str]) -> Path:
    if environment.get("HOME"):
        return Path(environment["HOME"])
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/nonexistent")


def _suits(folder: Path) -> bool:
    return len(os.fsencode(folder)) <= _LONGEST_SOCKET and _takes(folder)


def _takes(path: Path) -> bool:
    """Whether this user may write to ``path``, or make it."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0))


def _own_folder() -> Path:
    """A folder that is this user's alone, the same for every run: what was compiled once stays."""
    folder = Path(tempfile.gettempdir(), f"hacon-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if mine else Path(tempfile.mkdtemp(prefix="hacon-"))


def _saved_token(path: Path) -> Path:
    """Ray would save its token in HOME. Readable by this user alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(secrets.token_hex(32))
        os.replace(file.name, path)
    return path
