"""Every setting of a run, grouped by stage: complete, frozen, strict.

A run's effective configuration is saved beside its results. Values come, in rising priority,
from the preset, a YAML file and the command line; an unknown key is an error that names the
closest valid one, and a value that no run could use is an error that names its range.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.errors import InputError


@dataclass(frozen=True)
class IngestConfig:
    """Images anywhere -> pool."""

    source: str = ""
    """Where the images are: digits, npz:FILE, medmnist:NAME, cifar10-lt, folder:PATH or URI."""
    name: str | None = None
    """The pool's name on the store; by default made from the source and the image size."""
    image_size: int | None = None
    """Side in pixels to which every image is resized, once; by default arrays keep theirs, folders get 224."""
    channels: Literal["auto", "grey", "rgb"] = "auto"
    """Of the pool; auto: arrays keep theirs, a folder is grey where 64 files spread over it all are."""
    labels: str | None = None
    """Where labels of a folder come from: "folder" (the parent folder's name) or a CSV file."""
    key_column: str = "key"
    """The labels CSV's column that holds the image's file name, path or stem."""
    label_column: str = "label"
    """The labels CSV's column that holds the label."""
    held_out: str | None = None
    """Of npz:FILE: another archive, with the val or test arrays that the pool's own lacks; for evaluation only."""
    data_dir: str | None = None
    """Where downloaded data sets lie or go (medmnist, cifar10-lt)."""
    max_pixels: int = 100_000_000
    """A larger image is rejected before it is decoded (a decompression bomb)."""
    rows_per_file: int = 16_384
    """Rows in one Parquet file of the pool, at most."""


@dataclass(frozen=True)
class PretrainConfig:
    """MoCo v2 (SCIENCE.md section 4, Tables 2 to 4 of the paper)."""

    arch: Literal["resnet18", "resnet50"] = "resnet18"
    epochs: int = 200
    repeats: int | None = 1
    """How often an epoch holds each image (Table 4); none: so that an epoch has about 1.28 M draws."""
    batch_size: int = 256
    """Global batch: over all workers."""
    queue_size: int = 4096
    learning_rate: float = 0.03
    """At a batch of 256; scaled linearly with the batch."""
    weight_decay: float = 1e-4
    sgd_momentum: float = 0.9
    encoder_momentum: float = 0.999
    loss_temperature: float = 0.2
    warmup_epochs: int = 5
    projection_dim: int = 128
    recipe: Literal["auto", "rgb", "grey"] = "auto"
    """Augmentations of Table 3; auto: by the number of channels."""
    blur: bool = True
    bn_splits: int = 8
    """Batch norm runs over this many equal parts of the global batch, whatever the number of workers."""
    confidence_temperatures: tuple[float, ...] = (0.2, 0.05, 0.01, 0.001)
    checkpoint_every: int = 1
    """Epochs between two checkpoints."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    pool_memory_gib: float | None = None
    """Keep the pool on the device up to this size, stream it beyond; none: half of the free memory."""
    shuffle_gib: float = 4.0
    """Window of the shuffle: pools up to this size are permuted whole, larger ones window by window."""


@dataclass(frozen=True)
class EmbedConfig:
    """Pool -> unit-norm backbone features."""

    batch_size: int = 512
    rows_per_file: int = 65_536


@dataclass(frozen=True)
class ClusterConfig:
    """Features -> K clusters that stand for classes."""

    k: int | None = None
    """Number of clusters; none: 30 where the budget is 30 or more, else the budget (SCIENCE.md row 9)."""
    backend: Literal["auto", "cuml", "sklearn"] = "auto"
    space: Literal["features", "umap2d"] = "features"
    """K-means on the unit-norm features, or on their 2-D UMAP as the authors' code does (row 7)."""
    n_init: int = 10
    """Random starts, of which the best is kept; above ``sample_above`` 300 / K of them at most."""
    max_iter: int = 300
    sample_above: int = 100_000
    """Above this many samples the sklearn backend starts from a sample and ends with passes over all."""


