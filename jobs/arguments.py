"""The command line: flags that all jobs share, laid over a preset, a saved run or a YAML file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import yaml

from jobs.ending import ended
from pipeline.config import RunConfig, check, override, settled, to_dict
from pipeline.errors import InputError
from pipeline.home import settle_home
from pipeline.presets import PRESETS, preset
from pipeline.progress import say
from pipeline.run import Run, saved_config
from pipeline.storage import Location, open_store

Job = Callable[[Run], int | None]

JOBS = {
    "select": "the main job: from images to query and report, all stages in one",
    "reselect": "the scheduled job: what is new in the archive, and the next images to label",
    "labels": "what annotators gave back -> labels beside the run",
    "ingest": "images anywhere -> a pool on the store",
    "pretrain": "pool -> MoCo v2 weights and every image's confidence",
    "embed": "pool + encoder -> features",
    "cluster": "features -> K clusters",
    "query": "clusters, features or confidence -> the order in which to label",
    "report": "everything -> one HTML page",
    "benchmark": "strategies x budgets x seeds -> the paper's tables",
    "cycles": "first x later strategies -> curves of active learning",
    "league": "the benchmarks of several runs -> who beats chance: features x strategies",
    "runs": "what a store holds: how far each run is, and what is next",
    "status": "how far one run is, stage by stage",
    "delete": "remove a run with what is only its own",
}

UPKEEP = {
    "labels": ("run", "from", "key-column", "label-column"),
    "league": ("runs",),
    "runs": ("json",),
    "status": ("run", "json"),
    "delete": ("run", "yes"),
}
"""Commands that read a store or look after it -> their flags besides --store. They take no settings."""
_UPKEEP_FLAGS: dict[str, dict[str, Any]] = {
    "run": {"metavar": "NAME", "required": True, "help": "the run's name on the store"},
    "runs": {"metavar": "RUNS", "required": True, "help": "names of runs with a benchmark, with commas between"},
    "from": {
        "dest": "files",
        "metavar": "FILE",
        "action": "append",
        "required": True,
        "help": "a table, an export of Label Studio, CVAT or COCO, or a folder with one folder a class; may come again",
    },
    "key-column": {"metavar": "NAME", "help": "of a table: the column with the image's name (found by itself)"},
    "label-column": {"metavar": "NAME", "help": "of a table: the column with the label (found by itself)"},
    "json": {"action": "store_true", "help": "for programs"},
    "yes": {"action": "store_true", "help": "do not ask"},
}

_FLAGS = {
    "run": "run",
    "store": "store",
    "seed": "seed",
    "workers": "workers",
    "reuse": "reuse",
    "pool": "ingest.source",
    "include": "ingest.include",
    "exclude": "ingest.exclude",
    "image_column": "ingest.image_column",
    "key_column": "ingest.key_column",
    "label_column": "ingest.label_column",
    "image_size": "ingest.image_size",
    "data_dir": "ingest.data_dir",
    "features": "embed.features",
    "k": "cluster.k",
    "weights": "embed.weights",
    "labelled": "query.labelled",
    "groups": "query.groups",
    "per": "query.per",
    "at_most": "query.at_most",
    "budget": "query.budget",
}
"""Flag -> the setting that it is short for."""

_OTHER_FLAGS = {"reselect": {"budget": "reselect.budget", "most_open": "reselect.most_open"}}
"""Job -> its flags that are short for other settings than elsewhere, or that only it has."""

_TRIALS = {
    "classifier": "trained on what was chosen: probe, resnet18, finetune, paper, csval (probe)",
    "k": "clusters of the trials, where they are needed; the run's own are cluster.k (as the budget, 30 at most)",
    "scorer": "of a first query by uncertainty: trained on the test split, as in the paper, or on a first half that is "
    "drawn at random: test, labelled (test)",
    "orders": "an .npz of published orders of this pool, for strategies called authors:NAME",
}
_OWN_FLAGS = {
    "benchmark": {
        "strategies": "names, with commas between; all: every one",
        "uniform": "off, on or both: the oracle that takes equally from each true class (off)",
        "budgets": "how many images to label, with commas between",
        "seeds": "trials of each strategy and budget (3); random has benchmark.random_seeds (100)",
        **_TRIALS,
    },
    "cycles": {
        "initial": "strategies that choose the first images, with commas between",
        "later": "strategies that choose the next (random,entropy,margin,bald,coreset)",
        "trials": "of each pair of them (5)",
        **_TRIALS,
    },
}
"""Job -> its own flags. Each is short for JOB.FLAG, since its group of settings has the job's name."""
_SWITCHES = {"report": {"paper": "instead: the paper's tables and figures, of what benchmark and cycles left"}}
"""Job -> flags without a value. Each selects another function of the job."""

