"""The command line: help that reads well, one sentence for bad input, settings from where they belong. No Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from jobs import arguments, cli
from jobs.arguments import check_taken_as_it_is, configure, parser
from pipeline import __version__
from pipeline.config import RunConfig, override, settled, to_dict
from pipeline.errors import InputError
from pipeline.presets import preset
from pipeline.progress import silent
from pipeline.results import Embedded, Trained
from pipeline.run import Run
from pipeline.storage import Location, open_store

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; to start Ray is an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("bad input was not found before Ray started")

    monkeypatch.setattr("ray.init", refuse)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    """All files below ``folder``."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one sentence that a command ends with, exit code 2, without the command's name in front."""
    before = files(Path.cwd())
    code = cli.main(argv)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.endswith("\n") and len(said.err.splitlines()) == 1, said.err
    assert files(Path.cwd()) == before
    name, _, text = said.err.strip().partition(": ")
    assert name == f"hacon {argv[0]}"
    return text


# ---- help --------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_job(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([flag]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for job, purpose in cli.JOBS.items():
        assert (ROOT / "jobs" / f"{job}.py").is_file()
        assert f"  {job:<10} {purpose}\n" in said.out
    assert "hacon select --pool digits --budget" in said.out
    assert max(map(len, said.out.splitlines())) <= 88


def test_no_job_at_all_is_shown_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "hacon JOB --help" in capsys.readouterr().out


def test_an_unknown_job_is_told_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["selct", "--budget", "5"]) == 2
    said = capsys.readouterr()
    assert said.err == (
        "hacon: there is no job 'selct'; choose one of select, reselect, labels, ingest, pretrain, embed, cluster, "
        "query, report, benchmark, cycles, league, runs, status, delete.\n"
    )
    assert said.out == ""


SETTINGS_JOBS = [job for job in cli.JOBS if job not in arguments.UPKEEP and job != "reselect"]
"""Those that take all settings by flags; a later query takes its run as it is."""


