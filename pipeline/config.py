"""Every setting of a run, grouped by stage: complete, frozen, strict.

A run's effective configuration is saved beside its results. Values come, in rising priority, from the preset, a YAML
file and the command line. An unknown key is an error that names the closest valid one. A value that no run could use
is an error that names its range.

Each setting says which stages' results it decides, or why it decides none. A stage that is done is done for these
values, so a setting without a word of this could pass for done with another value.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pipeline.errors import InputError, did_you_mean

Value = TypeVar("Value")
PaperSet = Literal["pathmnist", "organamnist", "bloodmnist", "cifar10-lt"]
Stage = Literal["ingest", "pretrain", "embed", "cluster", "query", "report", "trial"]
"""What a setting may decide; "trial": which trials of a benchmark or of cycles there are, and what comes out."""


@dataclass(frozen=True)
class Range:
    """Numbers that a setting may have, whatever the pool."""

    words: str
    holds: Callable[[float], bool]


SEED = Range("0 to 4294967295 (2^32 - 1)", lambda value: 0 <= value < 2**32)
COUNT = Range("1 or more", lambda value: value >= 1)
NOT_NEGATIVE = Range("0 or more", lambda value: 0 <= value < math.inf)
POSITIVE = Range("more than 0", lambda value: 0 < value < math.inf)
SHARE = Range("0 to 1", lambda value: 0 <= value <= 1)


def setting(default: Value, *decides: Stage, no: str = "", within: Range | None = None) -> Value:
    """A field of a group of settings.

    Args:
        decides: the stages whose results follow from it.
        no: why it decides none; one of the two is there.
        within: what numbers may be; none: checked elsewhere, or no number.
    """
    made: Value = field(default=default, metadata={"decides": decides, "no": no, "within": within})
    return made


@dataclass(frozen=True)
class IngestConfig:
    """Images anywhere -> pool."""

    source: str = setting("", no="by what is found there: the source's state")
    """Where the images are: digits, npz:FILE, medmnist:NAME, cifar10-lt, folder:PATH or URI."""
    name: str | None = setting(None, no="it names the pool")
    """The pool's name on the store; by default made from the source and the image size."""
    image_size: int | None = setting(None, "ingest")
    """Side in pixels to which every image is resized, once; by default arrays keep theirs, folders get 224."""
    channels: Literal["auto", "grey", "rgb"] = setting("auto", "ingest")
    """Of the pool; auto: arrays keep theirs, a folder is grey where 64 files spread over it all are."""
    labels: str | None = setting(None, "ingest")
    """Where labels of a folder come from: "folder" (the parent folder's name) or a CSV file."""
    key_column: str = setting("key", "ingest")
    """The labels CSV's column that holds the image's file name, path or stem."""
    label_column: str = setting("label", "ingest")
    """The labels CSV's column that holds the label."""
    held_out: str | None = setting(None, no="by its content, which is in the source's state")
    """Of npz:FILE: another archive, with the val or test arrays that the pool's own lacks; for evaluation only."""
    data_dir: str | None = setting(None, no="where files lie, not what is in them")
    """Where downloaded data sets lie or go (medmnist, cifar10-lt)."""
    max_pixels: int = setting(100_000_000, "ingest")
    """A larger image is rejected before it is decoded (a decompression bomb)."""
    rows_per_file: int = setting(16_384, no="how the pool is cut into files")
    """Rows in one Parquet file of the pool, at most."""


@dataclass(frozen=True)
class PretrainConfig:
    """MoCo v2 (docs/method.md, section 4, Tables 2 to 4 of the paper)."""

    arch: Literal["resnet18", "resnet50"] = setting("resnet18", "pretrain")
    epochs: int = setting(200, "pretrain", within=COUNT)
    repeats: int | None = setting(1, "pretrain", within=COUNT)
    """How often an epoch holds each image (Table 4); none: so that an epoch has about 1.28 M draws."""
    batch_size: int = setting(256, "pretrain", within=COUNT)
    """Global batch: over all workers."""
    queue_size: int = setting(4096, "pretrain", within=COUNT)
    learning_rate: float = setting(0.03, "pretrain", within=POSITIVE)
    """At a batch of 256; scaled linearly with the batch."""
    weight_decay: float = setting(1e-4, "pretrain", within=NOT_NEGATIVE)
    sgd_momentum: float = setting(0.9, "pretrain", within=SHARE)
    encoder_momentum: float = setting(0.999, "pretrain", within=SHARE)
    loss_temperature: float = setting(0.2, "pretrain", within=POSITIVE)
    warmup_epochs: int = setting(5, "pretrain", within=NOT_NEGATIVE)
    projection_dim: int = setting(128, "pretrain", within=COUNT)
    recipe: Literal["auto", "rgb", "grey"] = setting("auto", "pretrain")
    """Augmentations of Table 3; auto: by the number of channels."""
    blur: bool = setting(True, "pretrain")
    bn_splits: int = setting(8, "pretrain", within=COUNT)
    """Batch norm runs over this many equal parts of the global batch, whatever the number of workers."""
    confidence_temperatures: tuple[float, ...] = setting((0.2, 0.05, 0.01, 0.001), "pretrain", within=POSITIVE)
    checkpoint_every: int = setting(1, no="how often the state is kept", within=COUNT)
    """Epochs between two checkpoints."""
    precision: Literal["auto", "float32", "bfloat16"] = setting("auto", "pretrain")
    keep_checkpoint: bool = setting(False, no="what stays of the training's own state")
    """Keep the last checkpoint, with optimizer and queue, when training is done: some 140 MB of ResNet-18."""
    pool_memory_gib: float | None = setting(None, no="where the pool is held", within=NOT_NEGATIVE)
    """Keep the pool on the device up to this size, stream it beyond; none: half of the free memory."""
    shuffle_gib: float = setting(4.0, "pretrain", within=POSITIVE)
    """Window of the shuffle: pools up to this size are permuted whole, larger ones window by window."""


