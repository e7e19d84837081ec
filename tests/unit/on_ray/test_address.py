"""What RAY_ADDRESS may say, and how soon an address that does not answer is told."""

from __future__ import annotations

import socket
import time

import pytest

from pipeline.errors import InputError
from pipeline.on_ray.session import _joined, _OursFirst


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:8265", "is where jobs are submitted: write ray job submit --address http://127.0.0.1:8265"),
        ("https://x", "is where jobs are submitted"),
        ("nonsense", "is no address; write HOST:PORT"),
        ("host:", "is no address"),
        ("a b:c", "is no address"),
        ("127.0.0.1:1", "No Ray answers at RAY_ADDRESS='127.0.0.1:1'; start that cluster, or unset RAY_ADDRESS"),
        ("127.0.0.1:99999", "No Ray answers"),
        ("ray://127.0.0.1:1", "No Ray answers"),
    ],
)
def test_an_address_that_is_none_is_told_at_once(address: str, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        _joined(address)
    assert words in str(caught.value) and time.monotonic() - began < 20


@pytest.mark.slow
def test_something_else_that_listens_is_told_within_20_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        with pytest.raises(InputError, match="No Ray answers"):
            _joined(f"127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 20


def test_workers_look_into_our_folder_first() -> None:
    folders = _OursFirst(["/ours"])
    folders.extend(["/script", "/working-directory"])
    assert folders[-1] == "/ours"  # a worker puts one after the other in front