@pytest.mark.parametrize("job", arguments.UPKEEP)
def test_what_looks_after_a_store_takes_few_flags(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([job, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: hacon {job} ") and "--store" in said and "--set" not in said
    assert all(f"--{flag}" in said for flag in arguments.UPKEEP[job])
    assert cli.main([job, "--bogus"]) == 2
    assert f"hacon {job}: " in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hacon {__version__}\n"


@pytest.mark.parametrize("job", SETTINGS_JOBS)
def test_every_job_explains_flags_pools_and_settings(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([job, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: hacon {job} ")
    flags = "pool labels key-column label-column image-size data-dir preset set config run from store workers"
    for words in [*(f"--{flag}" for flag in [*flags.split(), "seed"]), "npz:FILE", "folder:s3://", "pretrain.epochs"]:
        assert words in said
    assert not files(Path.cwd())


def test_flags_of_one_job_are_in_its_help_alone(capsys: pytest.CaptureFixture[str]) -> None:
    own = {"benchmark": "strategies uniform budgets seeds", "cycles": "initial later trials"}
    for job in SETTINGS_JOBS:
        assert cli.main([job, "--help"]) == 0
        said = capsys.readouterr().out
        for owner, flags in own.items():
            assert all((f"--{flag} " in said) == (job == owner) for flag in flags.split()), job
        assert ("--classifier" in said) == ("--scorer" in said) == (job in own)
        assert ("--budget B " in said) == (job not in own)


# ---- bad input ---------------------------------------------------------------------------

GOOD = ("select", "--pool", "digits", "--budget", "20", "--preset", "hacon")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--budget", "0"), "The budget is 0; give the number of images to label, 1 or more, with --budget."),
        (("--budget", "-3"), "The budget is -3; give the number of images to label, 1 or more, with --budget."),
        (("--budget", "many"), "'query.budget' takes a whole number, not 'many'."),
        (("--budget", "2.5"), "'query.budget' takes a whole number, not '2.5'."),
        (
            ("--set", "query.max_budget=19"),
            "query.max_budget=19 is below the budget of 20; raise it, or leave it out.",
        ),
        (("--set", "query.max_budget=0"), "'query.max_budget' is 0; give 1 or more."),
        (("--preset", "medmnst"), "There is no preset 'medmnst'; did you mean 'medmnist'?"),
        (("--set", "pretrain.epoch=3"), "There is no setting 'pretrain.epoch'; did you mean 'pretrain.epochs'?"),
        (("--set", "epochs=3"), "There is no setting 'epochs'; did you mean 'pretrain.epochs'?"),
        (("--set", "epochs"), "--set takes KEY=VALUE, not 'epochs'."),
        (("--set", "cluster=3"), "'cluster' is a group of settings, not a value; write cluster.NAME=VALUE."),
        (("--set", "query.order=hard"), "There is no order 'hard'; "),
        (("--set", "query.order=easy-contrast"), "There is no order 'easy-contrast'; did you mean 'easy-to-contrast'?"),
        (
            ("--set", "query.order=entropy"),
            "The order 'entropy' needs probabilities, which this job does not make; the place for it is: hacon ben",
        ),
        (
            ("--set", "query.order=pixel-clusters"),
            "The order 'pixel-clusters' needs pixel_cluster and pixel_distance, which this job does not make; ",
        ),
        (
            ("--set", "query.order=typiclust", "query.max_budget=40"),
            "query.max_budget=40, but a query of 40 by 'typiclust' does not begin with that of 20; leave it out.",
        ),
        (
            ("--set", "query.temperature=0.07"),
            "query.temperature=0.07 is not accumulated in pre-training; choose one of 0.2, 0.05, 0.01, 0.001, ",
        ),
        (
            ("--set", "pretrain.confidence_temperatures=0.2", "query.temperature=0.01"),
            "query.temperature=0.01 is not accumulated",
        ),
        (("--set", "pretrain.confidence_temperatures=0.01,0"), "'pretrain.confidence_temperatures' is 0.0; give more"),
        (("--set", "cluster.backend=gpu"), "'cluster.backend' is one of auto, cuml, sklearn, not 'gpu'."),
        (("--set", "cluster.k=0"), "'cluster.k' is 0; give 1 or more."),
        (("--seed", "-1"), "'seed' is -1; give 0 to 4294967295 (2^32 - 1)."),
        (("--workers", "0"), "'workers' is 0; give 1 or more."),
        (
            ("--workers", "3", "--set", "pretrain.bn_splits=2"),
            "3 workers cannot divide pretrain.bn_splits=2; use at most 2 workers",
        ),
        (
            ("--set", "pretrain.batch_size=255", "pretrain.bn_splits=2"),
            "pretrain.batch_size=255 must be a multiple of pretrain.bn_splits=2",
        ),
        (("--set", "pretrain.queue_size=0"), "'pretrain.queue_size' is 0; give 1 or more."),
        (("--set", "pretrain.warmup_epochs=-1"), "'pretrain.warmup_epochs' is -1; give 0 or more."),
        (("--set", "report.umap_points=0"), "'report.umap_points' is 0; give 1 or more."),
        (("--image-size", "-28"), "'ingest.image_size' is -28; give 8 or more."),
        (("--image-size", "wide"), "'ingest.image_size' takes a whole number, not 'wide'."),
        (("--pool", "scans"), "'scans' is no known kind of image source; write one of digits, npz:FILE, "),
        (("--set", "ingest.name=a/b"), "'ingest.name' is 'a/b'; use letters, digits, '.', '_' and '-'."),
        (("--pool", "npz:"), "'npz:' should read npz:FILE."),
        (("--run", "../night"), "A run's name has letters, digits, '-', '_' and '.', and no '.' in front; '../night'"),
        (("--run", ""), "A run's name has letters"),
        (("--run", ".hidden"), "A run's name has letters"),
        (("--from", "a/b"), "A run's name has letters, digits, '-', '_' and '.', and no '.' in front; 'a/b' is none: "),
        (("--from", "nightly"), "There is no run 'nightly' on 'hacon-store' to take over from; check --from."),
        (("--bugdet", "5"), "unrecognized arguments: --bugdet 5; see hacon select --help"),
        (("--budget",), "argument --budget: expected one argument; see hacon select --help"),
        (("--store", ""), "'' is no place that can be used; write a directory's path or s3://bucket/prefix."),
        (("--store", "gs://bucket"), "'gs://bucket' is no place that can be used; "),
        (("--config", "none.yaml"), "There is no settings file 'none.yaml', or it is empty; check --config."),
    ],
)
def test_bad_input_ends_with_one_sentence(
    argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *GOOD, *argv).startswith(words)


def test_without_a_pool_or_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "select", "--budget", "5").startswith("No images are named; give --pool (ingest.source)")
    assert refusal(capsys, "select", "--pool", "digits").startswith("The budget is 0; give the number of images")
    assert refusal(capsys, "ingest").startswith("No images are named; give --pool (ingest.source)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "There is no settings file 'run.yaml', or it is empty; check --config."),
        ("a: [1\nb: }", "'run.yaml' is not YAML ("),
        ("a: \x00", "'run.yaml' is not YAML ("),
        ("- seed\n- 3\n", "'run.yaml' holds no settings; it should read like the config.yaml of a run."),
        ("just text", "'run.yaml' holds no settings; it should read like the config.yaml of a run."),
        ("pretrain:\n  epoch: 3\n", "There is no setting 'pretrain.epoch'; did you mean 'pretrain.epochs'?"),
        ("pretrian:\n  epochs: 3\n", "There is no setting 'pretrian.epochs'; did you mean 'pretrain.epochs'?"),
        ("pretrain: 3\n", "'pretrain' is a group of settings, not a value; write pretrain.NAME=VALUE."),
        ("1: 2\n", "There is no setting '1'; "),
        ("preset: tiny\n", "There is no preset 'tiny'; "),
        ("run:\n", "'run' takes text, not 'None'."),
        ("seed: [1, 2]\n", "'seed' takes a whole number, not '[1, 2]'."),
        ("seed: 4294967296\n", "'seed' is 4294967296; give 0 to 4294967295 (2^32 - 1)."),
    ],
)
def test_a_bad_settings_file(text: str, words: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run.yaml").write_text(text)
    assert refusal(capsys, *GOOD[:5], "--config", "run.yaml").startswith(words)


def test_a_settings_file_of_one_preset_is_not_called_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run.yaml").write_text("preset: csval")
    assert refusal(capsys, *GOOD, "--config", "run.yaml") == (
        "--preset hacon and a settings file that began as preset 'csval'; keep one of the two."
    )


def test_a_refused_job_leaves_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refusal(capsys, *GOOD, "--budget", "0")
    assert list(here.iterdir()) == []


def test_a_settings_file_that_is_bytes_or_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run.yaml").write_bytes(b"seed: \x80")
    assert refusal(capsys, *GOOD, "--config", "run.yaml").startswith("'run.yaml' is not YAML (")
    (here / "folder").mkdir()
    assert refusal(capsys, *GOOD, "--config", "folder").startswith("The settings file 'folder' cannot be read (")


def test_a_store_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("")
    text = refusal(capsys, *GOOD, "--store", "file/store")
    assert text.startswith("The store 'file/store' is not writable (") and "--store" in text


def test_a_bucket_that_is_missing(s3_endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, *GOOD, "--store", "s3://no-bucket-here/hacon")
    assert text.startswith("There is no bucket 'no-bucket-here'")


def test_no_credentials(
    make_bucket: Callable[[], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = make_bucket()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    text = refusal(capsys, *GOOD, "--store", f"s3://{bucket}/hacon")
    assert text.startswith(f"No AWS credentials were found for 's3://{bucket}/hacon'")


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        (("embed",), "hacon pretrain --run night-1"),
        (("cluster", "--budget", "5"), "hacon embed --run night-1"),
        (("query", "--budget", "5"), "hacon pretrain --run night-1"),
        (("report",), "hacon pretrain --run night-1"),
        (("benchmark", "--budgets", "5"), "hacon pretrain --run night-1"),
        (("cycles",), "hacon pretrain --run night-1"),
    ],
)
def test_a_stage_too_early_names_the_command_to_run_first(
    argv: tuple[str, ...], first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *argv, "--run", "night-1", "--preset", "hacon").endswith(f"; first: {first}")


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        (("embed", "--pool", "digits"), "hacon ingest --pool digits"),
        (("cluster", "--budget", "5"), "hacon embed --run night-1"),
        (("query", "--budget", "5"), "hacon embed --run night-1"),
        (("query", "--budget", "5", "--set", "query.order=hard-to-contrast"), "hacon pretrain --run night-1"),
        (("report",), "hacon embed --run night-1"),
        (("benchmark", "--budgets", "5"), "hacon embed --run night-1"),
    ],
)
def test_without_a_training_no_training_is_asked_for(
    argv: tuple[str, ...], first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *argv, "--run", "night-1").endswith(f"; first: {first}")


def test_the_papers_page_needs_a_pool_and_no_finished_stage(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "report", "--paper", "--pool", "digits", "--run", "night-1")
    assert said.endswith("; first: hacon ingest --pool digits")


def test_only_the_report_has_a_page_of_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--paper" in parser("report").format_help() and "--paper" not in parser("select").format_help()
    assert "--paper" in refusal(capsys, "select", "--paper", "--pool", "digits")


def test_a_query_before_the_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store("hacon-store")
    trained = Trained(weights="w", dimensions=2, arch="resnet18", loss=1.0, fitted={}, notes=[])
    store.write_json("runs/night-1/pretrain/done.json", replace(trained, folder="runs/night-1/pretrain").to_dict())
    embedded = Embedded(size=9, dimensions=2, folder="runs/night-1/embeddings")
    store.write_json("runs/night-1/embeddings/done.json", embedded.to_dict())
    assert refusal(capsys, "query", "--budget", "5", "--run", "night-1", "--preset", "hacon") == (
        "Run 'night-1' has no finished clusters on 'hacon-store'; first: hacon cluster --run night-1"
    )
    assert refusal(capsys, "query", "--run", "night-1").startswith("The budget is 0; ")


def test_more_clusters_than_images_and_no_way_to_know_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store("hacon-store")
    store.write_json(
        "runs/default/embeddings/done.json", Embedded(size=9, dimensions=2, folder="runs/default/embeddings").to_dict()
    )
    assert refusal(capsys, "cluster", "--preset", "hacon", "--set", "cluster.k=10") == (
        "cluster.k is 10, and the pool has 9 images; choose 1 to 9."
    )
    assert refusal(capsys, "cluster", "--preset", "hacon") == (
        "The number of clusters follows from the budget; give --budget, or --set cluster.k=30."
    )


def test_ctrl_c_ends_with_a_sentence_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(run: Run) -> None:
        raise KeyboardInterrupt

    assert arguments.run_job("select", interrupted, list(GOOD[1:])) == 130
    assert "hacon select: interrupted; the same command goes on" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(run: Run) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        arguments.run_job("select", broken, list(GOOD[1:]))


# ---- where settings come from ------------------------------------------------------------


def configured(*argv: str) -> RunConfig:
    """The effective configuration of ``hacon select ARGV``."""
    config, store = configure(vars(parser("select").parse_args(argv)))
    assert store.is_s3 or config.store == Location(config.store).uri
    return config


def test_every_flag_reaches_its_setting() -> None:
    config = configured(
        *("--pool", "folder:s", "--labels", "l.csv", "--key-column", "id", "--label-column", "dx", "--data-dir", "d"),
        *("--image-size", "64", "--budget", "5", "--preset", "medmnist", "--run", "r-1", "--store", "out"),
        *("--workers", "2", "--seed", "7", "--set", "cluster.k=3", "query.order=random", "--set", "pretrain.blur=no"),
    )
    expected = {
        "ingest": {"source": "folder:s", "labels": "l.csv", "key_column": "id", "label_column": "dx"},
        "ingest.data_dir": "d",
        "ingest.image_size": 64,
        "query": {"budget": 5, "order": "random"},
        "run": "r-1",
        "store": "out",
        "workers": 2,
        "seed": 7,
        "cluster.k": 3,
        "pretrain.blur": False,
    }
    assert config == override(preset("medmnist"), expected)


def test_a_jobs_own_flags_reach_its_settings() -> None:
    flags = ("--strategies", "coreset, random", "--budgets", "5,10", "--seeds", "4", "--uniform", "both", "--k", "7")
    config, _ = configure(vars(parser("benchmark").parse_args([*flags, "--classifier", "resnet18"])))
    expected = {"strategies": ("coreset", "random"), "budgets": (5, 10), "seeds": 4, "uniform": "both", "k": 7}
    assert config == settled(override(preset("default"), {"benchmark": {**expected, "classifier": "resnet18"}}))
    config, _ = configure(vars(parser("cycles").parse_args(["--initial", "all", "--later", "margin", "--trials", "2"])))
    assert config == settled(
        override(preset("default"), {"cycles": {"initial": ("all",), "later": ("margin",), "trials": 2}})
    )


def test_a_preset_that_is_set_and_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, *GOOD[:5], "--set", "preset=medmnst")
    assert said == "There is no preset 'medmnst'; did you mean 'medmnist'?"


