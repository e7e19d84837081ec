"""Parts that trials share, each computed once: which ones trials need, and the Ray tasks that make them.

A part is a stage of its own on the store, ``runs/<run>/evaluation/<part>``, of one safetensors file; as many are made
at once as the cluster has room for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from pipeline.artifacts import Int64, fingerprint
from pipeline.cluster import KMeansResult
from pipeline.evaluate import part_makers as make
from pipeline.evaluate import stored_parts as names
from pipeline.evaluate.files import ARRAYS
from pipeline.evaluate.opened import FEATURES, Evaluation, Opened, opened
from pipeline.evaluate.scorer import COPIES
from pipeline.evaluate.spec import TrialSpec
from pipeline.on_ray.session import gpus, quieten
from pipeline.progress import Progress, silent
from pipeline.publish import Stage, claim, finished
from pipeline.results import SharedPart
from pipeline.select import find
from pipeline.select.fresh_clusters import MOST_CLUSTERS


@dataclass(frozen=True)
class Part:
    """One part: its name, the function that makes it, and the settings that decide its content."""

    name: str
    make: Callable[[Opened], make.Made]
    settings: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Parts that it is made of."""
    gpu: bool = False
    """Whether a GPU speeds it up."""


def parts_of(evaluation: Evaluation, specs: Iterable[TrialSpec], orders: Mapping[str, Int64]) -> list[Part]:
    """The parts that trials need, each once. A part comes after those that it is made of.

    Args:
        orders: published orders by name.
    """
    found = [orders_part(orders)] if orders else []
    if evaluation.on_features:
        found.append(Part(FEATURES, partial(make.features, split="test"), gpu=True))
    for spec in specs:
        found += _parts_of(evaluation, spec)
    return list({part.name: part for part in found}.values())


def make_parts(evaluation: Evaluation, parts: Sequence[Part], say: Callable[[str], None]) -> dict[str, str]:
    """Make the missing parts in parallel. Ray is running.

    A part that cannot be made is reported. Trials that need it fail; the others go on.

    Returns:
        The error by the name of each part that could not be made.

    Raises:
        InputError: a part was begun with other settings.
    """
    for part in parts:
        claim_part(evaluation, part)
    failed: dict[str, str] = {}
    missing = [part for part in parts if finished(evaluation.store, evaluation.folder(part.name), SharedPart) is None]
    if not missing:
        return failed
    say(f"{len(missing)} of {len(parts)} shared parts are to be made: features, clusters, scores and the like")
    progress = Progress("shared parts", len(missing), say)
    running: dict[str, Any] = {}
    for part in missing:
        on_gpu = part.gpu and gpus() > 0
        task = ray.remote(num_cpus=1, num_gpus=1 if on_gpu else 0, max_retries=2)(_make)
        running[part.name] = task.remote(
            evaluation, part, on_gpu, *(running[name] for name in part.after if name in running)
        )
    left = {reference: name for name, reference in running.items()}
    while left:
        for reference in ray.wait(list(left))[0]:
            name = left.pop(reference)
            try:
                ray.get(reference)
            except RayError as error:
                failed[name] = str(error)
                say(f"{name} cannot be made, and trials that need it will fail:\n{error}")
            progress.advance(f", {name}")
    return failed


def claim_part(evaluation: Evaluation, part: Part) -> None:
    """Raise InputError if the part was begun with other settings."""
    stage = _stage(evaluation, part)
    claim(stage.store, stage.folder, stage.settings, stage.remedy)


def orders_part(orders: Mapping[str, Int64]) -> Part:
    """Published orders, by their names."""
    held = [part for name in sorted(orders) for part in (name, np.asarray(orders[name], np.int64).tobytes())]
    return Part(names.ORDERS, partial(make.orders, orders=dict(orders)), {"orders": fingerprint(*held)})