_EPILOG = """\
pools
  digits                     scikit-learn's bundled digits: real images, no network
  npz:FILE                   arrays with MedMNIST's keys (train_images, train_labels, ...)
  medmnist:NAME              through the medmnist package, or NAME.npz under --data-dir
  cifar10-lt                 CIFAR-10 with a long tail, rho = 100
  folder:PATH                JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000, PNM; also folder:s3://bucket/prefix,
                             and with a glob: 'folder:scans/*.png', 'folder:scans/**/left/*'
  parquet:PATH               Parquet with a column of images (bytes, Hugging Face's struct, lists of uint8) and one
                             of keys: a file, a folder or a glob, also on S3
  webdataset:PATH            tar shards: images, and labels in .cls or .json members; as parquet: a file, folder or glob

settings
  --set GROUP.NAME=VALUE sets anything: pretrain.epochs, pretrain.batch_size, pretrain.queue_size,
  pretrain.arch, pretrain.repeats, cluster.k, cluster.backend, query.order, query.temperature, ...
  All of them with their values are in config.yaml beside the results, and --config reads such a file.
"""


class _Parser(argparse.ArgumentParser):
    """Reports an error in one sentence, without the usage, as for all other bad input."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"{message}; see {self.prog} --help")


def parser(name: str) -> argparse.ArgumentParser:
    """The flags of one job."""
    if name in UPKEEP:
        return upkeep_parser(name)
    if name == "reselect":
        return _reselect_parser()
    parse = _Parser(
        prog=f"hacon {name}",
        description=JOBS[name],
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    images = parse.add_argument_group("images")
    images.add_argument("--pool", metavar="SOURCE", help="where the images are (see below)")
    images.add_argument("--include", metavar="GLOB", action="append", help="of a folder only these; may come again")
    images.add_argument("--exclude", metavar="GLOB", action="append", help="of a folder not these; may come again")
    images.add_argument(
        "--image-size", metavar="PIXELS", help="resize to this side, once (folders: 112 for imagenet, else 224)"
    )
    images.add_argument(
        "--labels",
        metavar="FILE",
        action="append",
        help='for evaluation only: a CSV file, which may come again, or "folder" for folder names',
    )
    images.add_argument(
        "--key-column", metavar="NAME", help="the CSV's column with the file's name, or a Parquet's (key)"
    )
    images.add_argument("--label-column", metavar="NAME", help="the CSV's column with the label (label)")
    images.add_argument(
        "--image-column", metavar="NAME", help="a Parquet's column of images (image), or a shard's extension of them"
    )
    images.add_argument("--data-dir", metavar="DIR", help="where data sets lie, or are downloaded to")
    if name in _OWN_FLAGS:
        own = parse.add_argument_group(name)
        for flag, words in _OWN_FLAGS[name].items():
            own.add_argument(f"--{flag}", dest=f"{name}.{flag}", metavar=flag.upper(), help=words)
    features = parse.add_argument_group("features")
    features.add_argument(
        "--features", metavar="SOURCE", help="imagenet, moco, timm:NAME, or your own: FILE.parquet, .npy or .npz"
    )
    features.add_argument("--weights", metavar="FILE", help="safetensors, for timm:NAME")
    run = parse.add_argument_group("run")
    if name not in _OWN_FLAGS:
        run.add_argument("--budget", metavar="B", help="how many images to label")
        run.add_argument("--labelled", metavar="FILE", help="a CSV of images that are labelled or handed out already")
        run.add_argument("--groups", metavar="FILE", help="a CSV of groups of images: patient, site, ...")
        run.add_argument("--at-most", metavar="N", help="most images of one group (with --groups and --per)")
        run.add_argument("--per", metavar="COLUMN", help="which column of --groups: patient, ...")
        run.add_argument("--k", metavar="K", help="clusters (as the budget, 30 at most)")
    for flag, purpose in _SWITCHES.get(name, {}).items():
        run.add_argument(f"--{flag}", action="store_true", help=purpose)
    run.add_argument("--preset", metavar="NAME", help=f"{', '.join(PRESETS)}")
    run.add_argument("--set", metavar="KEY=VALUE", action="append", nargs="+", help="any setting; may come again")
    run.add_argument("--config", metavar="FILE", help="a YAML file of settings, under the flags")
    run.add_argument("--run", metavar="NAME", help="the run's name on the store (default)")
    run.add_argument("--from", dest="reuse", metavar="RUN", help="take over another run's stages where settings agree")
    run.add_argument("--store", metavar="URI", help="a directory or s3://bucket/prefix (./hacon-store)")
    run.add_argument("--workers", metavar="N", help="training workers; the result stays the same (1)")
    run.add_argument("--seed", metavar="N", help="of everything random (0)")
    return parse


def _reselect_parser() -> argparse.ArgumentParser:
    parse = _Parser(prog="hacon reselect", description=JOBS["reselect"], argument_default=argparse.SUPPRESS)
    parse.add_argument("--run", metavar="NAME", required=True, help="the run whose archive has grown")
    parse.add_argument("--budget", metavar="B", help="how many images to hand out (as many as the first query)")
    parse.add_argument("--most-open", metavar="N", help="leave no more than N handed out and not yet labelled")
    parse.add_argument("--pool", metavar="SOURCE", help="where the archive lies now (as it did)")
    parse.add_argument("--store", metavar="URI", help="as the run was given it (./hacon-store)")
    parse.add_argument("--set", metavar="KEY=VALUE", action="append", nargs="+", help="any setting; may come again")
    return parse


def upkeep_parser(name: str) -> argparse.ArgumentParser:
    """The flags of a command that looks after a store."""
    parse = _Parser(prog=f"hacon {name}", description=JOBS[name])
    parse.add_argument("--store", metavar="URI", default=RunConfig.store, help="as the run was given it")
    for flag in UPKEEP[name]:
        parse.add_argument(f"--{flag}", **_UPKEEP_FLAGS[flag])
    return parse


def configure(arguments: dict[str, Any], job: str = "select") -> tuple[RunConfig, Location]:
    """The effective configuration and the opened store.

    The base is, in this order: what --preset or --config names; the saved settings of the run, if it
    exists; those of the run given with --from; the preset ``default``.

    Raises:
        InputError: unknown preset, key, file or run; a value out of its range; a store that cannot be written.
    """
    items = [item for group in arguments.get("set", []) for item in group]
    values = dict(_split(item) for item in items)
    flags = _FLAGS | _OTHER_FLAGS.get(job, {})
    values |= {key: arguments[flag] for flag, key in flags.items() if flag in arguments}
    values |= {key: value for key, value in arguments.items() if "." in key}  # flags of one job
    if "labels" in arguments:
        first, *more = arguments["labels"]
        values |= {"ingest.labels": first, "ingest.more_labels": more}
    named = arguments.get("preset", values.pop("preset", None))
    base = _read_config(arguments["config"]) if "config" in arguments else {}
    config = _build(named, base, values)
    check(config)
    for name, flag in ((config.run, "--run"), (config.reuse, "--from")):
        _check_name(name, flag)
    store = open_store(config.store)
    if config.reuse is not None and not store.exists(f"runs/{config.reuse}"):
        raise InputError(f"There is no run '{config.reuse}' on '{store.show()}' to take over from; check --from.")
    if named is None and "config" not in arguments:
        saved = saved_config(store, config.run) or saved_config(store, config.reuse)
        if saved is not None:
            other = values.get("ingest.source", saved["ingest"]["source"]) != saved["ingest"]["source"]
            if other and job != "reselect":
                del saved["ingest"]  # of another source: its labels, sizes and columns mean nothing here
            config = _build(None, saved, values)
            check(config)
    return settled(config), store


def _build(name: str | None, base: dict[str, Any], values: dict[str, Any]) -> RunConfig:
    begun = base.get("preset")
    if name and begun and preset(name).preset != preset(str(begun)).preset:
        raise InputError(f"--preset {name} and a settings file that began as preset '{begun}'; keep one of the two.")
    start = preset(str(name or begun or RunConfig.preset))
    return override(override(start, {**base, "preset": start.preset}), values)


def check_taken_as_it_is(run: Run, what: str = "an evaluation", without: tuple[str, ...] = ()) -> None:
    """Raise InputError if a setting of a stage that an evaluation builds on differs from the run's."""
    config = run.config
    saved, now = saved_config(run.store, config.run), to_dict(config)
    for group in ("ingest", "pretrain", "embed", "cluster"):
        for name, then in ({} if saved is None else saved[group]).items():
            if f"{group}.{name}" in without or name not in now[group]:
                continue
            if now[group][name] != then:
                raise InputError(
                    f"Run '{config.run}' has {group}.{name}={then}, now it is {now[group][name]}; {what} takes "
                    "a run as it is: leave it out, or start a new run with --run."
                )