def test_without_flags_it_is_the_default_preset() -> None:
    assert configured() == settled(preset("default"))


def test_the_former_name_of_a_preset_is_still_known() -> None:
    assert preset("small") == preset("hacon")


@pytest.mark.parametrize("argv", [("--preset", "csval"), ("--set", "preset=csval")])
def test_a_preset_brings_its_values_however_it_is_named(argv: tuple[str, ...]) -> None:
    assert configured(*argv) == preset("csval")


def test_flags_win_over_the_file_and_the_file_over_the_preset(here: Path) -> None:
    (here / "run.yaml").write_text("preset: medmnist\nseed: 3\npretrain: {epochs: 50, batch_size: 512}\n")
    config = configured("--config", "run.yaml", "--set", "pretrain.epochs=9", "--seed", "4")
    expected = {"seed": 4, "pretrain.epochs": 9, "pretrain.batch_size": 512}
    assert config == override(preset("medmnist"), expected)
    assert configured("--config", str(here / "run.yaml"), "--preset", "medmnist").seed == 3
    (here / "bare.yaml").write_text("seed: 3\n")
    assert configured("--config", "bare.yaml", "--preset", "csval") == override(preset("csval"), {"seed": 3})


def test_a_flag_wins_over_set() -> None:
    assert configured("--budget", "5", "--set", "query.budget=6").query.budget == 5