@dataclass(frozen=True)
class QueryConfig:
    """Clusters + confidence -> the order in which to label."""

    budget: int = 0
    order: str = "hard-to-contrast"
    """A strategy of ``pipeline.select`` that needs no labels, scorer or pixels."""
    temperature: float = 0.05
    """Which of the confidence table's temperatures to select by (SCIENCE.md row 2)."""
    max_budget: int | None = None
    """Emit this much of the whole order; none: all of it, or of an order on features (coreset, ...) the query alone."""
    image_prefix: str | None = None
    """What stands before a key in the addresses of Label Studio's tasks; none: the folder of ``ingest.source``."""


@dataclass(frozen=True)
class ReportConfig:
    """What is drawn."""

    random_draws: int = 1000
    umap_points: int = 5000
    contact_sheet: int = 200
    """Images on the contact sheet, at most."""


@dataclass(frozen=True)
class TrialsConfig:
    """What trials of benchmarks and of active-learning cycles have in common."""

    classifier: str = "probe"
    """Trained on what was chosen: probe, resnet18, finetune, paper or csval (``pipeline.evaluate.classifiers``)."""
    k: int | None = None
    """Clusters of the strategies that need them; none: as many as images are chosen, 30 at most."""
    temperature: float | None = None
    """Of the confidence; none: ``query.temperature``."""
    n_init: int | None = None
    """Random starts of the trials' own K-means; none: ``cluster.n_init``."""
    scorer: Literal["test", "labelled"] = "test"
    """What the uncertainty strategies' model is trained on for a first query (SCIENCE.md row 16): the test split, as in
    the paper, or the first half of the query, drawn at random."""
    orders: str | None = None
    """An .npz of published orders of this pool: each array of distinct sample ids becomes ``authors:<its name>``.
    Names that begin with ``gt_`` say that ground truth made the order."""
    network: Literal["small", "paper", "csval"] | None = None
    """Settings of the classifiers that train on images; none: small for resnet18 and finetune, else their own."""
    imagenet_weights: str | None = None
    """A safetensors file of timm's Inception-ResNet-v2, in reach of every node; none: from scratch."""
    parallel: int | None = None
    """Trials at once, at most; none: as many as there is room for."""
    cpus: float = 1.0
    """A trial's share of the cluster's CPUs; it computes on as many threads (one at least)."""
    gpus: float | None = None
    """A trial's share of the cluster's GPUs, such as .25; none: 0 for probe, 1 for the others where there is a GPU."""


@dataclass(frozen=True)
class BenchmarkConfig(TrialsConfig):
    """Strategies x uniform x budgets x seeds -> the paper's tables."""

    strategies: tuple[str, ...] = ("all",)
    """Names of ``pipeline.select``, random_covered, authors:NAME; all: every one of them."""
    uniform: Literal["off", "on", "both"] = "off"
    """The oracle of label diversity (SCIENCE.md row 15)."""
    budgets: tuple[int, ...] = ()
    """Images to label."""
    seeds: int = 3
    """Trials of each strategy and budget."""
    random_seeds: int = 100
    """Trials of random and random_covered, the yardstick."""
    dataset: Literal["pathmnist", "organamnist", "bloodmnist", "cifar10-lt"] | None = None
    """Whose numbers of the paper are set beside ours; none: by ``ingest.source`` where that is one of them."""


@dataclass(frozen=True)
class CyclesConfig(TrialsConfig):
    """Initial x later strategies x trials -> curves of active learning."""

    initial: tuple[str, ...] = (
        *("random", "consistency", "vaal", "margin", "entropy", "coreset", "bald", "hard-to-contrast"),
    )
    """Strategies that choose the first images, named as the benchmark's; the rows of the paper's Table 6."""
    later: tuple[str, ...] = ("random", "entropy", "margin", "bald", "coreset")
    """Strategies that choose the next ones; the paper's five."""
    trials: int = 5
    start: int = 20
    """Images labelled at first."""
    step: int = 10
    """More of them each time."""
    end: int = 50
    """In all."""


