"""What every trial and every shared part of an evaluation works on, as a process finds it on the store.

An ``Evaluation`` is small and sent to the workers; each of them opens it once (``opened``) and keeps what it read.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch

from pipeline.artifacts import Float32, Int64, PoolManifest, fingerprint, pool_folder
from pipeline.cluster.space import Space
from pipeline.config import ClusterConfig, TrialsConfig
from pipeline.data.pool import PoolReader
from pipeline.errors import InputError
from pipeline.evaluate.classifiers import Resources, check_classifier, network_settings
from pipeline.evaluate.files import part_arrays, part_folder
from pipeline.evaluate.samples import EvaluationData, Samples
from pipeline.features import features_from_files
from pipeline.publish import Result, claim, finished
from pipeline.results import Compared, Embedded, Ingested, SharedPart, Trained
from pipeline.run import Run, run_folder
from pipeline.storage import Location

FEATURES = "features-test"
"""The part that holds the test split's features."""


@dataclass(frozen=True)
class Evaluation:
    """Where a run's images, weights and features are, and how classifiers are trained."""

    store: Location
    run: str
    pool: str
    """The pool's name."""
    images: str
    """Fingerprint of all images and labels."""
    weights: str
    """Fingerprint of what made features and confidence."""
    space: bool
    """Whether images are compared by components of the features."""
    cluster: ClusterConfig
    classifier: str
    network: str | None
    imagenet_weights: str | None

    @property
    def on_features(self) -> bool:
        """Whether the classifier, and with it scorer and ground-truth map, takes features instead of images."""
        return self.classifier == "probe"

    @property
    def clustering(self) -> dict[str, Any]:
        """The settings of the trials' K-means, but for K, which each trial has of its own."""
        return {f"cluster.{name}": value for name, value in asdict(self.cluster).items() if name != "k"}

    def folder(self, part: str) -> str:
        """Where the run keeps a shared part."""
        return part_folder(self.run, part)

    def arrays(self, part: str) -> tuple[dict[str, Any], SharedPart]:
        """A finished part: its arrays, and its stage's result.

        Raises:
            KeyError: it is not there.
        """
        found = part_arrays(self.store, self.run, part)
        if found is None:
            raise KeyError(part)
        return found


def check_labelled(pool: PoolManifest) -> None:
    """Raise InputError for a pool that nothing can be measured on."""
    if not pool.classes:
        raise InputError(
            f"The pool '{pool.name}' has no labels, and an evaluation measures with them; ingest it with --labels."
        )
    if not pool.splits.get("test"):
        raise InputError(
            f"The pool '{pool.name}' has no test split, on which classifiers are judged; ingest an .npz that has one, "
            "or name the archive that has it: --set ingest.held_out=FILE"
        )


def evaluation_of(run: Run, settings: TrialsConfig, pool: PoolManifest, weights: str) -> Evaluation:
    """The evaluation of a run; checks the classifier and what it needs.

    Args:
        weights: fingerprint of what made features and confidence.

    Raises:
        InputError: no labels, no test split, no such classifier.
    """
    config, store = run.config, run.store
    check_classifier(settings.classifier)
    if settings.imagenet_weights is not None and not Location(settings.imagenet_weights).exists():
        raise InputError(f"There is no file '{settings.imagenet_weights}'; check imagenet_weights.")
    check_labelled(pool)
    return Evaluation(
        store=store,
        run=config.run,
        pool=pool.name,
        images=fingerprint(*_digests(PoolReader(store, pool))),
        weights=weights,
        space=config.embed.space == "components",
        cluster=replace(config.cluster, n_init=settings.n_init or config.cluster.n_init),
        classifier=settings.classifier,
        network=settings.network,
        imagenet_weights=settings.imagenet_weights and Location(settings.imagenet_weights).root,
    )


def claim_folder(evaluation: Evaluation, folder: str) -> None:
    """Make sure that a folder of results is of this evaluation's inputs alone.

    Raises:
        InputError: it was begun with other images, labels or weights, or other settings of K-means or this classifier.
    """
    remedy = "results of both must not mix: start a new run with --run."
    claim(evaluation.store, folder, {"images": evaluation.images, "weights": evaluation.weights}, remedy)
    claim(evaluation.store, f"{folder}/clustering", evaluation.clustering, remedy)
    if not evaluation.on_features:
        weights = evaluation.imagenet_weights
        digest = weights and fingerprint(Location(weights.rpartition("/")[0]).read_bytes(weights.rpartition("/")[2]))
        settings = {"network": evaluation.network, "imagenet_weights": digest}
        claim(evaluation.store, f"{folder}/classifiers/{evaluation.classifier}", settings, remedy)


