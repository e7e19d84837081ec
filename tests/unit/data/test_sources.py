"""Array sources and the parsing of ``ingest.source``, against the arrays they were made from."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.data.catalogue import checked, open_images, pool_name
from pipeline.data.datasets import long_tail_indices
from pipeline.data.sources import Source
from pipeline.errors import InputError

RNG = np.random.default_rng(0)


def opened(source: str, **settings: Any) -> Source:
    return open_images(checked(IngestConfig(source=source, **settings)))


def pixels(source: Source, split: str = "train", rows: int = 7) -> np.ndarray:
    pieces = [
        piece
        for start, stop in source.pieces(split, rows)
        for piece in source.read(split, start, stop, rows, source.shape())
    ]
    assert np.concatenate([piece.position for piece in pieces]).tolist() == list(range(source.splits[split]))
    return np.concatenate([piece.images for piece in pieces])


def images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., str]:
    def save(**arrays: np.ndarray) -> str:
        np.savez_compressed(tmp_path / "set.npz", **arrays)
        return f"npz:{tmp_path / 'set.npz'}"

    return save


# ---- npz ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 6, 5), (20, 6, 5, 1), (20, 6, 5, 3)])
def test_npz_gives_the_very_arrays(npz: Callable[..., str], shape: tuple[int, ...]) -> None:
    train, test = images(*shape), images(9, *shape[1:])
    source = opened(npz(train_images=train, test_images=test, train_labels=np.arange(20)[:, None] % 3))
    channels = shape[3] if len(shape) == 4 else 1
    assert source.shape() == (6, 5, channels)
    assert source.splits == {"train": 20, "test": 9}
    assert (pixels(source) == train.reshape(20, 6, 5, channels)).all()
    assert (pixels(source, "test") == test.reshape(9, 6, 5, channels)).all()
    labels = source.labels("train")
    assert labels is not None
    assert labels.tolist() == [i % 3 for i in range(20)]
    assert source.labels("test") is None
    assert source.classes == ("0", "1", "2")


def test_held_out_splits_of_another_archive(npz: Callable[..., str], tmp_path: Path) -> None:
    train, test = images(20, 6, 5, 3), images(9, 6, 5, 3)
    source = npz(train_images=train, train_labels=np.arange(20)[:, None] % 3)
    more = tmp_path / "more.npz"
    np.savez(more, train_images=images(4, 6, 5, 3), test_images=test, test_labels=np.arange(9)[:, None] % 4)
    found = opened(source, held_out=str(more))
    assert found.splits == {"train": 20, "test": 9}
    assert (pixels(found, "test") == test).all() and (pixels(found) == train).all()
    assert found.classes == ("0", "1", "2", "3")
    labels = found.labels("test")
    assert labels is not None and labels.tolist() == [i % 4 for i in range(9)]
    assert found.state != opened(source).state
    np.savez(more, val_images=test)
    with pytest.raises(InputError, match=r"more.npz' holds val_images, but images are looked for under 'test_images'"):
        opened(source, held_out=str(more))
    np.savez(more, test_images=test)
    with pytest.raises(InputError, match=r"has test_images itself; leave ingest.held_out out"):
        opened(npz(train_images=train, test_images=test), held_out=str(more))
    with pytest.raises(InputError, match=r"ingest.held_out is for npz:FILE"):
        opened("digits", held_out=str(more))


def test_npz_sha256_is_of_the_images_bytes(npz: Callable[..., str]) -> None:
    train = images(5, 4, 4, 3)
    source = opened(npz(train_images=train), image_size=16)
    piece = next(source.read("train", 0, 5, 99, source.shape()))
    assert piece.sha256 == [hashlib.sha256(image.tobytes()).digest() for image in train]
    assert piece.key == ["0", "1", "2", "3", "4"]
    assert piece.images.shape == (5, 16, 16, 3)


def test_channels_can_be_asked_for(npz: Callable[..., str]) -> None:
    grey, colour = images(4, 8, 8), images(4, 8, 8, 3)
    assert (pixels(opened(npz(train_images=grey), channels="rgb")) == grey[..., None].repeat(3, -1)).all()
    luminance = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in colour])
    assert (pixels(opened(npz(train_images=colour), channels="grey"))[..., 0] == luminance).all()


def test_state_follows_the_content(npz: Callable[..., str]) -> None:
    train = images(3, 8, 8)
    first = opened(npz(train_images=train)).state
    assert opened(npz(train_images=train)).state == first
    assert opened(npz(train_images=train ^ 1)).state != first


def test_npz_on_s3(make_bucket: Callable[[], str], tmp_path: Path) -> None:
    bucket, train = make_bucket(), images(30, 8, 8, 3)
    np.savez_compressed(tmp_path / "x.npz", train_images=train)
    boto3.client("s3").upload_file(str(tmp_path / "x.npz"), bucket, "some/x.npz")
    assert (pixels(opened(f"npz:s3://{bucket}/some/x.npz")) == train).all()
    with pytest.raises(InputError, match=r"no file 's3://.*/y.npz'"):
        opened(f"npz:s3://{bucket}/some/y.npz")
    with pytest.raises(InputError, match="no bucket 'not-there'"):
        opened("npz:s3://not-there/x.npz")


def test_labels_that_are_not_0_to_c(npz: Callable[..., str]) -> None:
    source = opened(
        npz(
            train_images=images(3, 8, 8),
            train_labels=np.array([7, 3, 7]),
            test_images=images(1, 8, 8),
            test_labels=np.array([5]),
        )
    )
    assert source.classes == ("3", "5", "7")
    train, test = source.labels("train"), source.labels("test")
    assert train is not None
    assert test is not None
    assert (train.tolist(), test.tolist()) == ([2, 0, 2], [1])


def test_several_labels_an_image_are_left_out_with_a_note(npz: Callable[..., str]) -> None:
    source = opened(npz(train_images=images(3, 8, 8), train_labels=np.zeros((3, 14), int)))
    assert source.classes is None
    assert "several labels" in source.notes[0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": images(3, 8, 8), "y": np.zeros(3)}, "holds x, y, .*train_images"),
        ({"train_images": np.zeros((3, 8, 8))}, "float64 values; convert them to uint8"),
        ({"train_images": images(3, 8, 8, 8)}, r"shape \(3, 8, 8, 8\)"),
        ({"train_images": images(0, 8, 8)}, r"shape \(0, 8, 8\)"),
        ({"train_images": np.asfortranarray(images(3, 8, 8))}, "Fortran"),
        ({"train_images": images(3, 8, 8), "train_labels": np.zeros(4)}, "4 rows for 3 images"),
        ({"train_images": images(3, 8, 8), "train_labels": np.array([{}, 1, 2])}, "cannot be read"),
        ({"train_images": images(3, 8, 8), "test_images": images(3, 9, 9)}, "different sizes"),
    ],
)
def test_arrays_that_are_no_pool(npz: Callable[..., str], arrays: dict[str, np.ndarray], message: str) -> None:
    source = npz(**arrays)
    with pytest.raises(InputError, match=message):
        opened(source)


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(InputError, match=r"no .npz archive"):
        opened(f"npz:{tmp_path}/text.npz")
    with pytest.raises(InputError, match="There is no file"):
        opened(f"npz:{tmp_path}/missing.npz")
    with pytest.raises(InputError, match="There is no file"):
        opened(f"npz:{tmp_path}")


def test_a_damaged_archive_is_bad_input(npz: Callable[..., str]) -> None:
    source = npz(train_images=images(200, 8, 8))
    path = Path(source.removeprefix("npz:"))
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[0].header_offset
    data = bytearray(path.read_bytes())
    data[start + 4000 : start + 4100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        pixels(opened(source))


def test_real_archives(shared: Path) -> None:
    path = shared / "data" / "breastmnist.npz"
    content = np.load(path)
    source = opened(f"npz:{path}")
    for split in ("train", "val", "test"):
        assert (pixels(source, split, 100)[..., 0] == content[f"{split}_images"]).all()
        assert (source.labels(split) == content[f"{split}_labels"][:, 0]).all()


# ---- named sets --------------------------------------------------------------------------


def test_digits() -> None:
    from sklearn.datasets import load_digits

    source = opened("digits")
    assert source.splits == {"train": 1797}
    assert source.shape() == (8, 8, 1)
    assert source.classes == tuple("0123456789")
    shades = pixels(source, rows=500)
    # Exact and reversible: 16 steps of 15.9375.
    assert (np.rint(shades[..., 0] / 15.9375) == load_digits().images).all()
    assert (shades.min(), shades.max()) == (0, 255)
    assert (source.labels("train") == load_digits().target).all()


def test_medmnist_finds_the_file(tmp_path: Path) -> None:
    train = images(4, 8, 8, 3)
    for name in ("bloodmnist.npz", "bloodmnist_64.npz", "mineset.npz"):
        np.savez(tmp_path / name, train_images=train, train_labels=np.array([[6], [0], [2], [6]]))
    for name in ("bloodmnist", "bloodmnist@28", "bloodmnist@64"):
        source = opened(f"medmnist:{name}", data_dir=str(tmp_path))
        assert (pixels(source) == train).all()
        labels = source.labels("train")
        assert labels is not None
        assert labels.tolist() == [6, 0, 2, 6]
        assert source.classes is not None
        assert (len(source.classes), source.classes[6]) == (8, "neutrophil")
    assert opened("medmnist:mineset", data_dir=str(tmp_path)).classes == ("0", "2", "6")


def test_medmnist_without_file_or_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, root: str, filename: str, md5: str) -> None:
        (Path(root) / filename).write_bytes(b"half of it")
        raise OSError(f"no route to {url}")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", refuse)
    with pytest.raises(InputError, match=r"bloodmnist_128.npz' is not there and .*zenodo.* cannot be downloaded"):
        opened("medmnist:bloodmnist@128", data_dir=str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"no MedMNIST set 'bloodmist'.*bloodmnist"):
        opened("medmnist:bloodmist", data_dir=str(tmp_path))
    with pytest.raises(InputError, match="sizes 28, 64, 128, 224, not 99"):
        opened("medmnist:bloodmnist@99", data_dir=str(tmp_path))


def test_medmnist_downloads_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        assert md5 == "7053d0359d879ad8a5505303e11de1dc"
        assert not (Path(root) / "bloodmnist.npz").exists()
        with (Path(root) / filename).open("wb") as stream:
            np.savez(stream, train_images=images(4, 8, 8, 3))

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    assert opened("medmnist:bloodmnist", data_dir=str(tmp_path)).splits == {"train": 4}
    assert [path.name for path in tmp_path.iterdir()] == ["bloodmnist.npz"]


# ---- CIFAR-10-LT -------------------------------------------------------------------------

LONG_TAIL = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_long_tail_against_the_recipe_as_it_is_written() -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 5000))
    state = np.random.get_state()  # noqa: NPY002 the recipe uses the global generator
    np.random.seed(0)  # noqa: NPY002
    expected: list[int] = []
    for label, count in enumerate(LONG_TAIL):
        members = np.where(labels == label)[0]
        np.random.shuffle(members)  # noqa: NPY002
        expected += members[:count].tolist()
    np.random.set_state(state)  # noqa: NPY002
    indices = long_tail_indices(labels)
    assert indices.tolist() == expected
    assert np.bincount(labels[indices]).tolist() == LONG_TAIL


def test_long_tail_is_the_authors_subset(shared: Path) -> None:
    """CIFAR-10's labels are not here, but what is published determines the order inside each class.

    A class's members, in ascending order, are shuffled by a permutation that the labels have no part
    in: so the published indices, ranked, must be that permutation's first n_k values, ranked.
    """
    reference = np.load(shared / "reference" / "cifar10lt.npz")
    published, labels = reference["cifar10_train_index"], reference["labels"]
    ours = long_tail_indices(np.repeat(np.arange(10), 5000))
    for label, count in enumerate(LONG_TAIL):
        theirs, mine = published[labels == label], ours[ours // 5000 == label]
        assert len(theirs) == len(mine) == count
        assert (np.argsort(theirs) == np.argsort(mine)).all()
    # Class 0 is kept whole: its members are known, and with them the indices themselves.
    assert (np.sort(published[:5000])[ours[:5000]] == published[:5000]).all()


def test_cifar10_lt_takes_that_subset_of_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for torchvision's class: the real files are 170 MB."""
    labels = np.tile(np.arange(10), 500)  # 5,000 images: 500 of each class
    data = {True: images(5000, 4, 4, 3), False: images(20, 4, 4, 3)}

    def stand_in(root: str, train: bool, download: bool) -> SimpleNamespace:
        assert download
        assert root == str(tmp_path)
        targets = (labels if train else labels[:20]).tolist()
        return SimpleNamespace(data=data[train], targets=targets, classes=[f"c{i}" for i in range(10)])

    monkeypatch.setattr("torchvision.datasets.CIFAR10", stand_in)
    source = opened("cifar10-lt", data_dir=str(tmp_path))
    expected = long_tail_indices(labels)
    assert (pixels(source, rows=100) == data[True][expected]).all()
    assert source.keys("train", np.array([0, 1])) == [str(expected[0]), str(expected[1])]
    assert (source.labels("train") == labels[expected]).all()
    assert source.splits == {"train": len(expected), "test": 20}
    assert (pixels(source, "test") == data[False]).all()


