"""Settings: laid over each other, read from text, refused by name; the presets' numbers are the paper's."""

from __future__ import annotations

import math
import typing
from typing import Any

import pytest
import yaml

from pipeline.config import RunConfig, check, override, settled, to_dict, valid_keys
from pipeline.errors import InputError
from pipeline.presets import PRESETS, preset


def value_of(config: RunConfig, key: str) -> Any:
    """The setting called ``key``, e.g. "pretrain.epochs"."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


# ---- laying settings over each other -----------------------------------------------------


def test_dotted_and_nested_keys_mean_the_same_and_change_nothing_else() -> None:
    base = RunConfig()
    dotted = override(base, {"cluster.k": 7, "cluster.n_init": 2, "run": "night-1"})
    nested = override(base, {"cluster": {"k": 7, "n_init": 2}, "run": "night-1"})
    mixed = override(base, {"cluster": {"k": 7}, "cluster.n_init": 2, "run": "night-1"})
    assert dotted == nested == mixed
    assert (dotted.cluster.k, dotted.cluster.n_init, dotted.run) == (7, 2, "night-1")
    changed = {"cluster.k", "cluster.n_init", "run"}
    assert all(value_of(dotted, key) == value_of(base, key) for key in valid_keys() if key not in changed)
    assert base == RunConfig()


def test_later_values_win() -> None:
    assert override(RunConfig(), {"cluster": {"k": 7}, "cluster.k": 8}).cluster.k == 8
    assert override(override(RunConfig(), {"cluster.k": 7}), {"cluster.k": "none"}).cluster.k is None


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "41", 41),
        ("seed", "-1", -1),
        ("pretrain.epochs", 3.0, 3),
        ("pretrain.learning_rate", "1e-2", 0.01),
        ("pretrain.learning_rate", 1, 1.0),
        ("pretrain.blur", "false", False),
        ("pretrain.blur", "Yes", True),
        ("pretrain.blur", True, True),
        ("pretrain.arch", "resnet50", "resnet50"),
        ("pretrain.repeats", "none", None),
        ("pretrain.repeats", "null", None),
        ("pretrain.repeats", None, None),
        ("pretrain.repeats", "14", 14),
        ("pretrain.pool_memory_gib", "0.5", 0.5),
        ("pretrain.confidence_temperatures", "0.2, 0.05", (0.2, 0.05)),
        ("pretrain.confidence_temperatures", "1", (1.0,)),
        ("pretrain.confidence_temperatures", [0.2, "0.001"], (0.2, 0.001)),
        ("run", 7, "7"),
        ("ingest.labels", "", None),
    ],
)
def test_values_are_read_as_the_settings_type(key: str, text: Any, value: Any) -> None:
    read = value_of(override(RunConfig(), {key: text}), key)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("seed", "1.5", "'seed' takes a whole number, not '1.5'."),
        ("seed", 1.5, "'seed' takes a whole number, not '1.5'."),
        ("seed", True, "'seed' takes a whole number, not 'True'."),
        ("seed", None, "'seed' takes a whole number, not 'None'."),
        ("seed", math.inf, "'seed' takes a whole number, not 'inf'."),
        ("pretrain.weight_decay", "much", "'pretrain.weight_decay' takes a number, not 'much'."),
        ("pretrain.blur", "maybe", "'pretrain.blur' takes true or false, not 'maybe'."),
        ("pretrain.confidence_temperatures", "", "'pretrain.confidence_temperatures' takes a number, not ''."),
        ("pretrain.confidence_temperatures", 1, "'pretrain.confidence_temperatures' takes a list of numbers, not '1'."),
        ("pretrain.arch", "vgg", "'pretrain.arch' is one of resnet18, resnet50, not 'vgg'."),
        ("run", None, "'run' takes text, not 'None'."),
        ("run", ["a"], "'run' takes text, not '['a']'."),
        ("run", False, "'run' takes text, not 'False'."),
        ("cluster", 3, "'cluster' is a group of settings, not a value; write cluster.NAME=VALUE."),
        ("cluster", None, "'cluster' is a group of settings, not a value; write cluster.NAME=VALUE."),
    ],
)
def test_values_of_another_type_are_refused(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        override(RunConfig(), {key: value})
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("key", "closest"),
    [
        ("pretrain.epoch", "pretrain.epochs"),
        ("pretain.epochs", "pretrain.epochs"),
        ("cluster.backend_", "cluster.backend"),
        ("query.oder", "query.order"),
        ("workes", "workers"),
        ("epochs", "pretrain.epochs"),
        ("query.k", "cluster.k"),
        ("cluster.k.x", "cluster.k"),
    ],
)
def test_an_unknown_key_names_the_closest(key: str, closest: str) -> None:
    with pytest.raises(InputError) as caught:
        override(RunConfig(), {key: "1"})
    assert str(caught.value) == f"There is no setting '{key}'; did you mean '{closest}'?"


def test_a_key_like_no_other_gets_the_list_of_all() -> None:
    with pytest.raises(InputError) as caught:
        override(RunConfig(), {"": 1})
    assert all(key in str(caught.value) for key in valid_keys())


def test_a_value_and_settings_below_it_are_refused() -> None:
    with pytest.raises(InputError, match=r"^The setting 'cluster' is given both a value and settings below it"):
        override(RunConfig(), {"cluster": 3, "cluster.k": 3})


def test_valid_keys_are_all_settings_by_group() -> None:
    keys = valid_keys()
    assert len(keys) == len(set(keys))
    groups = typing.get_type_hints(RunConfig)
    assert {key.partition(".")[0] for key in keys} == set(groups)
    expected = "ingest.image_size pretrain.epochs pretrain.batch_size pretrain.queue_size pretrain.arch"
    expected += " pretrain.repeats embed.batch_size cluster.k cluster.backend query.order query.temperature"
    assert set(expected.split()) <= set(keys)
    for key in keys:
        value_of(RunConfig(), key)


@pytest.mark.parametrize("name", PRESETS)
def test_a_saved_configuration_reads_back_as_itself(name: str) -> None:
    config = override(
        preset(name),
        {"run": "nächte-1", "ingest.source": "folder:./a: b", "pretrain.confidence_temperatures": "0.3,1e-3"},
    )
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    assert override(RunConfig(), yaml.safe_load(text)) == config
    assert "tuple" not in text and "nächte-1" in text


# ---- ranges ------------------------------------------------------------------------------

UNBOUNDED = {
    "ingest.image_size": "data.catalogue.checked",
    "ingest.max_pixels": "data.catalogue.checked",
    "ingest.rows_per_file": "data.catalogue.checked",
    "query.budget": "on_ray.query.check_query: 0 means that none was given, which single stages may do without",
}
"""Numbers that are checked elsewhere."""


def is_number(key: str) -> bool:
    """Whether a setting is a number or holds numbers."""
    hints: Any = typing.get_type_hints(RunConfig)
    group, _, name = key.rpartition(".")
    hint = typing.get_type_hints(hints[group])[name] if group else hints[name]
    return any(kind in (hint, *typing.get_args(hint)) for kind in (int, float))


@pytest.mark.parametrize("key", [key for key in valid_keys() if is_number(key) and key not in UNBOUNDED])
def test_no_number_may_be_negative_or_not_a_number(key: str) -> None:
    # Values that no setting of a run can have; a new number without a range fails here.
    for nonsense in ("-1", "nan"):
        try:
            config = override(RunConfig(), {key: nonsense})
        except InputError:  # a whole number cannot be nan
            assert nonsense == "nan"
            continue
        with pytest.raises(InputError, match=rf"^'{key}' is {'-1(.0)?' if nonsense == '-1' else 'nan'}; give .+\.$"):
            check(config)


@pytest.mark.parametrize(
    ("key", "value", "range_in_words"),
    [
        ("seed", 2**32, "0 to 4294967295 (2^32 - 1)"),
        ("workers", 0, "1 or more"),
        ("pretrain.epochs", 0, "1 or more"),
        ("pretrain.repeats", 0, "1 or more"),
        ("pretrain.queue_size", 0, "1 or more"),
        ("pretrain.bn_splits", 0, "1 or more"),
        ("pretrain.checkpoint_every", 0, "1 or more"),
        ("pretrain.learning_rate", math.inf, "more than 0"),
        ("pretrain.loss_temperature", 0.0, "more than 0"),
        ("pretrain.sgd_momentum", 1.5, "0 to 1"),
        ("cluster.k", 0, "1 or more"),
        ("query.max_budget", 0, "1 or more"),
        ("report.umap_points", 0, "1 or more"),
    ],
)
def test_ends_of_the_ranges(key: str, value: float, range_in_words: str) -> None:
    with pytest.raises(InputError) as caught:
        check(override(RunConfig(), {key: value}))
    assert str(caught.value) == f"'{key}' is {value}; give {range_in_words}."


@pytest.mark.parametrize(
    ("temperatures", "words"),
    [
        ([], "is empty; give one or more"),
        ([0.05, 0.2, 0.05], "is 0.05, 0.2, 0.05; give one or more, each of them once"),
        ([0.05, 0.0], "is 0.0; give more than 0"),
    ],
)
def test_confidence_needs_distinct_temperatures_above_zero(temperatures: list[float], words: str) -> None:
    with pytest.raises(InputError, match=f"^'pretrain.confidence_temperatures' {words}"):
        check(override(RunConfig(), {"pretrain.confidence_temperatures": temperatures}))


def test_what_is_just_within_is_accepted() -> None:
    check(RunConfig())
    edges = {"seed": 2**32 - 1, "pretrain.warmup_epochs": 0, "pretrain.weight_decay": 0, "pretrain.encoder_momentum": 1}
    edges |= {"pretrain.pool_memory_gib": 0, "cluster.sample_above": 0, "cluster.k": 1, "report.contact_sheet": 1}
    check(override(RunConfig(), edges))


# ---- presets -----------------------------------------------------------------------------

BOTH = {
    "arch": "resnet50",
    "projection_dim": 128,
    "sgd_momentum": 0.9,
    "weight_decay": 1e-4,
    "learning_rate": 0.03,
    "warmup_epochs": 5,
    "encoder_momentum": 0.999,
    "loss_temperature": 0.2,
    "blur": True,
    "recipe": "auto",
    "confidence_temperatures": (0.2, 0.05, 0.01, 0.001),
}
"""docs/method.md, section 4 (Table 2 of the paper), and decision 2."""
TABLE_2 = {
    "medmnist": {**BOTH, "epochs": 200, "batch_size": 4096, "queue_size": 65_536, "repeats": None},
    "cifar10-lt": {**BOTH, "epochs": 800, "batch_size": 512, "queue_size": 4096, "repeats": 1},
}


@pytest.mark.parametrize("name", TABLE_2)
def test_presets_hold_the_papers_numbers(name: str) -> None:
    config = preset(name)
    assert {key: getattr(config.pretrain, key) for key in TABLE_2[name]} == TABLE_2[name]
    assert config.query.temperature == 0.05 and config.query.order == "hard-to-contrast"
    assert config.cluster.k is None and config.cluster.space == "features"


def test_csval_differs_from_the_paper_where_the_code_does_and_nowhere_else() -> None:
    paper, code = preset("cifar10-lt"), preset("csval")
    differing = {key: value_of(code, key) for key in valid_keys() if value_of(code, key) != value_of(paper, key)}
    assert differing == {
        "preset": "csval",
        "pretrain.weight_decay": 5e-4,
        "pretrain.loss_temperature": 0.1,
        "pretrain.blur": False,
        "query.temperature": 0.001,
    }


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_valid_and_says_its_name(name: str) -> None:
    config = preset(name)
    check(config)
    assert config.preset == name
    assert config.query.temperature in config.pretrain.confidence_temperatures


@pytest.mark.parametrize(
    ("name", "hint"),
    [("medmist", "did you mean 'medmnist'?"), ("zzz", "choose one of default, hacon, medmnist, cifar10-lt,")],
)
def test_an_unknown_preset_names_the_closest(name: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        preset(name)
    assert str(caught.value).startswith(f"There is no preset '{name}'; {hint}")


def test_only_folders_get_a_size_that_suits_the_features() -> None:
    """A pool of an array is the same one, whatever features are made of it."""
    folder = settled(override(preset("default"), {"ingest.source": "folder:/scans"}))
    assert folder.ingest.folder_size == 112
    array = settled(override(preset("default"), {"ingest.source": "npz:/a.npz"}))
    assert array.ingest.folder_size is None
    paper = settled(override(preset("hacon"), {"ingest.source": "folder:/scans"}))
    assert paper.ingest.folder_size is None and settled(folder) == folder
