"""One signature for all classifiers; the probe against a minimisation by another library."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from pipeline.errors import InputError
from pipeline.evaluate import classifiers
from pipeline.evaluate.classifiers import CLASSIFIERS, Resources, fit, fit_predict, network_settings
from pipeline.evaluate.samples import Samples
from pipeline.moco.model import build_encoder


def samples(n: int, classes: int = 4, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    features = rng.normal(size=(n, 6)) + 2 * np.eye(6)[labels]
    unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    images = rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)
    return Samples(np.arange(n), labels, unit, lambda ids: images[ids])


def test_the_probe_is_the_penalised_regression() -> None:
    train, test = samples(40), samples(30, seed=1)
    x = np.c_[train.vectors(), np.ones(40)].astype(np.float64)

    def loss(flat: np.ndarray) -> float:
        weights = flat.reshape(7, 4)
        errors = -log_softmax(x @ weights, axis=1)[np.arange(40), train.labels].sum()
        return float(10.0 * errors + 0.5 * (weights[:-1] ** 2).sum())

    weights = minimize(loss, np.zeros(28), method="BFGS").x.reshape(7, 4)
    expected = softmax(np.c_[test.vectors(), np.ones(30)] @ weights, axis=1)
    found = fit_predict("probe", train, None, test, 4, 0, Resources())
    assert found == pytest.approx(expected, abs=2e-3)


def test_a_class_that_was_never_taught_has_no_probability() -> None:
    train, test = samples(40), samples(30, seed=1)
    some = train.take(np.isin(train.labels, [1, 3]))
    found = fit_predict("probe", some, None, test, 4, 0, Resources())
    assert found.shape == (30, 4) and not found[:, [0, 2]].any() and found.sum(1) == pytest.approx(np.ones(30))
    one = train.take(train.labels == 2)
    assert fit_predict("probe", one, None, test, 4, 0, Resources()).tolist() == [[0, 0, 1, 0]] * 30


def test_unknown_labels_are_not_trained_on() -> None:
    train, test = samples(40), samples(30, seed=1)
    hidden = replace(train, labels=np.where(train.ids < 25, train.labels, -1))
    assert np.array_equal(
        fit_predict("probe", hidden, None, test, 4, 0, Resources()),
        fit_predict("probe", train.take(np.arange(25)), None, test, 4, 0, Resources()),
    )
    with pytest.raises(InputError, match="no labelled sample"):
        fit("probe", replace(train, labels=np.full(40, -1)), None, 4, 0, Resources())


@pytest.mark.usefixtures("tiny_encoder")
@pytest.mark.parametrize("name", ["resnet18", "finetune"])
def test_networks_behind_the_same_signature(name: str) -> None:
    torch.manual_seed(0)
    quick = replace(network_settings("small"), epochs=1, least_steps=1)
    resources = Resources(encoder=build_encoder("resnet18", 8).state_dict(), network=quick)
    found = fit_predict(name, samples(40), samples(20, seed=2), samples(30, seed=1), 4, 0, resources)
    assert found.shape == (30, 4) and found.sum(1) == pytest.approx(np.ones(30), abs=1e-5)
    note = fit(name, samples(40), None, 4, 0, resources).note
    assert note.startswith("ResNet-18 from scratch" if name == "resnet18" else "resnet18 from the MoCo weights")


def test_what_is_missing_is_named() -> None:
    train = samples(10)
    with pytest.raises(InputError, match="no classifier 'prob'; did you mean 'probe'"):
        fit("prob", train, None, 4, 0, Resources())
    with pytest.raises(InputError, match="starts from MoCo weights"):
        fit("finetune", train, None, 4, 0, Resources())
    with pytest.raises(InputError, match="trains on images"):
        fit("resnet18", replace(train, read_images=None), None, 4, 0, Resources())
    with pytest.raises(InputError, match="needs features"):
        fit("probe", replace(train, features=None), None, 4, 0, Resources())
    with pytest.raises(InputError, match="no network settings 'papers'; did you mean 'paper'"):
        network_settings("papers")
    assert set(CLASSIFIERS) == {"probe", "resnet18", "finetune", "paper", "csval"}
    assert classifiers.check_classifier("csval") is None