@dataclass(frozen=True)
class EmbedConfig:
    """Pool -> unit-norm backbone features."""

    batch_size: int = setting(512, no="an image is embedded by itself, but for rounding", within=COUNT)
    rows_per_file: int = setting(65_536, no="how features are cut into files", within=COUNT)


@dataclass(frozen=True)
class ClusterConfig:
    """Features -> K clusters that stand for classes."""

    k: int | None = setting(None, "cluster", within=COUNT)
    """Number of clusters; none: 30 where the budget is 30 or more, else the budget (docs/method.md, decision 9)."""
    backend: Literal["auto", "cuml", "sklearn"] = setting("auto", "cluster")
    space: Literal["features", "umap2d"] = setting("features", "cluster")
    """K-means on the unit-norm features, or on their 2-D UMAP as in the authors' code (docs/method.md, decision 7)."""
    n_init: int = setting(10, "cluster", within=COUNT)
    """Random starts, of which the best is kept; above ``sample_above`` 300 / K of them at most."""
    max_iter: int = setting(300, "cluster", within=COUNT)
    sample_above: int = setting(100_000, "cluster", within=NOT_NEGATIVE)
    """Above this many samples the sklearn backend starts from a sample and ends with passes over all."""


@dataclass(frozen=True)
class QueryConfig:
    """Clusters + confidence -> the order in which to label."""

    budget: int = setting(0, "query")
    order: str = setting("hard-to-contrast", "query")
    """A strategy that needs no labels, scorer or pixels, or MODULE:FUNCTION (docs/strategies.md)."""
    temperature: float = setting(0.05, "query", within=POSITIVE)
    """Which of the confidence table's temperatures to select by (docs/method.md, decision 2)."""
    max_budget: int | None = setting(None, "query", within=COUNT)
    """Emit this much of the whole order; none: all of it, or of an order on features (coreset, ...) the query alone."""
    image_prefix: str | None = setting(None, "query")
    """What stands before a key in the addresses of Label Studio's tasks; none: the folder of ``ingest.source``."""


@dataclass(frozen=True)
class ReportConfig:
    """What is drawn."""

    random_draws: int = setting(1000, "report", within=COUNT)
    umap_points: int = setting(5000, "report", within=COUNT)
    contact_sheet: int = setting(200, "report", within=COUNT)
    """Images on the contact sheet, at most."""


@dataclass(frozen=True)
class TrialsConfig:
    """What trials of benchmarks and of active-learning cycles have in common."""

    classifier: str = setting("probe", "trial")
    """Trained on what was chosen: probe, resnet18, finetune, paper or csval (``pipeline.evaluate.classifiers``)."""
    k: int | None = setting(None, "trial", within=COUNT)
    """Clusters of the strategies that need them; none: as many as images are chosen, 30 at most."""
    temperature: float | None = setting(None, "trial", within=POSITIVE)
    """Of the confidence; none: ``query.temperature``."""
    n_init: int | None = setting(None, "trial", within=COUNT)
    """Random starts of the trials' own K-means; none: ``cluster.n_init``."""
    scorer: Literal["test", "labelled"] = setting("test", "trial")
    """What the uncertainty strategies' model is trained on for a first query: the test split, as in the paper, or the
    first half of the query, drawn at random (docs/method.md, decision 16)."""
    orders: str | None = setting(None, no="by its content: the orders are claimed")
    """An .npz of published orders of this pool: each array of distinct sample ids becomes ``authors:<its name>``.
    Names that begin with ``gt_`` say that ground truth made the order."""
    network: Literal["small", "paper", "csval"] | None = setting(None, "trial")
    """Settings of the classifiers that train on images; none: small for resnet18 and finetune, else their own."""
    imagenet_weights: str | None = setting(None, no="by its content: its hash is claimed")
    """A safetensors file of timm's Inception-ResNet-v2, in reach of every node; none: from scratch."""
    parallel: int | None = setting(None, no="how many run at a time", within=COUNT)
    """Trials at once, at most; none: as many as there is room for."""
    cpus: float = setting(1.0, no="how fast a trial is", within=POSITIVE)
    """A trial's share of the cluster's CPUs; it computes on as many threads (one at least)."""
    gpus: float | None = setting(None, no="how fast a trial is", within=NOT_NEGATIVE)
    """A trial's share of the cluster's GPUs, such as .25; none: 0 for probe, 1 for the others where there is a GPU."""


