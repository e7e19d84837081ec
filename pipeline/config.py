"""Every setting of a run, grouped by stage: complete, frozen, strict.

Values come from the preset, a YAML file and the command line; the later wins. The effective configuration is saved
beside the results. An unknown key is an error that names the closest valid one. A number out of range is an error that
names the range.

Each setting says which stages' results it decides, or why it decides none. A finished stage is kept only while the
settings that decide it are unchanged.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from shlex import quote
from typing import Any, Literal, TypeVar

from pipeline.errors import InputError, did_you_mean

Value = TypeVar("Value")
PaperSet = Literal["pathmnist", "organamnist", "bloodmnist", "cifar10-lt"]
Stage = Literal["ingest", "pretrain", "embed", "space", "cluster", "query", "report", "trial"]
"""What a setting may decide. "trial": the trials of a benchmark or of cycles, and their results."""


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have, for every pool."""

    words: str
    holds: Callable[[float], bool]


SEED = Range("0 to 4294967295 (2^32 - 1)", lambda value: 0 <= value < 2**32)
COUNT = Range("1 or more", lambda value: value >= 1)
NOT_NEGATIVE = Range("0 or more", lambda value: 0 <= value < math.inf)
POSITIVE = Range("more than 0", lambda value: 0 < value < math.inf)
SMALL_INPUT = {"imagenet": 112}
"""Features -> side in pixels at which a folder's images are kept for them, where 224 costs more than it gives."""
SHARE = Range("0 to 1", lambda value: 0 <= value <= 1)
POSITIVE_SHARE = Range("more than 0, 1 at most", lambda value: 0 < value <= 1)


_ALWAYS_CLAIMED = object()


def setting(
    default: Value, *decides: Stage, no: str = "", within: Range | None = None, before: Any = _ALWAYS_CLAIMED
) -> Value:
    """A field of a group of settings.

    Args:
        decides: the stages whose results depend on it.
        no: why no result depends on it. A field has either ``decides`` or ``no``.
        within: the allowed range of a number. None: not a number, or checked elsewhere.
        before: the value that says what versions without this setting did. It is not claimed, so their runs go on.
    """
    made: Value = field(default=default, metadata={"decides": decides, "no": no, "within": within, "before": before})
    return made


NO_LABEL = (
    *("nan", "-nan", "nat", "na", "n/a", "n.a.", "<na>", "null", "(null)", "nil", "none"),
    *("#n/a", "#na", "#null!", "#value!", "#ref!", "#name?", "#num!", "#div/0!"),
)
"""How spreadsheets, pandas, R and databases write that a value is missing, and spreadsheets' errors."""