def test_a_settings_file_from_s3(make_bucket: Callable[[], str]) -> None:
    bucket = make_bucket()
    Location(f"s3://{bucket}/some").write_bytes("run.yaml", b"seed: 5\n")
    assert configured("--config", f"s3://{bucket}/some/run.yaml").seed == 5


@pytest.fixture
def saved() -> RunConfig:
    """Run "night-1" on the default store, saved as a finished job saves it."""
    config = override(
        preset("medmnist"),
        {"run": "night-1", "reuse": "night-0", "ingest.source": "digits", "query.budget": 20, "pretrain.epochs": 3},
    )
    Run(config, open_store("hacon-store"), silent).save()
    return config


def test_what_is_saved_is_the_effective_configuration(saved: RunConfig, here: Path) -> None:
    text = (here / "hacon-store/runs/night-1/config.yaml").read_text()
    assert yaml.safe_load(text) == to_dict(saved)
    assert text.startswith("run: night-1\n")


def test_a_saved_run_lends_its_settings_to_its_next_job(saved: RunConfig, here: Path) -> None:
    assert configured("--run", "night-1") == override(saved, {"reuse": None, "store": str(here / "hacon-store")})
    changed = configured("--run", "night-1", "--budget", "40", "--set", "pretrain.epochs=4")
    assert (changed.query.budget, changed.pretrain.epochs, changed.pretrain.arch) == (40, 4, "resnet50")
    assert configured("--run", "night-2") == settled(override(preset("default"), {"run": "night-2"}))


