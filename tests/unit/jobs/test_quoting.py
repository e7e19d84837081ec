"""Every command that a job prints can be pasted into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from jobs.arguments import configure, parser
from pipeline.config import IngestConfig, QueryConfig, RunConfig, store_flag, this_run
from pipeline.run import next_command

STORES = (
    "my store",
    "cost$HOME",
    "it's",
    'say "hi"',
    "a;b&c|d",
    "*.x",
    "~/x",
    "#1",
    "new\nline",
    "ümlaut",
    "back\\slash",
)


@pytest.mark.parametrize("store", STORES)
def test_a_store_comes_back_as_it_was_given(store: str) -> None:
    config = RunConfig(run="n-1", store=store, query=QueryConfig(budget=4))
    for command in (this_run(config), next_command(config, size=100, k=4), f"x{store_flag(config)}"):
        words = shlex.split(command)
        assert words[words.index("--store") + 1] == store


def test_a_printed_command_is_read_as_it_was_meant(tmp_path: Path) -> None:
    store = str(tmp_path / "my $store's")
    config = RunConfig(run="n-1", store=store, query=QueryConfig(budget=4), ingest=IngestConfig(source="digits"))
    program, job, *flags = shlex.split(next_command(config, size=100, k=4))
    arguments = vars(parser(job).parse_args(flags))
    assert (program, job, arguments["store"], arguments["budget"]) == ("hacon", "select", store, "8")
    del arguments["reuse"]
    assert configure(arguments)[0].store == store