@dataclass(frozen=True)
class IngestConfig:
    """Images anywhere -> pool."""

    source: str = setting("", no="by what is found there: the source's state")
    """Where the images are: digits, npz:FILE, medmnist:NAME, cifar10-lt, or folder:, parquet: or webdataset: with a
    PATH or URI, which may end in a glob."""
    include: tuple[str, ...] = setting((), no="by what is found: the source's state")
    """Globs of a folder's files or subfolders. Only images that fit one of them are taken. Empty: all."""
    exclude: tuple[str, ...] = setting((), no="by what is found: the source's state")
    """Globs of a folder's files or subfolders that are not taken."""
    hidden: bool = setting(False, no="by what is found: the source's state")
    """Read hidden files and folders, and what other programs leave (.ipynb_checkpoints, @eaDir, lost+found), too."""
    name: str | None = setting(None, no="it names the pool")
    """The pool's name on the store; by default made from the source and the image size."""
    image_size: int | None = setting(None, "ingest")
    """Images are resized once, to this side in pixels. By default arrays keep their size and folders get a side that
    suits the features: ``folder_size``. Packed pools are as folders."""
    folder_size: int | None = setting(None, "ingest", within=COUNT, before=None)
    """Side of a folder's images where ``image_size`` is not given. None: 224, and 112 for features of imagenet."""
    channels: Literal["auto", "grey", "rgb"] = setting("auto", "ingest")
    """Of the pool. auto: arrays keep theirs; a folder is grey if 64 files spread over it all are grey."""
    labels: str | None = setting(None, "ingest")
    """Where labels of a folder come from: "folder" (the parent folder's name) or a CSV file."""
    more_labels: tuple[str, ...] = setting((), no="by their content, which is in the source's state")
    """More CSV files, where the labels are in several (``--labels`` may come again)."""
    no_label: tuple[str, ...] = setting(NO_LABEL, no="by what it makes of the labels: it is in the source's state")
    """Names that are no class but mean "unlabelled", in any case of letters. An empty one always does."""
    key_column: str = setting("key", "ingest")
    """The labels CSV's column that holds the image's file name, path or stem. Of parquet:PATH the images' names."""
    label_column: str = setting("label", "ingest")
    """The labels CSV's column that holds the label. Of packed pools their own column, or key of their .json members."""
    image_column: str | None = setting(None, no="in the source's state")
    """Of parquet:PATH: the column of images. None: image. Of webdataset:PATH: the extension of the members that are the
    images. None: an image's, of which a sample has one."""
    image_shape: tuple[int, ...] = setting((), no="in the source's state", within=COUNT)
    """Of parquet:PATH with flat pixels: height and width, and 3 for RGB. Empty: square."""
    held_out: str | None = setting(None, no="by its content, which is in the source's state")
    """For npz:FILE: a second archive with the val or test arrays that FILE lacks. Used in evaluation only."""
    data_dir: str | None = setting(None, no="where files lie, not what is in them")
    """Folder of downloaded data sets (medmnist, cifar10-lt)."""
    pages: Literal["first", "all"] = setting("first", no="in the source's state")
    """Of files of several pages or frames (TIFF, GIF, WebP). all: each page is an image, with the key FILE#page=N."""
    max_pixels: int = setting(100_000_000, "ingest")
    """A larger image is rejected before it is decoded (a decompression bomb)."""
    rows_per_file: int = setting(16_384, no="how the pool is cut into files")
    """Most rows in one Parquet file of the pool."""


@dataclass(frozen=True)
class PretrainConfig:
    """MoCo v2 (docs/method.md, section 4, Tables 2 to 4 of the paper)."""

    arch: Literal["resnet18", "resnet50"] = setting("resnet18", "pretrain")
    epochs: int = setting(200, "pretrain", within=COUNT)
    repeats: int | None = setting(1, "pretrain", within=COUNT)
    """How often an epoch holds each image (Table 4). None: so that an epoch has about 1.28 million samples."""
    batch_size: int = setting(256, "pretrain", within=COUNT)
    """Global: summed over all workers."""
    queue_size: int = setting(4096, "pretrain", within=COUNT)
    learning_rate: float = setting(0.03, "pretrain", within=POSITIVE)
    """For a batch of 256. It is scaled linearly with the batch size."""
    weight_decay: float = setting(1e-4, "pretrain", within=NOT_NEGATIVE)
    sgd_momentum: float = setting(0.9, "pretrain", within=SHARE)
    encoder_momentum: float = setting(0.999, "pretrain", within=SHARE)
    loss_temperature: float = setting(0.2, "pretrain", within=POSITIVE)
    warmup_epochs: int = setting(5, "pretrain", within=NOT_NEGATIVE)
    projection_dim: int = setting(128, "pretrain", within=COUNT)
    recipe: Literal["auto", "rgb", "grey"] = setting("auto", "pretrain")
    """Augmentations of Table 3. auto: by the number of channels."""
    blur: bool = setting(True, "pretrain")
    bn_splits: int = setting(8, "pretrain", within=COUNT)
    """Batch norm runs over this many equal parts of the global batch, for any number of workers."""
    confidence_temperatures: tuple[float, ...] = setting((0.2, 0.05, 0.01, 0.001), "pretrain", within=POSITIVE)
    checkpoint_every: int = setting(1, no="how often the state is kept", within=COUNT)
    """Epochs between two checkpoints."""
    precision: Literal["auto", "float32", "bfloat16"] = setting("auto", "pretrain")
    keep_checkpoint: bool = setting(False, no="what stays of the training's own state")
    """Keep the last checkpoint, with optimizer and queue, after training. For ResNet-18 it takes some 140 MB."""
    pool_memory_gib: float | None = setting(None, no="where the pool is held", within=NOT_NEGATIVE)
    """Pools up to this size stay on the device; larger ones are streamed. None: half of the free memory."""
    shuffle_gib: float = setting(4.0, "pretrain", within=POSITIVE)
    """Size of the shuffle window. Pools up to this size are permuted whole, larger ones window by window."""


