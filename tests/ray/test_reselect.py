"""The scheduled job on a folder that grows: what is new, what is handed out, and what a kill leaves."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from jobs.cli import main
from pipeline import lease as leases
from pipeline.features import features_from_files
from pipeline.lease import leased
from pipeline.publish import finished
from pipeline.results import FILES, ISSUED, Compared, Night
from pipeline.stages import reselect
from pipeline.stages.archive import ArchiveReader, nights
from pipeline.storage import Location

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(900)]

FIRST, BUDGET = 60, 6
DIGITS = (load_digits().images * 15.9).astype(np.uint8)


def _write(folder: Path, numbers: range) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(DIGITS[number]).save(folder / f"{number:04d}.png")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scans and a store with the first query; tests take copies."""
    root = tmp_path_factory.mktemp("archive")
    _write(root / "scans", range(FIRST))
    flags = ["--pool", f"folder:{root}/scans", "--store", f"{root}/store", "--run", "scans", "--budget", str(BUDGET)]
    assert main(["select", *flags, "--image-size", "8", "--set", "report.umap_points=40", "embed.input_size=32"]) == 0
    return root


@pytest.fixture
def root(begun: Path, tmp_path: Path) -> Path:
    """A copy to grow in. Times stay, so that nothing seems to be written anew."""
    shutil.copytree(begun, tmp_path / "copy")
    return tmp_path / "copy"


def _reselect(root: Path, *flags: str) -> int:
    where = ["--run", "scans", "--store", f"{root}/store", "--pool", f"folder:{root}/scans"]
    return main(["reselect", *where, *flags])


def _query(root: Path, number: int) -> list[str]:
    folder = root / "store/runs/scans" / ("query" if number == 1 else f"query-{number:04d}")
    return [row["key"] for row in csv.DictReader((folder / "query.csv").read_text().splitlines())]


def _nights(root: Path) -> list[Night]:
    return nights(Location(f"{root}/store"), "scans")


def _label(root: Path, answers: dict[str, str]) -> None:
    rows = [f"{key},{'x' if status == 'labelled' else ''},{status == 'skipped'}" for key, status in answers.items()]
    table = root / f"back {len(answers)}.csv"
    table.write_text("\n".join(["key,label,skipped", *rows]))
    assert main(["labels", "--run", "scans", "--store", f"{root}/store", "--from", str(table)]) == 0


