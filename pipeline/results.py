"""The results of the stages: one frozen dataclass each, saved as ``done.json``.

Only this module knows the names of a stage's files. N = samples, D = feature dimensions, K = clusters.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from pipeline.artifacts import Encoder, PoolManifest
from pipeline.errors import InputError

WEIGHTS, CONFIDENCE, HISTORY = "weights.safetensors", "confidence.parquet", "history.json"
CHECKPOINT = "checkpoint.safetensors"
"""In the stage's folder: the full training state after the last saved epoch."""
KEPT = "kept.json"
"""What the driver needs of a training: the weights' fingerprint and the features' dimensions."""
CLUSTERS, CENTROIDS = "clusters.parquet", "centroids.parquet"
QUERY, ORDER, TASKS = "query.csv", "order.parquet", "query.labelstudio.json"
SPACE = "space.safetensors"
PAGE = "report.html"
FILES, SAMPLES, ISSUED, ANSWERS, CHANGES = (
    *("files.parquet", "samples.parquet", "issued.parquet", "answers.parquet"),
    "changes.csv",
)
"""Of a night: the archive's files and samples, or how they changed; what was handed out; what came back."""
LABEL_STUDIO, CVAT_MANIFEST, CVAT_TASK = "labelstudio", "cvat/manifest.jsonl", "cvat/task.json"
COCO, SHEET = "coco.json", "contact-sheet.pdf"
"""Of a query, for annotators; ``LABEL_STUDIO`` is a folder."""
HANDED_OUT = "handed-out.csv"
"""Beside a later query: all that was ever handed out."""
REFERENCE, RECENT = "reference.parquet", "recent.parquet"
"""Features as the encoder makes them, of samples of what the clusters were made of, and of what came last."""
LABELLED = "labelled.parquet"
"""Beside the first query: the samples that were labelled already."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A finished stage. Its work returns a subclass; ``publish.Stage`` fills in the fields of this class."""

    stage: ClassVar[str]
    """The stage's folder below ``runs/<run>``."""
    job: ClassVar[str]
    """The command that makes it."""
    decided_by: ClassVar[str] = ""
    """The name by which settings say that they decide it, where that is not the command's."""

    folder: str = ""
    """The stage's folder on the store."""
    files: str = ""
    """The folder of the published attempt, which holds its files."""
    fingerprint: str = ""
    """SHA-256 of the settings and of the inputs' fingerprints."""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of ``to_dict``. Unknown entries, which another version wrote, are ignored.

        Raises:
            InputError: an entry is missing, so another version wrote it.
        """
        try:
            return cls(**{each.name: values[each.name] for each in fields(cls)})
        except KeyError as missing:
            raise InputError(
                f"'{values.get('folder', cls.stage)}' does not say its {missing}: another version of hacon made it; "
                "start a new run with --run."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Ingested(Published):
    """A pool."""

    stage: ClassVar[str] = "pool"
    job: ClassVar[str] = "ingest"

    manifest: PoolManifest

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**super().to_dict(), "manifest": self.manifest.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of ``to_dict``."""
        if "manifest" in values:
            values = {**values, "manifest": PoolManifest.from_dict(values["manifest"])}
        return super().from_dict(values)


@dataclass(frozen=True, kw_only=True)
class Trained(Published):
    """An encoder, and the confidence of every sample."""

    stage: ClassVar[str] = "pretrain"
    job: ClassVar[str] = "pretrain"

    weights: str
    """SHA-256 of the weights' file."""
    dimensions: int
    """D."""
    arch: str
    loss: float
    """Of the last epoch."""
    fitted: dict[str, Any]
    """The settings of pre-training, after they were fitted to the pool."""
    notes: list[str]
    """Sentences: which settings were reduced to fit the pool."""

    @property
    def weights_file(self) -> str:
        """Of the query encoder, safetensors."""
        return f"{self.files}/{WEIGHTS}"

    @property
    def encoder(self) -> Encoder:
        """The query encoder without its projection head."""
        return Encoder("moco", self.arch, self.weights_file, self.weights, self.dimensions, licence="yours")

    @property
    def confidence_file(self) -> str:
        """Parquet of ``CONFIDENCE_SCHEMA``."""
        return f"{self.files}/{CONFIDENCE}"

    @property
    def history_file(self) -> str:
        """Metrics of every epoch, JSON."""
        return f"{self.files}/{HISTORY}"


@dataclass(frozen=True, kw_only=True)
class Embedded(Published):
    """Unit-norm features (N, D), as Parquet files of ``embedding_schema`` in ``files``."""

    stage: ClassVar[str] = "embeddings"
    job: ClassVar[str] = "embed"

    size: int
    """N."""
    dimensions: int
    """D."""
    source: str = "moco"
    """As ``embed.features`` names it."""
    encoder: Encoder | None = None
    """What made them; none: they were given, or version 0.2 or older made them with the run's own encoder."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**super().to_dict(), "encoder": None if self.encoder is None else self.encoder.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of ``to_dict``."""
        encoder = values.get("encoder")
        parsed = {"encoder": None if encoder is None else Encoder.from_dict(encoder)}
        return super().from_dict({"source": "moco", **values, **parsed})


@dataclass(frozen=True, kw_only=True)
class Compared(Embedded):
    """Features in the space in which images are compared: principal components, centred, of unit norm again."""

    stage: ClassVar[str] = "components"
    job: ClassVar[str] = "embed"
    decided_by: ClassVar[str] = "space"

    explained: float
    """Share of the features' variance that the components hold."""

    @property
    def space_file(self) -> str:
        """Of ``space.Space``, safetensors: what turns other features into this space."""
        return f"{self.folder}/{SPACE}"