@dataclass(frozen=True)
class EmbedConfig:
    """Pool -> unit-norm features, and the space in which images are compared."""

    features: str = setting("moco", "embed", before="moco")
    """Where features come from. moco: the encoder that this run trains. imagenet: EfficientNet-Lite0, frozen.
    timm:NAME: any of timm's networks, frozen. FILE.parquet, .npy or .npz: your own."""
    weights: str | None = setting(None, no="by its content, which is an input of the stage")
    """For timm:NAME: a safetensors file of its weights."""
    download: bool = setting(False, no="where weights come from, not what they are")
    """Whether timm may download weights from its hub."""
    input_size: int | None = setting(None, "embed", within=COUNT, before=None)
    """Side of a frozen network's input, in pixels. None: its own; imagenet takes images of 96 to 224 as they are."""
    space: Literal["features", "components"] = setting("features", "space")
    """What is compared: the features themselves, or their principal components, centred and of unit norm again."""
    components: int = setting(96, "space", within=COUNT)
    """Most principal components. A pool with fewer dimensions, or fewer images, has fewer."""
    batch_size: int = setting(512, no="an image is embedded by itself, but for rounding", within=COUNT)
    rows_per_file: int = setting(65_536, no="how features are cut into files", within=COUNT)


@dataclass(frozen=True)
class ClusterConfig:
    """Features -> K clusters that stand for classes."""

    k: int | None = setting(None, "cluster", within=COUNT)
    """Number of clusters K. None: the budget, 30 at most (docs/method.md, decision 9)."""
    backend: Literal["auto", "cuml", "sklearn"] = setting("auto", "cluster")
    space: Literal["features", "umap2d"] = setting("features", "cluster")
    """K-means on the unit-norm features, or on their 2-D UMAP as in the authors' code (docs/method.md, decision 7)."""
    n_init: int = setting(10, "cluster", within=COUNT)
    """Random starts; the best one is kept. Above ``sample_above`` samples, 300 / K starts at most."""
    max_iter: int = setting(300, "cluster", within=COUNT)
    sample_above: int = setting(100_000, "cluster", within=NOT_NEGATIVE)
    """Above this many samples the sklearn backend starts on a subset and ends with passes over all of them."""


@dataclass(frozen=True)
class QueryConfig:
    """Clusters + confidence -> the order in which to label."""

    budget: int = setting(0, "query")
    order: str = setting("hard-to-contrast", "query")
    """A strategy that needs no labels, scorer or pixels, or MODULE:FUNCTION (docs/strategies.md)."""
    temperature: float = setting(0.05, "query", within=POSITIVE)
    """The temperature of the confidence to select by: one of those in its table (docs/method.md, decision 2)."""
    max_budget: int | None = setting(None, "query", within=COUNT)
    """Rank this many images. None: the whole pool; for an order on features (coreset, ...) the query alone."""
    labelled: str | None = setting(None, no="by its content, which is an input of the stage")
    """A CSV file with a column of keys (``ingest.key_column``): images that are labelled or handed out already. They
    are not chosen again, and count as covered."""
    groups: str | None = setting(None, no="by its content, which is an input of the stage")
    """A CSV file with a column of keys (``ingest.key_column``) and columns of groups: patient, study, site, ..."""
    per: str | None = setting(None, "query", before=None)
    """The column of ``groups`` that ``at_most`` is about."""
    at_most: int | None = setting(None, "query", within=COUNT, before=None)
    """Most images of one group (``per``) in all queries together, what is labelled already included. None: any number.
    An image without a group is one of its own."""
    readers: tuple[int, ...] = setting((), no="who gets which part of CVAT's task", within=COUNT)
    """Images of each reader's job in CVAT, in order; the last reader gets the rest. Empty: one job."""
    image_prefix: str | None = setting(None, no="how a task names an image; the tasks are written anew")
    """Prefix of a key in the addresses of Label Studio's tasks, or an address with ``{key}`` in it. None: the folder
    of ``ingest.source``, which only S3 makes an address."""


