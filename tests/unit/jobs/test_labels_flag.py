"""--labels may come again."""

from __future__ import annotations

from pathlib import Path

from jobs.arguments import configure, parser


def test_labels_may_come_again_and_replace_those_of_the_run(tmp_path: Path) -> None:
    def labels(*flags: str) -> tuple[str | None, tuple[str, ...]]:
        arguments = ["--pool", "folder:x", "--store", str(tmp_path), *flags]
        config, _ = configure(vars(parser("ingest").parse_args(arguments)))
        return config.ingest.labels, config.ingest.more_labels

    assert labels() == (None, ())
    assert labels("--labels", "a,1.csv") == ("a,1.csv", ()), "a comma is part of the name"
    assert labels("--labels", "a.csv", "--labels", "b.csv") == ("a.csv", ("b.csv",))
    assert labels("--set", "ingest.more_labels=b.csv,c.csv", "--labels", "a.csv") == ("a.csv", ())