def fresh_clusters(given: Opened, k: int, seed: int) -> KMeansResult:
    """The K-means of a strategy for its budget: read from the store, or made now and kept there."""
    part = _fresh_clusters(k, seed)
    done = _keep(given, part)
    assert done.inertia is not None and done.backend is not None and done.reason is not None
    arrays = given.evaluation.arrays(part.name)[0]
    return KMeansResult(**arrays, inertia=done.inertia, backend=done.backend, reason=done.reason)


def _parts_of(evaluation: Evaluation, spec: TrialSpec) -> Iterator[Part]:
    chosen_by = find(spec.strategy)
    if chosen_by is None:  # an oracle or a published order
        return
    needs, seed = set(chosen_by.needs), spec.seed
    if needs & {"cluster", "distance"}:
        yield _clusters(evaluation, "features", spec.clusters, seed)
    if needs & {"pixel_cluster", "pixel_distance"}:
        yield _clusters(evaluation, "pixels", spec.clusters, seed)
    # Their K and seed are known beforehand here alone: ``uniform`` asks for more until the labels are content, later
    # cycles have seeds of their own. The first trial that asks makes what others then find.
    if not (chosen_by.nests or spec.uniform or spec.scorer == "labelled"):
        yield _fresh_clusters(min(spec.budget, MOST_CLUSTERS), seed)
    views = names.VIEWS in needs
    if views and evaluation.on_features:
        yield Part(names.COPIES, make.copies, {"copies": COPIES}, gpu=True)
    if chosen_by.scorer and spec.scorer == "test":
        yield _scores(evaluation, seed, views)
    if "labelled_score" in needs:
        yield Part(names.vaal_name(seed), partial(make.vaal, seed=seed), {"seed": seed}, gpu=True)
    if needs & names.LEARNABILITY:
        # Of images by ResNet-18 from scratch, whatever the trials' classifier is.
        settings = {} if evaluation.on_features else {"network": evaluation.network or "small"}
        yield Part(names.map_name(evaluation), make.learnability, settings, gpu=not evaluation.on_features)


def _clusters(evaluation: Evaluation, space: str, k: int, seed: int) -> Part:
    settings = evaluation.clustering
    if space == "pixels":
        del settings["cluster.space"]
    name = names.clusters_name(space, k, seed)
    gpu = evaluation.cluster.backend != "sklearn"
    return Part(name, partial(make.clusters, space=space, k=k, seed=seed), settings, gpu=gpu)


def _fresh_clusters(k: int, seed: int) -> Part:
    return Part(names.fresh_clusters_name(k, seed), partial(make.fresh_clusters, k=k, seed=seed))


def _scores(evaluation: Evaluation, seed: int, views: bool) -> Part:
    after = ((FEATURES, names.COPIES) if views else (FEATURES,)) if evaluation.on_features else ()
    return Part(
        names.scores_name(evaluation, seed, views),
        partial(make.scores, seed=seed, views=views),
        _network(evaluation),
        after,
        gpu=not evaluation.on_features,
    )


def _network(evaluation: Evaluation) -> dict[str, Any]:
    """The settings that decide the training of a network."""
    if evaluation.on_features:
        return {}
    return {"network": evaluation.network, "imagenet_weights": evaluation.imagenet_weights}


def _make(evaluation: Evaluation, part: Part, on_gpu: bool, *_: Any) -> str:
    """The task; its last arguments are what it waits for."""
    quieten()
    _keep(opened(evaluation, on_gpu), part)
    return part.name


def _keep(given: Opened, part: Part) -> SharedPart:
    """Make a part unless it is there; its stage's result."""
    from safetensors.numpy import save

    def work(files: str) -> SharedPart:
        arrays, facts = part.make(given)
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        given.evaluation.store.write_bytes(f"{files}/{ARRAYS}", save(contiguous))
        return facts

    return _stage(given.evaluation, part).run(work, silent)  # hundreds of lines that say "kept" would help nobody


def _stage(evaluation: Evaluation, part: Part) -> Stage[SharedPart]:
    settings = {"images": evaluation.images, "weights": evaluation.weights, **part.settings}
    return Stage(evaluation.store, evaluation.folder(part.name), SharedPart, settings, "start a new run with --run.")
