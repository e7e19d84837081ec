"""Whether kernels can be compiled here, said before a training starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipeline import device as devices


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    devices.why_not_compiled.cache_clear()
    yield
    devices.why_not_compiled.cache_clear()


def test_what_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "no C compiler" in (devices.why_not_compiled() or "")
    devices.why_not_compiled.cache_clear()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    assert "headers" in (devices.why_not_compiled() or "")


def test_on_a_cpu_a_fused_function_is_the_function() -> None:
    fused = devices.fused(lambda tensor, factor: tensor * factor)
    assert torch.equal(fused(torch.ones(2), 3), torch.full((2,), 3.0))


def test_constants_are_made_once_a_device() -> None:
    first = devices.constant((1.0, 2.0), torch.device("cpu"))
    with torch.inference_mode():
        other = devices.constant((3.0,), torch.device("cpu"))
    assert devices.constant((1.0, 2.0), torch.device("cpu")) is first
    assert not other.is_inference()
