"""``hacon.select``: rows of the array that was given, nothing said unasked, the same answer as the command line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hacon.selecting import Query
from hacon.selecting import select as select_by_preset
from jobs.cli import main
from pipeline.artifacts import Uint8
from pipeline.errors import InputError
from pipeline.storage import Location

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(900)]

TINY = {
    **{"pretrain.epochs": 1, "pretrain.batch_size": 32, "pretrain.queue_size": 64, "pretrain.bn_splits": 2},
    **{"report.umap_points": 40, "report.random_draws": 50},
}
COPIES = 5
select = partial(select_by_preset, preset="hacon")


@pytest.fixture(scope="module")
def images() -> Uint8:
    """100 digits, before them copies of the first five: a sample_id is five less than the row."""
    digits = (load_digits().images[:100] * 15.9).astype(np.uint8)
    return np.concatenate([digits[:COPIES], digits])


@pytest.fixture(scope="module")
def query(images: Uint8, tmp_path_factory: pytest.TempPathFactory) -> Query:
    store = str(tmp_path_factory.mktemp("store"))
    return select(images, 8, store=store, settings=TINY, labels=np.r_[np.arange(COPIES), load_digits().target[:100]])


def test_rows_are_those_of_the_array(query: Query, images: Uint8) -> None:
    assert query.rows is not None and len(query) == len(set(query.rows.tolist())) == 8
    assert [str(row) for row in query.rows] == list(query.keys) == query.table()["key"].to_pylist()
    assert query.table()["rank"].to_pylist() == list(range(1, 9))
    ids = np.asarray(query.table()["sample_id"])
    assert np.array_equal(images[query.rows], np.delete(images, np.s_[COPIES : 2 * COPIES], axis=0)[ids])
    assert (ids != query.rows).any(), "the copies shift what follows"
    assert Path(query.report).read_text().startswith("<!doctype html>")


def test_nothing_is_said_unasked(query: Query, images: Uint8, capfd: pytest.CaptureFixture[str]) -> None:
    again = select(images, 9, run="quiet", store=query.store.uri, settings=TINY)
    assert again.rows is not None and capfd.readouterr() == ("", "")
    said: list[str] = []
    select(images, 9, run="quiet", store=query.store.uri, settings=TINY, log=said.append)
    assert any("kept what is there" in line for line in said) and capfd.readouterr() == ("", "")


def test_the_same_call_is_the_same_run(query: Query, images: Uint8) -> None:
    labels = np.r_[np.arange(COPIES), load_digits().target[:100]]
    again = select(images.copy(), 8, store=query.store.uri, settings=TINY, labels=labels)
    assert again.run == query.run and again.keys == query.keys
    assert select(images, 7, store=query.store.uri, settings=TINY, labels=labels).run != query.run


def test_a_folder_is_chosen_from_as_the_command_line_does(images: Uint8, tmp_path: Path) -> None:
    for number, image in enumerate(images[COPIES:45]):
        Image.fromarray(image).resize((16, 16)).save(tmp_path / f"{number:02d}.png")
    settings = {**TINY, "ingest.image_size": 16}
    found = select(
        tmp_path, 4, store=str(tmp_path / "out"), run="python", order="closest-to-centroid", settings=settings
    )
    assert found.rows is None and all(key.endswith(".png") for key in found.keys)
    flags = ["--pool", f"folder:{tmp_path}", "--budget", "4", "--run", "line", "--store", str(tmp_path / "out")]
    more = [f"{key}={value}" for key, value in settings.items()]
    assert main(["select", *flags, "--preset", "hacon", "--set", "query.order=closest-to-centroid", *more]) == 0
    store = Location(str(tmp_path / "out"))
    assert store.read_bytes("runs/python/query/query.csv") == store.read_bytes("runs/line/query/query.csv")


def test_what_is_no_stack_of_images_is_refused(images: Uint8, tmp_path: Path) -> None:
    for wrong in (images.astype(np.float32), images[0], images[..., None].repeat(4, axis=-1)):
        with pytest.raises(ValueError, match=r"images are .* of shape .*; give uint8"):
            select(wrong, 8, store=str(tmp_path))
    with pytest.raises(ValueError, match="3 labels for 105 images"):
        select(images, 8, labels=[0, 1, 2], store=str(tmp_path))
    with pytest.raises(InputError, match="There is no order 'tipiclust'; did you mean 'typiclust'"):
        select(images, 8, order="tipiclust", store=str(tmp_path))