@dataclass(frozen=True)
class ReselectConfig:
    """Later queries of an archive that grows."""

    budget: int | None = setting(None, no="a later query's, which nobody keeps or refuses", within=COUNT)
    """Images that a later query hands out. None: as many as the first."""
    most_open: int | None = setting(None, no="a later query's, as the budget", within=COUNT)
    """Hand out no more than leaves so many images handed out and not yet labelled. None: no such limit."""


_JUDGED = "a later query's judgement, which nobody keeps or refuses"


@dataclass(frozen=True)
class DriftConfig:
    """When the clusters, or the features, of an archive no longer fit what came since (docs/method.md, section 8)."""

    least: int = setting(30, no=_JUDGED, within=COUNT)
    """Fewer new images than this say nothing."""
    significance: float = setting(0.01, no=_JUDGED, within=SHARE)
    """Of the two-sample test: how often an archive that has not changed is said to have, a night."""
    alone: float = setting(0.02, no=_JUDGED, within=SHARE)
    """Share of the new images in groups of their own from which on clusters are made anew."""
    shares: float = setting(0.2, no=_JUDGED, within=SHARE)
    """How far the clusters' shares have moved (total variation), from which on they are made anew."""
    doubt: float = setting(0.25, no=_JUDGED, within=SHARE)
    """As ``alone``: from which on features are doubted, and training should go on, if there is any."""
    foreign: float = setting(0.5, no=_JUDGED, within=SHARE)
    """As ``alone``: from which on training should begin anew."""
    recluster_up_to: int = setting(200_000, no=_JUDGED, within=NOT_NEGATIVE)
    """Archives of more images are not clustered anew by themselves; it is recommended."""


@dataclass(frozen=True)
class ReportConfig:
    """Contents of the report."""

    random_draws: int = setting(1000, "report", within=COUNT)
    umap_points: int = setting(5000, "report", within=COUNT)
    contact_sheet: int = setting(200, "report", within=COUNT)
    """Most images on the contact sheet."""


@dataclass(frozen=True)
class TrialsConfig:
    """Settings that the trials of benchmarks and of active-learning cycles share."""

    classifier: str = setting("probe", "trial")
    """Trained on the query: probe, resnet18, finetune, paper or csval (``pipeline.evaluate.classifiers``)."""
    k: int | None = setting(None, "trial", within=COUNT)
    """Clusters for the strategies that need them. None: as many as images are chosen, 30 at most."""
    temperature: float | None = setting(None, "trial", within=POSITIVE)
    """Of the confidence. None: ``query.temperature``."""
    n_init: int | None = setting(None, "trial", within=COUNT)
    """Random starts of the trials' K-means. None: ``cluster.n_init``."""
    scorer: Literal["test", "labelled"] = setting("test", "trial")
    """Training set of the uncertainty strategies' model for a first query. test: the test split, as in the paper.
    labelled: the first half of the query, sampled at random (docs/method.md, decision 16)."""
    orders: str | None = setting(None, no="by its content: the orders are claimed")
    """An .npz of published orders of this pool: each array of distinct sample ids becomes ``authors:<its name>``.
    Names that begin with ``gt_`` say that ground truth made the order."""
    network: Literal["small", "paper", "csval"] | None = setting(None, "trial")
    """Settings of the classifiers that train on images. None: small for resnet18 and finetune, else their own."""
    imagenet_weights: str | None = setting(None, no="by its content: its hash is claimed")
    """A safetensors file of timm's Inception-ResNet-v2 that every node can read. None: from scratch."""
    parallel: int | None = setting(None, no="how many run at a time", within=COUNT)
    """Most trials at once. None: as many as fit."""
    cpus: float = setting(1.0, no="how fast a trial is", within=POSITIVE)
    """CPUs of one trial. It computes on as many threads, at least one."""
    gpus: float | None = setting(None, no="how fast a trial is", within=NOT_NEGATIVE)
    """GPUs of one trial, such as 0.25. None: 0 for probe; 1 for the others if there is a GPU."""


