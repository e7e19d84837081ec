"""clusters + confidence (or features) -> runs/<run>/query: the order in which to label."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job, save_config
from pipeline.config import RunConfig, this_run
from pipeline.progress import say
from pipeline.publish import required
from pipeline.stages.ingest import ingested
from pipeline.stages.query import QUERY, check_query, run_query
from pipeline.storage import Location


def query_job(config: RunConfig, store: Location) -> None:
    """One stage of ``jobs.select``."""
    check_query(config)
    results = {stage: required(config, store, stage) for stage in ("pretrain", "clusters", "embeddings")}
    query = run_query(config, store, ingested(config, store), results, say)
    save_config(config, store)
    print(
        f"\n{query['budget']} images to label first, {query['order']}\n"
        f"  {store.show(query['folder'] + '/' + QUERY)}\nNext:\n  hacon report {this_run(config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("query", query_job, argv)


if __name__ == "__main__":
    sys.exit(main())
