"""Named data sets as array sources: digits, MedMNIST, CIFAR-10-LT."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64, fingerprint
from pipeline.data.sources import ArraySource, MemoryStack
from pipeline.errors import InputError

_DIGITS = ("datasets", "data", "digits.csv.gz")
"""Inside scikit-learn's package."""
DATA_DIR = "~/.cache/hacon"
"""Downloads go here unless ``ingest.data_dir`` says otherwise."""


def digits(size: int | None, channels: int | None) -> ArraySource:
    """scikit-learn's 1,797 bundled digits, 8 x 8 grey; values 0..16 become round(value x 255 / 16)."""
    # Read from the file: importing scikit-learn takes seconds in every process that reads a piece.
    package = find_spec("sklearn")
    assert package is not None and package.submodule_search_locations
    table = np.loadtxt(Path(package.submodule_search_locations[0], *_DIGITS), delimiter=",")
    images = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int32)
    state = f"digits {fingerprint(images.tobytes(), labels.tobytes())[:16]}"
    classes = tuple(map(str, range(10)))
    return ArraySource({"train": MemoryStack(images)}, state, {"train": labels}, classes, (), size, channels)


def medmnist_file(name: str, data_dir: str | None) -> Path:
    """The .npz of "bloodmnist" or "bloodmnist@64": in ``data_dir``, in medmnist's own folder, or downloaded.

    Raises:
        InputError: unknown data set or size, or a file that is missing and cannot be downloaded.
    """
    from medmnist import INFO

    base, _, side = name.partition("@")
    file = f"{base}_{side}.npz" if side not in ("", "28") else f"{base}.npz"
    folder = Path(data_dir or DATA_DIR).expanduser()
    places = [folder / file] + ([Path("~/.medmnist").expanduser() / file] if data_dir is None else [])
    for place in places:
        if place.is_file():
            return place
    if base not in INFO:
        raise InputError(f"There is no MedMNIST set '{base}', nor '{folder / file}'; sets are {', '.join(INFO)}.")
    suffix = file.removeprefix(base).removesuffix(".npz")
    if f"url{suffix}" not in INFO[base]:
        sizes = ["28", *(key.removeprefix("url_") for key in INFO[base] if key.startswith("url_"))]
        raise InputError(f"MedMNIST's {base} comes in the sizes {', '.join(sizes)}, not {side}; choose one.")
    return _download(INFO[base][f"url{suffix}"], INFO[base][f"MD5{suffix}"], places[0])


def medmnist_classes(name: str) -> dict[str, str] | None:
    """Label value (as text) -> class name; None where medmnist does not know the set."""
    from medmnist import INFO

    info = INFO.get(name.partition("@")[0])
    return None if info is None else dict(info["label"])


def cifar10_lt(size: int | None, channels: int | None, data_dir: str | None) -> ArraySource:
    """CIFAR-10-LT, rho = 100: 12,406 training images, class by class, and CIFAR-10's test split.

    Subset and order are those of the authors' published files (``long_tail_indices``). An image's key is its index
    in CIFAR-10's 50,000 training images.

    Raises:
        InputError: CIFAR-10 is not in ``data_dir`` and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10

    folder = os.path.expanduser(data_dir or DATA_DIR)
    try:
        train, test = (CIFAR10(folder, train=training, download=True) for training in (True, False))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"CIFAR-10 is not below '{folder}' and cannot be downloaded ({_first_line(error)}); "
            "put cifar-10-batches-py there, or name its folder with --data-dir."
        ) from None
    index = long_tail_indices(np.asarray(train.targets))
    stacks = {"train": MemoryStack(train.data[index]), "test": MemoryStack(test.data)}
    labels = {"train": np.asarray(train.targets)[index].astype(np.int32), "test": np.asarray(test.targets, np.int32)}
    state = f"cifar10-lt {fingerprint(*(stack.array.tobytes() for stack in stacks.values()))[:16]}"
    return ArraySource(stacks, state, labels, tuple(train.classes), (), size, channels, {"train": index})


def long_tail_indices(labels: NDArray[np.integer], rho: float = 100, seed: int = 0) -> Int64:
    """The usual long-tail recipe: class c of C keeps int(n / rho^(c / (C - 1))) of its n images.

    Class by class, indices are shuffled by one ``np.random.RandomState(seed)``, and the first are kept in shuffled
    order. CIFAR-10 keeps 5000, 2997, 1796, 1077, 645, 387, 232, 139, 83 and 50 (docs/method.md, section 4).

    Shapes: labels (N,), balanced over classes 0 .. C-1 -> indices (sum of what is kept,).
    """
    generator = np.random.RandomState(seed)
    classes = int(labels.max()) + 1
    full = len(labels) / classes
    kept = []
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        generator.shuffle(members)
        kept.append(members[: int(full * (1 / rho) ** (label / (classes - 1)))])
    return np.concatenate(kept)


def _download(url: str, md5: str, target: Path) -> Path:
    """Download under a temporary name, check the MD5 sum, then rename."""
    from torchvision.datasets.utils import download_url

    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        download_url(url, root=str(target.parent), filename=part.name, md5=md5)
        os.replace(part, target)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"'{target}' is not there and {url} cannot be downloaded ({_first_line(error)}); "
            "get the file by other means and name its folder with --data-dir."
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return target


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