def test_another_run_lends_its_settings_and_is_taken_over_from(saved: RunConfig, here: Path) -> None:
    config = configured("--from", "night-1", "--run", "night-2", "--budget", "40")
    lent = {"run": "night-2", "reuse": "night-1", "query.budget": 40, "store": str(here / "hacon-store")}
    assert config == override(saved, lent)


def test_a_run_of_its_own_comes_before_the_one_it_takes_over_from(saved: RunConfig) -> None:
    Run(override(preset("small"), {"run": "night-2", "seed": 9}), open_store("hacon-store"), silent).save()
    config = configured("--from", "night-1", "--run", "night-2")
    assert (config.seed, config.preset, config.reuse) == (9, "hacon", "night-1")


def test_a_preset_or_a_file_replaces_what_was_saved(saved: RunConfig, here: Path) -> None:
    assert configured("--run", "night-1", "--preset", "csval") == override(preset("csval"), {"run": "night-1"})
    (here / "run.yaml").write_text("seed: 3\n")
    fresh = configured("--run", "night-1", "--config", "run.yaml")
    assert fresh == settled(override(preset("default"), {"run": "night-1", "seed": 3}))


def test_a_saved_configuration_makes_a_new_run_of_the_same_settings(saved: RunConfig) -> None:
    open_store("hacon-store").write_json("runs/night-0/pretrain/done.json", {})
    config = configured("--config", "hacon-store/runs/night-1/config.yaml", "--run", "again")
    assert config == override(saved, {"run": "again"})