@pytest.mark.parametrize("parts", [reselect.PARTS, 1])
def test_nights_of_an_archive(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    """``parts`` 1: every night's tables hold everything, as every sixteenth's do."""
    monkeypatch.setattr(reselect, "PARTS", parts)
    scans = root / "scans"
    assert _reselect(root) == 0
    assert "Nothing is new" in capsys.readouterr().out and _nights(root) == []
    first = _query(root, 1)

    # Night 2: 20 new images, a copy, a file that is moved, a broken one; two of the first query go.
    _write(scans, range(FIRST, FIRST + 20))
    shutil.copy(scans / "0061.png", scans / "copy.png")
    unissued = next(name for name in sorted(os.listdir(scans)) if name not in first)
    os.rename(scans / unissued, scans / "moved.png")
    (scans / "broken.png").write_bytes(b"no image")
    for key in first[:2]:
        os.remove(scans / key)
    assert _reselect(root, "--budget", "5") == 0
    (night,) = _nights(root)
    assert night.counts == {"new": 20, "moved": 1, "copy": 1, "rejected": 1, "gone": 2}
    assert (night.number, night.query, night.issued, night.size, night.held) == (2, 2, 5, 80, 78)
    second = _query(root, 2)
    left = {name.split("/")[0] for name, _, _ in Location(f"{root}/store").files("runs/scans/query-0002")}
    files = {"query.csv", "query.labelstudio.json", "coco.json", "contact-sheet.pdf", "handed-out.csv", "report.html"}
    assert left == {*files, "labelstudio", "cvat"}
    assert len(second) == 5 and not {*first} & {*second}
    issued = (
        Location(f"{root}/store")
        .read_table(night.file(ISSUED))
        .sort_by([("query", "ascending"), ("rank", "ascending")])
    )
    gone = issued["sample_id"].to_pylist()[:2]
    assert issued["replaces"].to_pylist()[BUDGET : BUDGET + 2] == gone, "what is gone is replaced first"

    # Night 3: labels only. One cannot be labelled, and is replaced.
    _label(root, {**dict.fromkeys([*first[2:], *second[1:]], "labelled"), second[0]: "skipped", "no such": "labelled"})
    assert _reselect(root, "--budget", "5") == 0
    third, last = _query(root, 3), _nights(root)[-1]
    assert not {*first, *second} & {*third} and last.answers == 1 and last.counts == {}
    assert last.totals == {"handed_out": 16, "labelled": 8, "skipped": 1, "open": 5, "lost": 2}
    assert last.churn is not None and 0 <= last.churn <= 1

    # Night 4: files are only written again and copied. That is remembered, and asks for no query.
    os.utime(scans / "moved.png", ns=(1, 1))
    shutil.copy(scans / "0062.png", scans / "another.png")
    assert _reselect(root, "--budget", "5") == 0
    assert _nights(root)[-1].issued == 0 and _nights(root)[-1].counts == {"touched": 1, "copy": 1}
    assert _reselect(root, "--budget", "5") == 0 and len(_nights(root)) == 3
    # No more is left open than is asked for.
    _write(scans, range(FIRST + 20, FIRST + 22))
    assert _reselect(root, "--budget", "5", "--most-open", "7") == 0
    assert _nights(root)[-1].issued == 2
    assert (_nights(root)[-1].whole, len(_nights(root)[-1].parts)) == (parts == 1, 1 if parts == 1 else 4)
    assert capsys.readouterr().err == ""
    assert main(["status", "--run", "scans", "--store", f"{root}/store", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["night"]["number"], told["night"]["query"], told["at_work"]) == (5, 4, None)
    assert told["next"].startswith("hacon reselect --run scans")
    with leased(Location(f"{root}/store"), "scans", "another job"):
        assert main(["status", "--run", "scans", "--store", f"{root}/store"]) == 0
    said = capsys.readouterr().out
    assert "  night 5     " in said and "At work: another job, process" in said


def test_new_images_are_embedded_as_the_first_were(root: Path) -> None:
    _write(root / "scans", range(FIRST, FIRST + 7))
    assert _reselect(root) == 0
    (night,), store = _nights(root), Location(f"{root}/store")
    samples = store.read_table(f"{night.files}/samples.parquet").sort_by("sample_id")
    found = np.array(samples["features"].to_pylist(), np.float32)
    assert samples["sample_id"].to_pylist() == list(range(FIRST, FIRST + 7))
    # A run that has the seven from the start, in the first one's space.
    flags = ["--pool", f"folder:{root}/scans", "--store", f"{root}/store", "--run", "whole", "--budget", "3"]
    settings = ["--image-size", "8", "--set", "embed.input_size=32", "ingest.name=whole"]
    assert main(["ingest", *flags, *settings]) == 0 and main(["embed", *flags, *settings]) == 0
    from pipeline.cluster.space import Space
    from pipeline.results import Embedded

    whole = finished(store, "runs/whole/embeddings", Embedded)
    compared = finished(store, "runs/scans/components", Compared)
    assert whole is not None and compared is not None
    space = Space.from_bytes(store.read_bytes(compared.space_file))
    np.testing.assert_allclose(found, space(features_from_files(store, whole)[FIRST:]), atol=1e-5)
    images = ArchiveReader(store, night.generations).images(np.array([FIRST + 3, 0, FIRST]))
    assert np.array_equal(images[..., 0], DIGITS[[FIRST + 3, 0, FIRST]])


class _Killed(BaseException):
    """Nothing is written after it, as after SIGKILL."""


VERBS = ("write_bytes", "write_json", "write_tables", "put_if_absent", "delete_file", "delete_folder")


def _kill_at(step: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """From the driver's write number ``step`` on, the store is out of this process's reach."""
    seen = 0

    def dying(plain: Callable[..., Any]) -> Callable[..., Any]:
        def verb(self: Location, name: str, *rest: Any, **how: Any) -> Any:
            nonlocal seen
            if "leases" not in name:
                seen += 1
            if seen > step:
                raise _Killed
            return plain(self, name, *rest, **how)

        return verb

    for name in VERBS:
        patch.setattr(Location, name, dying(getattr(Location, name)))
    return lambda: seen


def test_a_night_that_is_killed_anywhere_ends_as_if_it_had_not_been(root: Path, tmp_path: Path) -> None:
    _write(root / "scans", range(FIRST, FIRST + 9))
    os.remove(root / "scans" / _query(root, 1)[0])
    _label(root, {_query(root, 1)[1]: "labelled"})
    shutil.copytree(root, tmp_path / "undisturbed")
    assert _reselect(tmp_path / "undisturbed") == 0
    wanted = _query(tmp_path / "undisturbed", 2)
    step, ended = 0, False
    while not ended:
        torn = tmp_path / f"torn {step}"
        shutil.copytree(root, torn)
        with pytest.MonkeyPatch.context() as patch:
            steps = _kill_at(step, patch)
            try:
                assert _reselect(torn) == 0
                ended = True
            except _Killed:
                assert steps() > step
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(leases, "DEAD_SECONDS", -1.0)  # this process lives on, and would seem to hold its lease
            assert _reselect(torn) == 0
        (night,) = _nights(torn)
        assert _query(torn, 2) == wanted and night.issued == BUDGET
        store = Location(f"{torn}/store")
        left = {name.split("/")[0] for name, _, _ in store.files("runs/scans/nights/0002")}
        assert left == {"done.json", night.files.rpartition("/")[2]}, "what a kill left is cleared"
        assert store.read_table(f"{night.files}/{FILES}").num_rows == 10
        shutil.rmtree(torn)
        step += 1
    assert step > 8


def test_at_most_two_a_patient(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(root / "scans", range(FIRST, FIRST + 40))
    table = tmp_path / "patients.csv"
    table.write_text("key,patient\n" + "".join(f"{number:04d}.png,p{number // 20}\n" for number in range(FIRST + 40)))
    cap = ["--groups", str(table), "--per", "patient", "--at-most", "2"]
    where = ["--pool", f"folder:{root}/scans", "--store", f"{root}/capped", "--image-size", "8"]
    less = ["--set", "report.umap_points=40", "embed.input_size=32"]
    assert main(["select", *where, *cap[:-2], "--budget", "4", *less]) == 2
    assert "A cap on groups needs three things" in capsys.readouterr().err
    assert main(["select", *where, *cap, "--run", "more", "--budget", "11", *less]) == 2
    assert "With at most 2 a 'patient' there are 10 images to choose" in capsys.readouterr().err
    assert main(["select", *where, *cap, "--run", "scans", "--budget", "4", *less]) == 0
    rows = csv.DictReader((root / "capped/runs/scans/query/query.csv").read_text().splitlines())
    first = [int(row["key"][:4]) for row in rows]
    _write(root / "scans", range(FIRST + 40, FIRST + 41))  # of no patient that the table knows
    assert main(["reselect", "--run", "scans", "--store", f"{root}/capped", "--budget", "20"]) == 0
    rows = csv.DictReader((root / "capped/runs/scans/query-0002/query.csv").read_text().splitlines())
    later = [int(row["key"][:4]) for row in rows]
    patients = [number // 20 for number in [*first, *later] if number < FIRST + 40]
    assert sorted(patients) == sorted([*range(5)] * 2) and later.count(FIRST + 40) == 1


def test_while_another_job_is_at_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with leased(Location(f"{root}/store"), "scans", "another job"):
        assert _reselect(root) == 4
    assert "is in the hands of another job, process" in capsys.readouterr().err
    assert _reselect(root) == 0


def test_what_cannot_grow_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reselect", "--run", "nobody", "--store", f"{root}/store"]) == 2
    assert main(["reselect", "--run", "scans", "--store", f"{root}/store", "--set", "cluster.k=3"]) == 2
    assert "a later query takes a run as it is" in capsys.readouterr().err
    assert _reselect(root, "--set", "query.order=hard-to-contrast") == 2
    assert "needs confidence, which new images do not have" in capsys.readouterr().err
