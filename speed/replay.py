"""A growing archive, night by night, from real images: ``python -m speed.replay --data FILE.npz``.

The train split of an .npz with labels comes in as many nights as are asked for; one class comes only in the last but
one. Everything lies on a fake S3 of this machine, which counts requests and bytes. Each night the whole job runs
(``hacon select``, then ``hacon reselect``), and the labels of what it hands out come back before the next
(``hacon labels``). Beside it, with as many labels: a choice of the same size made anew from all images of that night,
and random draws. All are judged by the same probe on the same features of the test split.

An anew choice throws its predecessors away: ``wasted`` counts their labels that it would have no use for.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASS_NIGHT = 1
"""Nights before the last one in which the held-back class comes."""
RANDOM = 20


class Counter:
    """Requests and bytes that a server has answered, by method."""

    def __init__(self) -> None:
        self.requests, self.sent = 0, 0
        self.lock = threading.Lock()

    def wrap(self, application: Any) -> Any:
        """The WSGI application, counted."""

        def counted(environ: dict[str, Any], start: Any) -> Any:
            with self.lock:
                self.requests += 1
            for part in application(environ, start):
                with self.lock:
                    self.sent += len(part)
                yield part

        return counted

    def since(self, before: tuple[int, int]) -> tuple[int, int]:
        """(requests, bytes) since ``before``."""
        return self.requests - before[0], self.sent - before[1]

    def now(self) -> tuple[int, int]:
        """(requests, bytes) so far."""
        return self.requests, self.sent


@contextlib.contextmanager
def counted_s3() -> Iterator[Counter]:
    """A fake S3 that counts; the environment of this process and of all it starts leads to it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    counter = Counter()
    application = counter.wrap(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        yield counter
    finally:
        server.shutdown()


def png(image: NDArray[np.uint8]) -> bytes:
    """One image as a file."""
    stream = io.BytesIO()
    Image.fromarray(image.squeeze()).save(stream, "PNG")
    return stream.getvalue()


def arrivals(labels: NDArray[Any], nights: int, late: int, size: int, seed: int) -> list[NDArray[np.int64]]:
    """Which images come in each night: ``size`` a night, drawn at random; class ``late`` from the last but one on."""
    draw = np.random.default_rng(seed)
    others, held = (draw.permutation(np.flatnonzero(each)) for each in (labels != late, labels == late))
    share = round(size * (labels == late).mean())
    found = []
    for night in range(nights):
        few = share if night >= nights - 1 - CLASS_NIGHT else 0
        found.append(draw.permutation(np.concatenate([held[:few], others[: size - few]])))
        held, others = held[few:], others[size - few :]
    return found


def main() -> None:
    """Print one JSON line a night, and a table."""
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--data", required=True)
    parse.add_argument("--nights", type=int, default=6)
    parse.add_argument("--size", type=int, default=1000)
    parse.add_argument("--budget", type=int, default=24)
    parse.add_argument("--late", type=int, default=6, help="the class that comes in the last but one night")
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--out", default="replay.json")
    asked = parse.parse_args()
    with np.load(asked.data) as data:
        images, labels = data["train_images"], data["train_labels"].ravel()
        test = (data["test_images"], data["test_labels"].ravel())
    with counted_s3() as counter, tempfile.TemporaryDirectory() as folder:
        rows = list(_nights(counter, Path(folder), images, labels, test, asked))
    Path(asked.out).write_text(json.dumps(rows, indent=1))


def _nights(
    counter: Counter, folder: Path, images: Any, labels: Any, test: tuple[Any, Any], asked: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    import boto3

    from jobs.cli import main as hacon
    from pipeline.publish import last_night
    from pipeline.storage import Location

    client = boto3.client("s3")
    client.create_bucket(Bucket="hospital")
    store = Location("s3://hospital/hacon")
    where = ["--run", "scans", "--store", store.uri]
    pool = ["--pool", "folder:s3://hospital/scans", "--image-size", "28"]
    judge = _Judge(images, labels, test)
    there = np.empty(0, np.int64)
    labelled: list[int] = []
    anew_before: set[int] = set()
    for night, coming in enumerate(arrivals(labels, asked.nights, asked.late, asked.size, asked.seed), 1):
        for number in coming.tolist():
            client.put_object(Bucket="hospital", Key=f"scans/{number:06d}.png", Body=png(images[number]))
        there = np.concatenate([there, coming])
        before, began = counter.now(), time.perf_counter()
        budget = ["--budget", str(asked.budget)]
        if night == 1:
            code = hacon(["select", *where, *pool, *budget, "--set", "cluster.k=24", "embed.input_size=96"])
        else:
            code = hacon(["reselect", *where, *budget])
        seconds, (requests, sent) = time.perf_counter() - began, counter.since(before)
        done = last_night(store, "scans")
        query = "query" if done is None else done.query_folder.rpartition("/")[2]
        rows = csv.DictReader(io.StringIO(store.read_bytes(f"runs/scans/{query}/query.csv").decode()))
        chosen = [int(row["key"].removesuffix(".png")) for row in rows]
        labelled += chosen
        back = folder / f"{night}.csv"
        back.write_text("key,label\n" + "".join(f"{number:06d}.png,{labels[number]}\n" for number in chosen))
        hacon(["labels", *where, "--from", str(back)])
        anew, draw = judge.anew(there, len(labelled)), np.random.default_rng(night)
        random = [draw.choice(there, len(labelled), replace=False) for _ in range(RANDOM)]
        figures = [judge(each) for each in random]
        row = {
            "night": night,
            "images": len(there),
            "labels": len(labelled),
            "auc": judge(labelled)[0],
            "auc_anew": judge(anew)[0],
            "auc_random": round(float(np.mean([each[0] for each in figures])), 1),
            "classes": judge(labelled)[1],
            "classes_anew": judge(anew)[1],
            "classes_random": round(float(np.mean([each[1] for each in figures])), 1),
            "late": int((labels[labelled] == asked.late).sum()),
            "wasted": len(anew_before - set(anew)),
            "seconds": round(seconds, 1),
            "requests": requests,
            "megabytes": round(sent / 1e6, 2),
            "exit_code": code,
            "churn": None if done is None else done.churn,
            "verdict": None if done is None or done.verdict is None else done.verdict["name"],
            "p": None if done is None or done.verdict is None else done.verdict["p"],
            "repeated": len(labelled) - len(set(labelled)),
        }
        anew_before |= set(anew)
        print(json.dumps(row), flush=True)
        yield row


class _Judge:
    """What labels are worth: a probe on frozen features, fitted to them and judged on the test split."""

    def __init__(self, images: Any, labels: Any, test: tuple[Any, Any]) -> None:
        import torch

        from pipeline.embed.backbone import BackboneEmbedder, load_backbone

        encoder, weights = load_backbone("imagenet", None, False, 28, 96)
        from safetensors.torch import load

        embed = BackboneEmbedder(encoder, load(weights), torch.device("cpu"))
        with_channels = [each if each.ndim == 4 else each[..., None] for each in (images, test[0])]
        self._train, self._test = (
            np.concatenate([embed(part[at : at + 512]) for at in range(0, len(part), 512)]) for part in with_channels
        )
        self._labels, self._test_labels = labels, test[1]

    def __call__(self, chosen: Any) -> tuple[float, int]:
        """(macro AUC in percent, a missing class counts 50; classes covered)."""
        from sklearn.linear_model import LogisticRegression

        from pipeline.evaluate.metrics import macro_auc_with_chance

        chosen = np.asarray(chosen)
        mine, classes = self._labels[chosen], int(self._labels.max()) + 1
        probabilities = np.zeros((len(self._test), classes))
        if len(np.unique(mine)) > 1:
            probe = LogisticRegression(C=10, max_iter=1000).fit(self._train[chosen], mine)
            probabilities[:, probe.classes_] = probe.predict_proba(self._test)
        else:
            probabilities[:, mine[0]] = 1
        return round(macro_auc_with_chance(self._test_labels, probabilities, mine), 1), len(np.unique(mine))

    def anew(self, there: NDArray[np.int64], count: int) -> list[int]:
        """The order of ``hacon select`` on all images of a night, without any memory."""
        from pipeline.cluster.space import principal_components
        from pipeline.select import strategy
        from pipeline.select.pool_view import PoolView

        ids = np.sort(there)
        features = self._train[ids]
        space = principal_components(lambda: [features], 96)
        picked = strategy("greedy-medoids").query(PoolView(sample_id=ids, features=space(features)), count, 0)
        return [int(each) for each in picked]


if __name__ == "__main__":
    main()
