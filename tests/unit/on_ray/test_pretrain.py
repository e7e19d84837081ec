"""What the driver knows before any worker starts."""

from __future__ import annotations

import pytest

from pipeline.config import RunConfig
from pipeline.errors import InputError
from pipeline.on_ray.pretrain import check_workers
from pipeline.on_ray.session import AUTOSCALED_GPUS


@pytest.mark.parametrize(
    ("there", "most"),
    [
        ({"CPU": 1}, 1),
        ({"CPU": 2}, 3),
        ({"CPU": 16, "GPU": 8}, 8),
        ({"CPU": 4, "GPU": 8}, 7),
        ({"CPU": 2, AUTOSCALED_GPUS: 4}, 4),
        ({"CPU": 2, "GPU": 1, AUTOSCALED_GPUS: 4}, 4),
    ],
    ids=["one CPU", "two", "GPUs", "GPUs and hardly a CPU", "GPUs to come", "and one there"],
)
def test_workers_that_could_never_start_are_refused(
    there: dict[str, float], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes half a CPU, and one more share is for who reads."""
    monkeypatch.setattr("ray.cluster_resources", lambda: there)
    check_workers(RunConfig(workers=most))
    with pytest.raises(InputError, match=f"{most + 1} workers cannot train on .*; use --workers {most} or fewer"):
        check_workers(RunConfig(workers=most + 1))