@dataclass(frozen=True, kw_only=True)
class Clustered(Published):
    """K clusters of the pool."""

    stage: ClassVar[str] = "clusters"
    job: ClassVar[str] = "cluster"

    k: int
    inertia: float
    backend: str
    """The one used: cuml or sklearn."""
    reason: str
    """A sentence: why that backend."""
    seed: int

    @property
    def clusters_file(self) -> str:
        """Parquet of ``CLUSTER_SCHEMA``."""
        return f"{self.files}/{CLUSTERS}"

    @property
    def centroids_file(self) -> str:
        """Parquet of one column, (K, D)."""
        return f"{self.files}/{CENTROIDS}"


@dataclass(frozen=True, kw_only=True)
class Queried(Published):
    """The order in which to label. Its files are in ``folder``, where people look for them."""

    stage: ClassVar[str] = "query"
    job: ClassVar[str] = "query"

    budget: int
    order: str
    """The strategy's name."""
    emitted: int
    """Rows of the order's file."""
    reason: str = ""
    """A sentence: why this order, where ``query.order=auto`` chose it."""
    premise: dict[str, Any] | None = None
    """Of ``select.premise.Premise``. None: the run has no confidence, or version 0.2 or older made it."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of ``to_dict``."""
        return super().from_dict({"reason": "", "premise": None, **values})

    @property
    def query_file(self) -> str:
        """The images to label, CSV."""
        return f"{self.folder}/{QUERY}"

    @property
    def order_file(self) -> str:
        """Parquet of ``ORDER_SCHEMA``: the query and the images ranked after it."""
        return f"{self.folder}/{ORDER}"

    @property
    def tasks_file(self) -> str:
        """The query as Label Studio's tasks, JSON."""
        return f"{self.folder}/{TASKS}"


@dataclass(frozen=True, kw_only=True)
class Reported(Published):
    """The page."""

    stage: ClassVar[str] = "report"
    job: ClassVar[str] = "report"

    bytes: int

    @property
    def page_file(self) -> str:
        """HTML."""
        return f"{self.folder}/{PAGE}"


@dataclass(frozen=True, slots=True)
class Generation:
    """Images that came together: those of the first pool, or of a later night."""

    first_id: int
    """Its samples are ``first_id`` and on; in its own files they count from 0."""
    manifest: PoolManifest


@dataclass(frozen=True, kw_only=True)
class Night(Published):
    """A later look at a growing archive, and the query that came of it, if any. Holds all that the next one needs.

    N = samples that the archive ever had.
    """

    stage: ClassVar[str] = "nights"
    job: ClassVar[str] = "reselect"

    number: int
    """From 2 on; 1 is the run itself."""
    query: int
    """Number of the newest query."""
    issued: int
    """Images that this night's query hands out; 0: the night has none."""
    order: str
    lease: int
    """The fencing number under which it was published."""
    at: str
    """UTC, ISO 8601."""
    size: int
    """N."""
    held: int
    """Samples that a file holds."""
    generations: tuple[Generation, ...]
    parts: tuple[str, ...]
    """Folders whose ``FILES`` and ``SAMPLES`` follow each other, and together say all."""
    whole: bool
    """Whether the first of them holds all that came before it, too."""
    clusters: str
    """Folder of ``CLUSTERS`` and ``CENTROIDS`` that new images are assigned to."""
    clustered: int
    """How many samples there were when these clusters were made."""
    reference: str
    """File (``embedding_schema``) of a sample of these, as the encoder makes them: what drift is judged by."""
    last_order: str
    """File (``ORDER_SCHEMA``) of the newest query and of what was to come after it."""
    last_issued: int
    """How many images the newest query handed out."""
    answers: int
    """Number of the last batch of labels that it knew."""
    counts: dict[str, int]
    """What happened to files, by ``archive.changes.KINDS``."""
    totals: dict[str, int]
    """handed_out, labelled, skipped, lost, open: of all queries so far."""
    churn: float | None
    """Share of what the last query planned next that this one does not hand out."""
    verdict: dict[str, Any] | None
    """Of drift; None: nothing new to judge by."""

    @property
    def query_folder(self) -> str:
        """Where the query is handed over."""
        return query_folder(self.folder.split("/")[1], self.query)

    def file(self, name: str) -> str:
        """One of this night's files."""
        return f"{self.files}/{name}"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of ``to_dict``."""
        parsed: dict[str, Any] = {}
        if "generations" in values:
            made = ((each["first_id"], PoolManifest.from_dict(each["manifest"])) for each in values["generations"])
            parsed["generations"] = tuple(Generation(*each) for each in made)
        if "parts" in values:
            parsed["parts"] = tuple(values["parts"])
        return super().from_dict({**values, **parsed})


def query_folder(run: str, number: int) -> str:
    """Where query ``number`` of a run is handed over; the first is the run's own."""
    return f"runs/{run}/{Queried.stage if number == 1 else f'query-{number:04d}'}"


@dataclass(frozen=True, kw_only=True)
class SharedPart(Published):
    """Arrays that trials of an evaluation share. The fields are set for a clustering only."""

    stage: ClassVar[str] = "evaluation"
    job: ClassVar[str] = "benchmark"

    inertia: float | None = None
    backend: str | None = None
    reason: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Missing fields are None."""
        return super().from_dict({"inertia": None, "backend": None, "reason": None, **values})


STAGES: tuple[type[Published], ...] = (Trained, Embedded, Compared, Clustered, Queried, Reported)
"""The stages of a run, in order. Each builds on those before it. ``runs`` says which of them a run has."""