@dataclass(frozen=True)
class BenchmarkConfig(TrialsConfig):
    """Strategies x uniform x budgets x seeds -> the paper's tables."""

    strategies: tuple[str, ...] = setting(("all",), "trial")
    """Names of strategies, MODULE:FUNCTION, random_covered, authors:NAME. all: every strategy that has a name."""
    uniform: Literal["off", "on", "both"] = setting("off", "trial")
    """The oracle of label diversity (docs/method.md, decision 15)."""
    budgets: tuple[int, ...] = setting((), "trial", within=COUNT)
    """Images to label."""
    seeds: int = setting(3, "trial", within=COUNT)
    """Trials of each strategy and budget."""
    random_seeds: int = setting(100, "trial", within=COUNT)
    """Trials of the baselines random and random_covered."""
    share: float = setting(1.0, "trial", within=POSITIVE_SHARE, before=1.0)
    """Of the pool that a seed's strategies may choose from, drawn anew for every seed. 1: all of it, as in the paper.
    At 0.5 seeds say more: an order that does not depend on the seed is one query of the whole pool."""
    dataset: PaperSet | None = setting(None, no="whose numbers stand beside ours")
    """The data set whose numbers in the paper are set beside ours. None: that of ``ingest.source``, if it is one."""


@dataclass(frozen=True)
class CyclesConfig(TrialsConfig):
    """Initial x later strategies x trials -> curves of active learning."""

    initial: tuple[str, ...] = setting(
        ("random", "consistency", "vaal", "margin", "entropy", "coreset", "bald", "hard-to-contrast"), "trial"
    )
    """Strategies for the first images, named as the benchmark's. Default: the rows of the paper's Table 6."""
    later: tuple[str, ...] = setting(("random", "entropy", "margin", "bald", "coreset"), "trial")
    """Strategies for the later images. Default: the paper's five."""
    trials: int = setting(5, "trial", within=COUNT)
    start: int = setting(20, "trial", within=COUNT)
    """Images labelled in the first cycle."""
    step: int = setting(10, "trial", within=COUNT)
    """Images added by each later cycle."""
    end: int = setting(50, "trial", within=COUNT)
    """Images labelled after the last cycle."""