class Opened:
    """An evaluation in one process: everything is read when it is first asked for.

    Args:
        on_gpu: whether this process was given one.
    """

    def __init__(self, evaluation: Evaluation, on_gpu: bool) -> None:
        self.evaluation = evaluation
        self.device = torch.device("cuda" if on_gpu else "cpu")

    @cached_property
    def reader(self) -> PoolReader:
        """Of the pool's images and labels."""
        done = finished(self.evaluation.store, pool_folder(self.evaluation.pool), Ingested)
        assert done is not None, "the pool was there when the evaluation began"
        return PoolReader(self.evaluation.store, done.manifest)

    @cached_property
    def data(self) -> EvaluationData:
        """The pool with its hidden labels, and the splits kept for evaluation."""
        return EvaluationData(self.train, self.test, self.classes, self.val)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label number."""
        classes = self.reader.manifest.classes
        assert classes is not None
        return classes

    @cached_property
    def train(self) -> Samples:
        """The pool."""
        return self._samples("train", self.features)

    @cached_property
    def test(self) -> Samples:
        """The test split, with its features where the classifier takes them."""
        features = self.evaluation.arrays(FEATURES)[0]["features"] if self.evaluation.on_features else None
        return self._samples("test", features)

    @cached_property
    def val(self) -> Samples | None:
        """The validation split; no classifier takes features of it."""
        return self._samples("val", None) if self.reader.manifest.splits.get("val") else None

    @cached_property
    def features(self) -> Float32:
        """(N, D) of the pool, in the space in which the run compares."""
        # Straight from the files: a Ray Data stream would wait for the CPUs that trials hold.
        space = self.space
        return features_from_files(self.evaluation.store, self.embedded if space is None else space)

    @cached_property
    def embedded(self) -> Embedded:
        """The pool's features as their source gives them."""
        return self.stage(Embedded)

    @cached_property
    def space(self) -> Compared | None:
        """The space in which the run compares; none: the features' own."""
        return self.stage(Compared) if self.evaluation.space else None

    def compared(self, features: Float32) -> Float32:
        """Other features (n, D) in the space in which the run compares."""
        if self.space is None:
            return features
        return Space.from_bytes(self.evaluation.store.read_bytes(self.space.space_file))(features)

    @cached_property
    def resources(self) -> Resources:
        """What classifiers need."""
        given = self.evaluation
        return Resources(
            device=self.device,
            encoder=self.weights if given.classifier == "finetune" else None,
            arch=self.stage(Trained).arch if given.classifier == "finetune" else "resnet18",
            imagenet_weights=given.imagenet_weights,
            network=None if given.network is None else network_settings(given.network),
        )

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """Of MoCo's encoder."""
        from safetensors.torch import load

        return load(self.evaluation.store.read_bytes(self.stage(Trained).weights_file))

    def stage(self, kind: type[Result]) -> Result:
        """The result of a stage of the run."""
        done = finished(self.evaluation.store, run_folder(self.evaluation.run, kind.stage), kind)
        assert done is not None, f"{kind.stage} was there when the evaluation began"
        return done

    def _samples(self, split: str, features: Float32 | None) -> Samples:
        ids: Int64 = np.arange(self.reader.manifest.splits[split])
        labels = self.reader.labels(split)
        unknown = np.full(len(ids), -1, np.int32)
        return Samples(ids, unknown if labels is None else labels, features, partial(self.reader.images, split=split))


@lru_cache(maxsize=1)
def opened(evaluation: Evaluation, on_gpu: bool = False) -> Opened:
    """The evaluation, opened once in each process."""
    return Opened(evaluation, on_gpu)


def _digests(reader: PoolReader) -> list[bytes]:
    """Of every image and label of the pool and of the splits kept for evaluation."""
    digests = [reader.manifest.fingerprint.encode()]
    for split in sorted(reader.manifest.splits):
        labels = reader.labels(split)
        digests += [split.encode(), b"" if labels is None else np.asarray(labels, np.int32).tobytes()]
        if split != "train" and reader.manifest.splits[split]:  # the manifest's fingerprint is of the pool alone
            digests += reader.digests(split)
    return digests
