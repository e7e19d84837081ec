"""The K-means door, against hand-made answers and scikit-learn called directly."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from pipeline.artifacts import Float32
from pipeline.cluster import KMeansResult, choose_backend, cuml_backend, kmeans, kmeans_stream
from pipeline.errors import InputError

FOUR = np.array([[0, 0], [0, 2], [10, 0], [10, 2]], np.float32)


def blobs(n: int, centers: int = 5, dimensions: int = 8) -> Float32:
    features, _ = make_blobs(n, dimensions, centers=centers, cluster_std=0.5, random_state=3)
    return np.asarray(features, np.float32)


def assert_sound(result: KMeansResult, features: Float32, k: int) -> None:
    """Whatever the clusters are: all there, labels nearest, distance and inertia as a slow loop has them."""
    assert sorted(set(result.labels.tolist())) == list(range(k))
    assert result.labels.dtype == np.int32
    assert result.distance.dtype == np.float32
    assert result.centroids.shape == (k, features.shape[1])
    assert result.centroids.dtype == np.float32
    total = 0.0
    for row, label, distance in zip(features, result.labels, result.distance, strict=True):
        every = [float(np.sqrt(((row.astype(float) - c) ** 2).sum())) for c in result.centroids]
        assert every[label] == pytest.approx(min(every), rel=1e-6)
        assert distance == pytest.approx(every[label], rel=1e-6)
        total += every[label] ** 2
    assert result.inertia == pytest.approx(total, rel=1e-9)


def test_four_points_by_hand() -> None:
    result = kmeans(FOUR, 2, seed=0, backend="sklearn")
    assert result.labels.tolist() == [0, 0, 1, 1]
    assert result.centroids.tolist() == [[0, 1], [10, 1]]
    assert result.distance.tolist() == [1, 1, 1, 1]
    assert result.inertia == 4
    assert result.backend == "sklearn"


def test_one_cluster_and_a_cluster_for_each_point() -> None:
    one = kmeans(FOUR, 1, seed=0, backend="sklearn")
    assert one.centroids.tolist() == [[5, 1]]
    assert one.inertia == pytest.approx(4 * 26)
    four = kmeans(FOUR, 4, seed=0, backend="sklearn")
    assert four.labels.tolist() == [0, 1, 2, 3]
    assert four.inertia == 0


def test_same_as_scikit_learn_called_directly() -> None:
    features = blobs(400)
    ours = kmeans(features, 5, seed=1, backend="sklearn", n_init=3)
    theirs = KMeans(5, init="k-means++", n_init=3, random_state=1).fit(features)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-6)
    assert adjusted_rand_score(ours.labels, theirs.labels_) == 1
    assert_sound(ours, features, 5)


def test_overlapping_data_is_sound_too() -> None:
    features = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    assert_sound(kmeans(features, 30, seed=0, backend="sklearn", n_init=2), features, 30)


def test_same_seed_same_bytes_and_threads_do_not_matter() -> None:
    features = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    first = kmeans(features, 20, seed=4, backend="sklearn", n_init=1)
    again = kmeans(features, 20, seed=4, backend="sklearn", n_init=1)
    assert first.labels.tobytes() == again.labels.tobytes()
    assert first.centroids.tobytes() == again.centroids.tobytes()
    other = kmeans(features, 20, seed=5, backend="sklearn", n_init=1)
    assert first.labels.tobytes() != other.labels.tobytes()


def test_clusters_are_numbered_by_their_first_row() -> None:
    labels = kmeans(blobs(300), 5, seed=0, backend="sklearn", n_init=1).labels
    firsts = [labels.tolist().index(c) for c in range(5)]
    assert firsts == sorted(firsts)


def test_started_from_a_sample_it_agrees_with_the_whole() -> None:
    features = blobs(12_000, centers=6)
    whole = kmeans(features, 6, seed=0, backend="sklearn", n_init=1)
    said: list[str] = []
    sampled = kmeans(features, 6, seed=0, backend="sklearn", n_init=1, sample_above=11_999, say=said.append)
    assert whole.backend == "sklearn"
    assert sampled.backend == "sklearn-sampled"
    assert adjusted_rand_score(whole.labels, sampled.labels) > 0.99
    assert sampled.inertia == pytest.approx(whole.inertia, rel=0.01)
    assert len(said) == 1
    assert "12,000 samples are above 11,999" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("k", [10, 150])
def test_started_from_a_sample_it_comes_within_two_percent_of_scikit_learns_full_kmeans(k: int) -> None:
    """Long-tailed, overlapping, larger than the sample; one start (K = 150) and several (K = 10)."""
    rng = np.random.default_rng(7)  # not the seed below: that draws the sample with the same numbers
    part = rng.choice(60, 30_000, p=(weights := 1 / np.arange(1, 61)) / weights.sum())
    features = (rng.normal(size=(60, 16))[part] + 0.5 * rng.normal(size=(30_000, 16))).astype(np.float32)
    ours = kmeans(features, k, seed=0, backend="sklearn", n_init=5, sample_above=0)
    theirs = KMeans(k, init="k-means++", n_init=5 if k == 10 else 1, random_state=1).fit(features)
    assert ours.inertia <= 1.02 * theirs.inertia_
    assert len(np.unique(ours.labels)) == k


def test_a_sample_keeps_a_rare_class_of_a_sorted_stream() -> None:
    """Sorted by class, as folders are; the last class is one sample in two hundred."""
    rng = np.random.default_rng(0)
    sizes = [5970, 4000, 2000, 30]
    features = np.concatenate([rng.normal(8 * c, 0.5, (n, 4)) for c, n in enumerate(sizes)]).astype(np.float32)
    result = kmeans(features, 4, seed=0, backend="sklearn", n_init=3, sample_above=0)
    assert np.bincount(result.labels).tolist() == sizes


@pytest.mark.parametrize("cut", [777, 4096, 9000])
def test_stream_is_the_same_however_it_is_cut(cut: int) -> None:
    features = blobs(9000)
    array = kmeans(features, 5, seed=2, backend="sklearn", n_init=1, sample_above=0)
    stream = kmeans_stream(lambda: [features[i : i + cut] for i in range(0, 9000, cut)], 5, seed=2, n_init=1)
    assert stream.backend == "sklearn-sampled"
    assert stream.labels.tobytes() == array.labels.tobytes()
    assert stream.centroids.tobytes() == array.centroids.tobytes()
    assert stream.distance.tobytes() == array.distance.tobytes()


def test_duplicates_do_not_empty_a_cluster() -> None:
    features = np.repeat(np.array([[0.1, 0.3], [0.7, 0.2], [5, 5], [9, 1]], np.float32), [700, 3, 1, 1], axis=0)
    result = kmeans(features, 4, seed=0, backend="sklearn", n_init=1)
    assert np.bincount(result.labels).tolist() == [700, 3, 1, 1]


def test_fewer_distinct_points_than_clusters() -> None:
    features = np.repeat(np.array([[0.1, 0.3], [0.7, 0.2], [5, 5]], np.float32), [7, 3, 2], axis=0)
    with pytest.raises(InputError, match=r"only 3 distinct feature vectors for cluster\.k=5"):
        kmeans(features, 5, seed=0, backend="sklearn")
    with pytest.raises(InputError, match=r"only 1 distinct feature vector for cluster\.k=2"):
        kmeans_stream(lambda: [np.full((10, 3), 0.1, np.float32)], 2, seed=0)


@pytest.mark.parametrize(
    ("k", "words"), [(0, "at least 1, not 0"), (-3, "not -3"), (5, "k=5 is more than the pool's 4")]
)
def test_impossible_numbers_of_clusters(k: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        kmeans(FOUR, k, seed=0, backend="sklearn")
    with pytest.raises(InputError, match=words):
        kmeans_stream(lambda: [FOUR[:3], FOUR[3:]], k, seed=0)


def test_bad_seed_and_bad_array() -> None:
    with pytest.raises(InputError, match="not -1"):
        kmeans(FOUR, 2, seed=-1, backend="sklearn")
    with pytest.raises(ValueError, match="float64"):
        kmeans(FOUR.astype(np.float64), 2, seed=0, backend="sklearn")


def test_cuml_without_cuml_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuml_backend, "why_unavailable", lambda: "cuML is not installed")
    with pytest.raises(InputError, match=r"cuML is not installed; install the 'gpu' extra"):
        kmeans(FOUR, 2, seed=0, backend="cuml")


def test_auto_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuml_backend, "why_unavailable", lambda: "no GPU is usable")
    said: list[str] = []
    result = kmeans(FOUR, 2, seed=0, backend="auto", say=said.append)
    assert result.backend == "sklearn"
    assert "no GPU is usable" in result.reason
    assert said == [f"K-means ran on sklearn: {result.reason}"]
    monkeypatch.setattr(cuml_backend, "why_unavailable", lambda: None)
    assert choose_backend("auto").backend == "cuml"
    assert choose_backend("sklearn").backend == "sklearn"
    with pytest.raises(InputError, match="auto, cuml or sklearn, not 'faiss'"):
        choose_backend("faiss")