def test_cifar10_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Dataset not found or corrupted.")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", refuse)
    with pytest.raises(InputError, match=r"CIFAR-10 is not below .* cannot be downloaded .*--data-dir"):
        opened("cifar10-lt", data_dir=str(tmp_path))


# ---- parsing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": ""}, "No images are named; give --pool"),
        ({"source": "./scans"}, "no known kind .* digits, npz:FILE, medmnist:NAME, cifar10-lt, folder:PATH"),
        ({"source": "zip:a.zip"}, "no known kind"),
        ({"source": "npz:"}, "should read npz:FILE"),
        ({"source": "digits:3"}, "should read digits"),
        ({"source": "digits", "labels": "folder"}, "leave --labels out"),
        ({"source": "digits", "image_size": 4}, "'ingest.image_size' is 4; give 8 or more"),
        ({"source": "digits", "rows_per_file": 0}, "'ingest.rows_per_file' is 0"),
        ({"source": "digits", "max_pixels": 0}, "'ingest.max_pixels' is 0"),
    ],
)
def test_sources_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_images(checked(IngestConfig(**settings)))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"source": "digits"}, "digits"),
        ({"source": "cifar10-lt"}, "cifar10-lt"),
        ({"source": "npz:../some/Blood 28.npz"}, "blood-28"),
        ({"source": "npz:s3://bucket/blood28.npz", "image_size": 64}, "blood28-64px"),
        ({"source": "medmnist:bloodmnist@64"}, "bloodmnist-64"),
        ({"source": "folder:./HAM10000/", "image_size": 512}, "ham10000-512px"),
        ({"source": "folder:s3://bucket/scans"}, "scans-224px"),
        ({"source": "digits", "name": "My_1.pool"}, "My_1.pool"),
    ],
)
def test_pool_names(settings: dict[str, Any], name: str) -> None:
    assert pool_name(IngestConfig(**settings)) == name


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "ä"])
def test_pool_names_that_are_no_folder_names(name: str) -> None:
    with pytest.raises(InputError, match=r"'ingest.name' is"):
        pool_name(IngestConfig(source="digits", name=name))


def test_local_paths_are_absolute_before_they_travel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = checked(IngestConfig(source="npz:a.npz", labels="b.csv", data_dir="d"))
    assert (config.source, config.labels, config.data_dir) == (
        f"npz:{tmp_path}/a.npz",
        f"{tmp_path}/b.csv",
        f"{tmp_path}/d",
    )
    remote = IngestConfig(source="folder:s3://bucket/x", labels="folder")
    assert checked(remote) == remote