def test_an_evaluation_takes_a_run_as_it_is(saved: RunConfig) -> None:
    store = open_store("hacon-store")
    check_taken_as_it_is(
        Run(configured("--run", "night-1", "--set", "benchmark.seeds=9", "query.temperature=0.2"), store, silent)
    )
    with pytest.raises(InputError) as caught:
        check_taken_as_it_is(Run(configured("--run", "night-1", "--set", "pretrain.epochs=4"), store, silent))
    assert str(caught.value) == (
        "Run 'night-1' has pretrain.epochs=3, now it is 4; an evaluation takes a run as it is: leave it out, or start "
        "a new run with --run."
    )


def test_an_evaluation_saves_its_own_settings_alone(saved: RunConfig, here: Path) -> None:
    changed = override(saved, {"benchmark.seeds": 9, "query.temperature": 0.2, "cycles.trials": 2})
    Run(changed, open_store("hacon-store"), silent).save_group("benchmark")
    text = (here / "hacon-store/runs/night-1/config.yaml").read_text()
    assert yaml.safe_load(text) == to_dict(override(saved, {"benchmark.seeds": 9}))


def test_settings_are_saved_and_lent_on_s3_too(make_bucket: Callable[[], str]) -> None:
    uri = f"s3://{make_bucket()}/hacon"
    Run(override(preset("small"), {"run": "a", "store": uri, "seed": 6}), open_store(uri), silent).save()
    config = configured("--store", uri, "--run", "a")
    assert (config.seed, config.store) == (6, uri)


def test_globs_may_come_again(tmp_path: Path) -> None:
    argv = ["--store", str(tmp_path), "--include", "*.bmp", "--include", "a,b/*", "--exclude", "masks"]
    config, _ = configure(vars(parser("select").parse_args(argv)))
    assert config.ingest.include == ("*.bmp", "a,b/*")
    assert config.ingest.exclude == ("masks",)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--pool", "folder:nowhere"), "There is nothing at '"),
        (("--pool", "folder:empty"), "There is no file in or below '"),
        (("--pool", "folder:some", "--labels", "gone.csv"), "There is no labels file '"),
        (("--pool", "npz:gone.npz"), "There is no file '"),
        (
            ("--pool", "digits", "--features", "imagenett"),
            "There are no features 'imagenett'; did you mean 'imagenet'?",
        ),
        (("--pool", "digits", "--features", "v.parquet"), "There is no file of features 'v.parquet'"),
        (
            ("--pool", "digits", "--weights", "w.safetensors"),
            "--weights is for --features timm:NAME, not for 'imagenet'",
        ),
    ],
)
def test_what_is_not_there_is_told_before_ray_starts(
    argv: tuple[str, ...], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "empty").mkdir()
    (here / "some").mkdir()
    (here / "some" / "a.png").write_bytes(b"")
    assert refusal(capsys, "select", *argv, "--budget", "3").startswith(words)