def run_job(name: str, job: Job, argv: Sequence[str] | None, **instead: Job) -> int:
    """Parse, configure, run. Returns the exit code of ``ending.ended``.

    Args:
        instead: switch -> the job that it selects.
    """

    def work() -> int | None:
        arguments, config, store = settled_arguments(name, argv)
        chosen = next((other for switch, other in instead.items() if switch in arguments), job)
        return chosen(Run(config, store, say))

    return ended(f"hacon {name}", work)


def settled_arguments(name: str, argv: Sequence[str] | None) -> tuple[dict[str, Any], RunConfig, Location]:
    """The arguments of a job and what they mean, on a machine whose HOME takes caches. Loads no job and no Ray.

    Raises:
        InputError: as ``configure``; a flag that there is not.
    """
    arguments = vars(parser(name).parse_args(argv))
    config, store = configure(arguments, name)
    if (moved := settle_home()) is not None:
        say(moved)
    return arguments, config, store


def _split(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals:
        raise InputError(f"--set takes KEY=VALUE, not '{item}'.")
    return key, value


def _check_name(run: str | None, flag: str) -> None:
    if run is None:
        return
    if not run or not all(letter.isalnum() or letter in "-_." for letter in run) or run.startswith("."):
        raise InputError(
            f"A run's name has letters, digits, '-', '_' and '.', and no '.' in front; '{run}' is none: "
            f"choose another with {flag}."
        )


def _read_config(name: str) -> dict[str, Any]:
    folder, slash, file = name.rpartition("/")
    try:
        values = Location(folder or slash or ".").read_yaml(file)
    except OSError as error:
        raise InputError(f"The settings file '{name}' cannot be read ({error}); check --config.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"'{name}' is not YAML ({str(error).splitlines()[0]}); mend it.") from None
    if values is None:
        raise InputError(f"There is no settings file '{name}', or it is empty; check --config.")
    if not isinstance(values, dict):
        raise InputError(f"'{name}' holds no settings; it should read like the config.yaml of a run.")
    return values