@dataclass(frozen=True)
class RunConfig:
    """A whole run. ``hacon select --help`` explains the top-level flags."""

    run: str = setting("default", no="it names the run")
    store: str = setting("./hacon-store", no="where results lie")
    preset: str = setting("default", no="where settings began; each decides for itself")
    seed: int = setting(0, "pretrain", "cluster", "query", within=SEED)
    workers: int = setting(1, no="how fast training is", within=COUNT)
    """Training workers. Affects speed only."""
    deterministic: bool = setting(False, no="rounding alone, as for any number of workers")
    """Train and embed on one thread a worker: the same query on any number of CPU cores, in more time."""
    reuse: str | None = setting(None, no="whose results are taken over, where settings agree")
    """Another run. Its finished stages are taken over if their settings are the same."""
    ingest: IngestConfig = field(default_factory=IngestConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    reselect: ReselectConfig = field(default_factory=ReselectConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    cycles: CyclesConfig = field(default_factory=CyclesConfig)


def check(config: RunConfig) -> None:
    """Raise InputError for a number out of its range. The error names the setting, its value and the range."""
    for key, value, metadata in settings_of(config):
        within: Range | None = metadata["within"]
        for number in value if isinstance(value, tuple) else (value,):
            if within is not None and number is not None and not within.holds(number):
                raise InputError(f"'{key}' is {number}; give {within.words}.")
    temperatures = config.pretrain.confidence_temperatures
    if not temperatures or len(set(temperatures)) < len(temperatures):
        given = ", ".join(map(str, temperatures)) or "empty"
        raise InputError(f"'pretrain.confidence_temperatures' is {given}; give one or more, each of them once.")


def settled(config: RunConfig) -> RunConfig:
    """The settings with those filled in that follow from others."""
    of_files = config.ingest.source.startswith(("folder:", "parquet:", "webdataset:"))
    if of_files and config.ingest.folder_size is None and config.embed.features in SMALL_INPUT:
        return dataclasses.replace(
            config, ingest=dataclasses.replace(config.ingest, folder_size=SMALL_INPUT[config.embed.features])
        )
    return config


def decisive(config: RunConfig, stage: str) -> dict[str, Any]:
    """The settings that decide a stage's result: dotted key -> JSON-ready value.

    Keys of ``ingest`` come without the group's name, since a pool belongs to no run.
    """
    found = {
        key: _plain(value)
        for key, value, metadata in settings_of(config)
        if stage in metadata["decides"] and value != metadata["before"]
    }
    return {key.removeprefix("ingest."): value for key, value in found.items()}


def settings_of(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """(dotted key, value, the field's metadata) of every setting."""
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, value, each.metadata


def to_dict(config: Any) -> dict[str, Any]:
    """The dataclass as JSON-ready plain values (tuples as lists)."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def override(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """A copy of ``config`` with ``values``: nested mappings, or dotted keys such as "cluster.k".

    Raises:
        InputError: unknown key (names the closest valid one) or a value of the wrong type.
    """
    return _override(config, _nest(values), prefix="")


def store_flag(config: RunConfig) -> str:
    """The --store flag of a command for this run, quoted for a shell; empty for the default store."""
    return "" if config.store == RunConfig.store else f" --store {quote(config.store)}"


def this_run(config: RunConfig) -> str:
    """The flags of a command for this run, quoted for a shell."""
    return f"--run {quote(config.run)}{store_flag(config)}"


def valid_keys() -> list[str]:
    """All dotted keys, e.g. "pretrain.epochs"."""
    return [key for key, _, _ in settings_of(RunConfig())]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        head, _, rest = str(key).partition(".")
        if rest:
            value = {rest: value}
        if isinstance(value, Mapping):
            below = nested.setdefault(head, {})
            if not isinstance(below, dict):
                raise InputError(f"The setting '{head}' is given both a value and settings below it; keep one.")
            for inner, item in _nest(value).items():
                both = isinstance(item, dict) and isinstance(below.get(inner), dict)
                below[inner] = {**below[inner], **item} if both else item
        else:
            nested[head] = value
    return nested


def _override(config: Any, values: Mapping[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + name
        if name not in hints:
            raise InputError(_unknown_key(key, value))
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise InputError(f"'{key}' is a group of settings, not a value; write {key}.NAME=VALUE.")
            changes[name] = _override(getattr(config, name), value, f"{key}.")
        elif isinstance(value, Mapping):
            raise InputError(_unknown_key(key, value))
        else:
            changes[name] = _convert(key, value, hints[name])
    return dataclasses.replace(config, **changes)


def _unknown_key(key: str, value: Any) -> str:
    """The error's sentence. ``value`` may be settings below ``key``; the sentence names the first."""
    while isinstance(value, Mapping) and value:
        name, value = next(iter(value.items()))
        key = f"{key}.{name}"
    keys = valid_keys()
    # The right name in a wrong group is a better guess than a similar name.
    same_name = [valid for valid in keys if valid.rpartition(".")[2] == key.rpartition(".")[2]]
    hint = did_you_mean(key, same_name or keys, f"valid ones are {', '.join(keys)}.", cutoff=0.0 if same_name else 0.4)
    return f"There is no setting '{key}'; {hint}"


def _convert(key: str, value: Any, hint: Any) -> Any:
    """``value`` as the annotated type. Text from a command line is parsed."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
            return None
        return _convert(key, value, next(arg for arg in args if arg is not type(None)))
    if origin is Literal:
        if value in args:
            return value
        raise InputError(f"'{key}' is one of {', '.join(map(str, args))}, not '{value}'.")
    try:
        if origin is tuple:
            items = [item.strip() for item in value.split(",")] if isinstance(value, str) else list(value)
            return tuple(_convert(key, item, args[0]) for item in items)
        if hint is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]
        if isinstance(value, bool) or (hint is int and isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        if hint is str and not isinstance(value, str | int | float):
            raise TypeError(value)
        return hint(value)
    except (ValueError, TypeError, KeyError):
        kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        kind = kinds.get(hint, "a list of text" if args[:1] == (str,) else "a list of numbers")
        raise InputError(f"'{key}' takes {kind}, not '{value}'.") from None