@dataclass(frozen=True)
class RunConfig:
    """A whole run. ``hacon select --help`` explains the top-level flags."""

    run: str = "default"
    store: str = "./hacon-store"
    preset: str = "small"
    seed: int = 0
    workers: int = 1
    """Training workers; changes the time, not the result."""
    reuse: str | None = None
    """Another run whose finished stages are taken over where their settings are the same."""
    ingest: IngestConfig = field(default_factory=IngestConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    cycles: CyclesConfig = field(default_factory=CyclesConfig)


_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    ("0 to 4294967295 (2^32 - 1)", lambda value: 0 <= value < 2**32, ("seed",)),
    (
        "1 or more",
        lambda value: value >= 1,
        (
            *("workers", "pretrain.epochs", "pretrain.repeats", "pretrain.batch_size", "pretrain.queue_size"),
            *("pretrain.projection_dim", "pretrain.bn_splits", "pretrain.checkpoint_every"),
            *("embed.batch_size", "embed.rows_per_file", "cluster.k", "cluster.n_init", "cluster.max_iter"),
            *("query.max_budget", "report.random_draws", "report.umap_points", "report.contact_sheet"),
            *("benchmark.budgets", "benchmark.seeds", "benchmark.random_seeds", "benchmark.k", "benchmark.parallel"),
            *("benchmark.n_init", "cycles.n_init"),
            *("cycles.trials", "cycles.start", "cycles.step", "cycles.end", "cycles.k", "cycles.parallel"),
        ),
    ),
    (
        "0 or more",
        lambda value: 0 <= value < math.inf,
        (
            *("pretrain.weight_decay", "pretrain.warmup_epochs", "pretrain.pool_memory_gib", "cluster.sample_above"),
            *("benchmark.gpus", "cycles.gpus"),
        ),
    ),
    (
        "more than 0",
        lambda value: 0 < value < math.inf,
        (
            *("pretrain.learning_rate", "pretrain.loss_temperature", "pretrain.confidence_temperatures"),
            *("pretrain.shuffle_gib", "query.temperature", "benchmark.temperature", "benchmark.cpus"),
            *("cycles.temperature", "cycles.cpus"),
        ),
    ),
    ("0 to 1", lambda value: 0 <= value <= 1, ("pretrain.sgd_momentum", "pretrain.encoder_momentum")),
)
"""What numbers may be, whatever the pool; those of ``ingest`` are checked with the source, in ``data.catalogue``."""


def check(config: RunConfig) -> None:
    """Raise InputError for a number out of its range; names the setting, its value and the range."""
    for words, holds, keys in _RANGES:
        for key in keys:
            group, _, name = key.rpartition(".")
            value = getattr(getattr(config, group) if group else config, name)
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not holds(number):
                    raise InputError(f"'{key}' is {number}; give {words}.")
    temperatures = config.pretrain.confidence_temperatures
    if not temperatures or len(set(temperatures)) < len(temperatures):
        given = ", ".join(map(str, temperatures)) or "empty"
        raise InputError(f"'pretrain.confidence_temperatures' is {given}; give one or more, each of them once.")


def to_dict(config: Any) -> dict[str, Any]:
    """The dataclass as JSON-ready plain values (tuples as lists)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return plain(dataclasses.asdict(config))


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


def valid_keys(config_type: type = RunConfig, prefix: str = "") -> list[str]:
    """All dotted keys, e.g. "pretrain.epochs"."""
    keys = []
    for name, hint in typing.get_type_hints(config_type).items():
        is_group = isinstance(hint, type) and dataclasses.is_dataclass(hint)
        keys += valid_keys(hint, f"{prefix}{name}.") if is_group else [prefix + name]
    return keys


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
    close = difflib.get_close_matches(key, same_name or keys, n=1, cutoff=0.0 if same_name else 0.4)
    hint = f"did you mean '{close[0]}'?" if close else f"valid ones are {', '.join(keys)}."
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


def decisive(config: RunConfig, stage: str) -> dict[str, Any]:
    """TEMPORARY until the branch config is merged."""
    values = to_dict(config)
    group = values[stage]
    names = {
        "ingest": ("image_size", "channels", "max_pixels", "labels", "key_column", "label_column"),
        "pretrain": [n for n in group if n not in ("checkpoint_every", "pool_memory_gib")],
        "embed": (),
        "cluster": list(group),
        "query": list(group),
        "report": list(group),
    }[stage]
    seed = {"seed": config.seed} if stage in ("pretrain", "cluster", "query") else {}
    prefix = "" if stage == "ingest" else f"{stage}."
    return seed | {f"{prefix}{name}": group[name] for name in names}