@dataclass(frozen=True)
class BenchmarkConfig(TrialsConfig):
    """Strategies x uniform x budgets x seeds -> the paper's tables."""

    strategies: tuple[str, ...] = setting(("all",), "trial")
    """Names of strategies, MODULE:FUNCTION, random_covered, authors:NAME; all: every one that has a name."""
    uniform: Literal["off", "on", "both"] = setting("off", "trial")
    """The oracle of label diversity (docs/method.md, decision 15)."""
    budgets: tuple[int, ...] = setting((), "trial", within=COUNT)
    """Images to label."""
    seeds: int = setting(3, "trial", within=COUNT)
    """Trials of each strategy and budget."""
    random_seeds: int = setting(100, "trial", within=COUNT)
    """Trials of random and random_covered, the yardstick."""
    dataset: PaperSet | None = setting(None, no="whose numbers stand beside ours")
    """Whose numbers of the paper are set beside ours; none: by ``ingest.source`` where that is one of them."""


@dataclass(frozen=True)
class CyclesConfig(TrialsConfig):
    """Initial x later strategies x trials -> curves of active learning."""

    initial: tuple[str, ...] = setting(
        ("random", "consistency", "vaal", "margin", "entropy", "coreset", "bald", "hard-to-contrast"), "trial"
    )
    """Strategies that choose the first images, named as the benchmark's; the rows of the paper's Table 6."""
    later: tuple[str, ...] = setting(("random", "entropy", "margin", "bald", "coreset"), "trial")
    """Strategies that choose the next ones; the paper's five."""
    trials: int = setting(5, "trial", within=COUNT)
    start: int = setting(20, "trial", within=COUNT)
    """Images labelled at first."""
    step: int = setting(10, "trial", within=COUNT)
    """More of them each time."""
    end: int = setting(50, "trial", within=COUNT)
    """In all."""


@dataclass(frozen=True)
class RunConfig:
    """A whole run. ``hacon select --help`` explains the top-level flags."""

    run: str = setting("default", no="it names the run")
    store: str = setting("./hacon-store", no="where results lie")
    preset: str = setting("small", no="where settings began; each decides for itself")
    seed: int = setting(0, "pretrain", "cluster", "query", within=SEED)
    workers: int = setting(1, no="how fast training is", within=COUNT)
    """Training workers; changes the time, not the result."""
    reuse: str | None = setting(None, no="whose results are taken over, where settings agree")
    """Another run whose finished stages are taken over where their settings are the same."""
    ingest: IngestConfig = field(default_factory=IngestConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    cycles: CyclesConfig = field(default_factory=CyclesConfig)


def check(config: RunConfig) -> None:
    """Raise InputError for a number out of its range; names the setting, its value and the range."""
    for key, value, metadata in settings_of(config):
        within: Range | None = metadata["within"]
        for number in value if isinstance(value, tuple) else (value,):
            if within is not None and number is not None and not within.holds(number):
                raise InputError(f"'{key}' is {number}; give {within.words}.")
    temperatures = config.pretrain.confidence_temperatures
    if not temperatures or len(set(temperatures)) < len(temperatures):
        given = ", ".join(map(str, temperatures)) or "empty"
        raise InputError(f"'pretrain.confidence_temperatures' is {given}; give one or more, each of them once.")


def decisive(config: RunConfig, stage: str) -> dict[str, Any]:
    """The settings that decide a stage's result: dotted key -> JSON-ready value.

    Keys of ``ingest`` stand without their group: a pool is of no run.
    """
    found = {key: _plain(value) for key, value, metadata in settings_of(config) if stage in metadata["decides"]}
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
    """A copy with ``values`` (nested mappings, or dotted keys such as "cluster.k") laid over it.

    Raises:
        InputError: unknown key (names the closest valid one) or a value of the wrong type.
    """
    return _override(config, _nest(values), prefix="")


def store_flag(config: RunConfig) -> str:
    """What a command that goes on with this run has to say of its store; nothing for the default one."""
    return "" if config.store == RunConfig.store else f" --store {config.store}"


def this_run(config: RunConfig) -> str:
    """The flags of a command that goes on with this run."""
    return f"--run {config.run}{store_flag(config)}"


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
    """The sentence; ``value`` may be settings below ``key``, of which the first is named."""
    while isinstance(value, Mapping) and value:
        name, value = next(iter(value.items()))
        key = f"{key}.{name}"
    keys = valid_keys()
    # The right name in a wrong group is more likely meant than what merely looks like it.
    same_name = [valid for valid in keys if valid.rpartition(".")[2] == key.rpartition(".")[2]]
    hint = did_you_mean(key, same_name or keys, f"valid ones are {', '.join(keys)}.", cutoff=0.0 if same_name else 0.4)
    return f"There is no setting '{key}'; {hint}"


def _convert(key: str, value: Any, hint: Any) -> Any:
    """``value`` as the annotated type; text from a command line is read as that type."""
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
