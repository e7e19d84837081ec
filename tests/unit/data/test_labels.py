"""Labels as strangers write them: names that are no class, ids that fit nothing or too much, odd tables."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from pipeline.config import NO_LABEL, IngestConfig
from pipeline.data.catalogue import checked, open_images
from pipeline.data.labels import Cleaner, Table, labels_from_folders, labels_from_tables, numbers_from_array
from pipeline.errors import InputError

KEYS = ["a/100.bmp", "b/007.bmp", "b/120.bmp", "c/scan one.png"]


def labels(*tables: str | bytes, keys: list[str] = KEYS, clean: Cleaner | None = None) -> dict[str, str | None]:
    """The labels by key of tables "key,label"; a text without that first line gets it."""
    files = [
        Table(f"t{number}.csv", text if isinstance(text, bytes) else f"key,label\n{text}".encode())
        for number, text in enumerate(tables, 1)
    ]
    found = labels_from_tables(files, keys, "key", "label", clean or Cleaner(NO_LABEL))
    return {key: name for key, name in zip(keys, found, strict=True) if name is not None}


def refused(*tables: str | bytes, keys: list[str] = KEYS) -> str:
    with pytest.raises(InputError) as raised:
        labels(*tables, keys=keys)
    return str(raised.value)


# ---- no class ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u00a0", "nan", "NaN", "N/A", "n/a", "NA", "null", "NULL", "None", "<NA>", "#N/A", "NaT", " nan "],
)
def test_what_is_no_class_is_unlabelled_in_tables(name: str) -> None:
    clean = Cleaner(NO_LABEL)
    assert labels(f"100,{name}\n007,cyst\n", clean=clean) == {"b/007.bmp": "cyst"}
    assert sum(clean.marked.values()) == bool(name.strip())


def test_what_is_no_class_is_unlabelled_in_folders_names() -> None:
    keys = ["NA/1.png", "nan/2.png", "None/3.png", "naevus/4.png"]
    assert labels_from_folders(keys, Cleaner(NO_LABEL)) == [None, None, None, "naevus"]
    assert labels_from_folders(keys, Cleaner(["nan"])) == ["NA", None, "None", "naevus"]


@pytest.mark.parametrize(
    ("array", "numbers", "classes"),
    [
        (np.array([2.0, np.nan, 0.0, 2.0]), [1, -1, 0, 1], ("0", "2")),
        (np.array([0.5, np.nan, 2.0], np.float32), [0, -1, 1], ("0.5", "2.0")),
        (np.array([np.nan, np.nan]), [-1, -1], ()),
        (np.array(["b", "nan", "", "a", "None"]), [1, -1, -1, 0, -1], ("a", "b")),
        (np.array([b"b", b"N/A", b"a"]), [1, -1, 0], ("a", "b")),
        (np.array([10, 9, 10]), [1, 0, 1], ("9", "10")),
        (np.array(["gro\u0308\u00dfer", "gr\u00f6\u00dfer"]), [0, 0], ("gr\u00f6\u00dfer",)),
    ],
)
def test_labels_in_arrays(array: np.ndarray, numbers: list[int], classes: tuple[str, ...]) -> None:
    found, names = numbers_from_array({"train": array, "test": array[::-1]}, Cleaner(NO_LABEL))
    assert names == classes
    assert found["train"].tolist() == numbers and found["test"].tolist() == numbers[::-1]


def test_an_archive_says_how_many_are_unlabelled(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=np.array([1.0, np.nan, 0, np.nan, 1]))
    source = open_images(checked(IngestConfig(source=f"npz:{tmp_path}/a.npz")))
    assert source.classes == ("0", "1")
    assert "2 of 5 images have no label" in source.notes[0] and "2 'nan'" in source.notes[0]


def test_a_setting_makes_such_a_name_a_class_and_is_in_the_state(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", train_images=np.zeros((3, 8, 8), np.uint8), train_labels=np.array(["none", "nan", "x"])
    )
    usual = IngestConfig(source=f"npz:{tmp_path}/a.npz")
    other = IngestConfig(source=usual.source, no_label=("nan",))
    assert open_images(usual).classes == ("x",) and open_images(other).classes == ("none", "x")
    assert open_images(usual).state != open_images(other).state


# ---- ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_names_meet(form: Literal["NFC", "NFD"]) -> None:
    keys = [unicodedata.normalize("NFD", "größe/über.png"), unicodedata.normalize("NFC", "größe/öl.png")]
    text = unicodedata.normalize(form, "über,größer\nöl.png,größer\n")
    assert set(labels(text, keys=keys).values()) == {unicodedata.normalize("NFC", "größer")}
    other = labels("über,gro\u0308ßer\nöl.png,gr\u00f6ßer\n", keys=keys)
    assert len(other) == 2 and len(set(other.values())) == 1


@pytest.mark.parametrize("name", ["100.bmp", "100"])
def test_an_id_that_fits_two_images_is_refused(name: str) -> None:
    words = refused(f"{name},x\n", keys=["a/100.bmp", "b/100.bmp"])
    assert f"'{name}'" in words and "'a/100.bmp' and 'b/100.bmp'" in words and "paths in column 'key'" in words


def test_an_image_and_its_mask_of_one_stem_are_refused() -> None:
    assert "'001.bmp' and '001.png'" in refused("001,x\n", keys=["001.bmp", "001.png"])
    assert labels("001.bmp,x\n", keys=["001.bmp", "001.png"]) == {"001.bmp": "x"}
    assert labels("001,\n002,y\n", keys=["001.bmp", "001.png", "002.png"]) == {"002.png": "y"}, "no label, no doubt"


def test_a_path_is_not_taken_for_another_images_file_name() -> None:
    keys = ["100.bmp", "b/100.bmp", "b/2.bmp"]
    assert labels("100.bmp,x\nb/2.bmp,y\n", keys=keys) == {"100.bmp": "x", "b/2.bmp": "y"}
    assert labels("100.bmp,x\nb/100.bmp,y\n", keys=keys) == {"100.bmp": "x", "b/100.bmp": "y"}
    assert "fits two" in refused("100.bmp,x\n2,y\n", keys=keys)


@pytest.mark.parametrize("path", ["b\\007.bmp", "./b/007.bmp", " b/007.bmp "])
def test_paths_as_other_systems_write_them(path: str) -> None:
    assert labels(f"{path},x\n") == {"b/007.bmp": "x"}


@pytest.mark.parametrize(
    ("row", "key", "words"),
    [
        ("7", "b/007.bmp", "leading zeros"),
        ("7.bmp", "b/007.bmp", "leading zeros"),
        ("7.0", "b/007.bmp", "decimal number"),
        ("120.0", "b/120.bmp", "decimal number"),
        ("120.", "b/120.bmp", "decimal number"),
        ("1.23457E+11", "123456789012.png", "scientific"),
        ("1.2e+11", "120000000000.png", "scientific"),
        ("1E+05", "100000.png", "scientific"),
    ],
)
def test_ids_that_a_spreadsheet_changed_are_named(row: str, key: str, words: str) -> None:
    said = refused(f"100,x\n{row},y\n", keys=[*KEYS, "123456789012.png", "120000000000.png", "100000.png"])
    assert words in said and f"'{row}'" in said and f"'{key}'" in said and "as text" in said


def test_rows_of_other_images_are_no_damage() -> None:
    assert labels("100,x\n8,y\n9.0,z\n1E+05,z\n", keys=KEYS) == {"a/100.bmp": "x"}
    assert labels("7,x\n007,y\n", keys=["7.png", "007.png"]) == {"7.png": "x", "007.png": "y"}


# ---- tables ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfkey,label\r\n100,x\r\n007,y\r\n",
        b"\xef\xbb\xbfkey;label\r\n100;x\r\n007;y\r\n",
        b"key\tlabel\n100\tx\n007\ty\n",
        b"key|label\n100|x\n007|y\n",
        b"key,label\r100,x\r007,y\r",
        b"sep=;\r\nkey;label\r\n100;x\r\n007;y\r\n",
        b"key, label\n100, x\n007, y\n",
        b'key,label\n"100","x"\n"007","y"\n',
        b"label,other,key\nx,1,100\n\ny,2,007\n",
        b"key,label\n100,x\n100,x\n007,y\n007,\n",
        b"key,label\n\n100,x \n,z\n007,y",
    ],
)
def test_tables_as_programs_write_them(text: bytes) -> None:
    assert labels(text) == {"a/100.bmp": "x", "b/007.bmp": "y"}


def test_several_tables() -> None:
    assert labels("100,x\n", b"key;label\n007;y\n100;x\n") == {"a/100.bmp": "x", "b/007.bmp": "y"}


def test_contradictions_are_refused_with_both_labels() -> None:
    assert refused("100,x\n100,y\n") == "'t1.csv' gives '100' the labels 'x' and 'y'; keep one."
    words = refused("100,x\n", "100,y\n")
    assert all(each in words for each in ("'t1.csv'", "'t2.csv'", "'x'", "'y'", "'100'"))
    words = refused("100,x\n100.bmp,y\n")
    assert all(each in words for each in ("'100'", "'100.bmp'", "'x'", "'y'"))
    assert labels("100,x\n100,nan\n") == {"a/100.bmp": "x"}, "no label contradicts none"


def test_a_table_that_labels_nothing() -> None:
    assert "marks all images as unlabelled" in refused("100,nan\n007,\n")
    assert "None of 4 images" in refused("other,x\n")


@pytest.mark.parametrize(
    "text", [b'key,label\n100,"x\n007,y\n', b"key,label\n100\n", "key,label\n100,é\n".encode("cp1252")]
)
def test_what_is_no_table(text: bytes) -> None:
    assert "'t1.csv' is no CSV file" in refused(text)


def test_tables_and_folders_do_not_mix() -> None:
    with pytest.raises(InputError, match="keep one with --labels"):
        checked(IngestConfig(source="folder:x", labels="folder", more_labels=("a.csv",)))
