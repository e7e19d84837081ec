"""Machines whose HOME or TMPDIR cannot take what libraries keep there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import home
from pipeline.errors import InputError


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the temporary folder is, and a HOME of which only what lies in ``tmp_path/free`` can be written."""
    monkeypatch.setattr(home.tempfile, "gettempdir", lambda: str(tmp_path / "free"))
    (tmp_path / "free").mkdir()
    real = os.access
    monkeypatch.setattr(
        home.os,
        "access",
        lambda path, mode: real(path, mode) and (not mode & os.W_OK or Path(path).is_relative_to(tmp_path / "free")),
    )
    return tmp_path / "free"


def test_a_home_that_can_be_written_stays_as_it_is(temporary: Path) -> None:
    (temporary / "home").mkdir()
    environment = {"HOME": str(temporary / "home")}
    assert home.settle_home(environment) is None
    assert environment == {"HOME": str(temporary / "home")} and list((temporary / "home").iterdir()) == []


@pytest.mark.parametrize("given", [{"HOME": "/"}, {"HOME": "/nonexistent/home"}, {}])
def test_caches_and_token_move_and_it_is_said_once(
    given: dict[str, str], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(home.pwd, "getpwuid", nobody)
    environment = dict(given)
    said = home.settle_home(environment)
    assert said is not None and str(temporary) in said
    own = temporary / f"hacon-{os.getuid()}"
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "RAY_AUTH_TOKEN_PATH"):
        assert Path(environment[name]).is_relative_to(own)
    token = Path(environment["RAY_AUTH_TOKEN_PATH"])
    assert len(token.read_text()) == 64 and token.stat().st_mode & 0o077 == 0 and own.stat().st_mode & 0o077 == 0
    assert Path(environment["HOME"]).is_dir()
    assert home.settle_home(environment) is None  # once


def test_a_home_that_can_be_read_keeps_its_credentials_and_token(temporary: Path) -> None:
    there = temporary.parent / "read-only"
    (there / ".ray").mkdir(parents=True)
    (there / ".ray" / "auth_token").write_text("t" * 64)
    environment = {"HOME": str(there)}
    assert home.settle_home(environment) is not None
    assert environment["HOME"] == str(there) and "RAY_AUTH_TOKEN_PATH" not in environment


def test_a_folder_that_somebody_else_could_write_is_not_taken(temporary: Path) -> None:
    laid = temporary / f"hacon-{os.getuid()}"
    laid.mkdir(mode=0o777)
    laid.chmod(0o777)
    environment = {"HOME": "/"}
    home.settle_home(environment)
    assert not Path(environment["NUMBA_CACHE_DIR"]).is_relative_to(laid)


def test_ray_keeps_its_place_where_that_will_do(tmp_path: Path) -> None:
    assert home.ray_folder({"TMPDIR": "/tmp"}) is None
    assert home.ray_folder({}) is None


@pytest.mark.parametrize("long", ["/tmp/" + "d" * 70, "/tmp/" + "ü" * 30, "relative"])
def test_a_long_or_relative_tmpdir_gets_a_short_place(long: str) -> None:
    folder = home.ray_folder({"TMPDIR": long})
    assert folder is not None and os.path.isabs(folder) and f"ray-{os.getuid()}" in folder
    session = f"{folder}/session_2026-12-01_05-30-12_123456_1234567/sockets/plasma_store"
    assert len(session.encode()) <= 107


def test_somebody_elses_ray_folder_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "_takes", lambda path: str(path) != "/tmp/ray")
    assert home.ray_folder({}) == f"/tmp/ray-{os.getuid()}"
    monkeypatch.setattr(home, "_takes", lambda path: False)
    with pytest.raises(InputError, match="name a folder with RAY_TMPDIR"):
        home.ray_folder({})
