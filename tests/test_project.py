"""The repository itself: what it must not name, its locks, its jobs, its imports."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = (
    "requirements-uv.lock",
    "requirements.lock",
    "requirements-gpu.lock",
    "requirements-dev.lock",
    "requirements-bench.lock",
)
# Written in two parts, so that this file does not contain what it looks for.
REGISTRIES = (
    "pypi" + ".org",
    "pypi" + ".python",
    "files.python" + "hosted",
    "pypi.nvidia" + ".com",
    "download.pytorch" + ".org",
    "conda.ana" + "conda",
)
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers"]) + ")/")


# ---- what no file may contain ------------------------------------------------------------


@cache
def texts() -> dict[str, str]:
    """Every text file that git tracks or would track, by its path from the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {}
    for name in filter(None, listed.stdout.split("\0")):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in data:
            found[name] = data.decode()
    return found


def test_no_registry_is_named() -> None:
    assert [(name, word) for name, text in texts().items() for word in REGISTRIES if word in text.lower()] == []


def test_no_path_of_one_machine() -> None:
    assert [(name, match.group()) for name, text in texts().items() if (match := MACHINE_PATH.search(text))] == []


def test_the_searches_find_what_they_look_for() -> None:
    # A search that finds nothing proves little until it has found something.
    assert MACHINE_PATH.search("see " + "/ho" + "me/someone/file")
    assert not MACHINE_PATH.search("s3://bucket/work/x, ../work/x and ~/work/x")
    assert len(texts()) > 20


# ---- documents ---------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for name, text in texts().items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text) if name.endswith(".md") else ():
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            if "://" in link or (target.exists() and (not anchor or anchor in anchors(target.read_text()))):
                continue
            broken.append((name, link))
    assert broken == []


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


# ---- locks -------------------------------------------------------------------------------


@cache
def pins(lock: str) -> dict[str, set[str]]:
    """Version(s) by canonical name; asserts that every line is a pin with a hash."""
    found: dict[str, set[str]] = {}
    entries = re.sub(r"(?m)^\s*#.*\n?|\s+#.*$", "", (ROOT / lock).read_text()).replace("\\\n", " ")
    for entry in filter(None, map(str.strip, entries.splitlines())):
        match = re.fullmatch(
            r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.!+-]+)(?: ; [^#]+?)?((?:\s+--hash=sha256:[0-9a-f]{64})+)", entry
        )
        assert match, f"{lock}: not a hashed pin: {entry[:100]}"
        found.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return found


@cache
def declared() -> dict[str, list[Requirement]]:
    """The requirements of pyproject.toml by lock."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base, extras = project["dependencies"], project["optional-dependencies"]
    asked = {"requirements.lock": base}
    asked |= {f"requirements-{extra}.lock": base + extras[extra] for extra in ("gpu", "dev", "bench")}
    return {lock: [Requirement(line) for line in lines] for lock, lines in asked.items()}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_lock_line_is_pinned_and_hashed(lock: str) -> None:
    assert pins(lock)


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_locks_satisfy_what_is_declared(lock: str) -> None:
    for requirement in declared()[lock]:
        versions = pins(lock).get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement} is not in {lock}; run: make lock"
        assert all(version in requirement.specifier for version in versions), f"{requirement}: {lock} has {versions}"


@pytest.mark.parametrize("lock", LOCKS[2:])
def test_locks_agree_on_what_they_share(lock: str) -> None:
    # The head node has the base lock, the GPU workers have theirs, and they exchange objects.
    base, other = pins("requirements.lock"), pins(lock)
    assert {name: (base[name], other.get(name)) for name in base if base[name] != other.get(name)} == {}


def test_the_benchmark_fits_on_top_of_the_developers_environment() -> None:
    dev, bench = pins("requirements-dev.lock"), pins("requirements-bench.lock")
    assert {name: (dev[name], bench[name]) for name in dev.keys() & bench.keys() if dev[name] != bench[name]} == {}


# ---- code --------------------------------------------------------------------------------


def sources(folder: str) -> list[Path]:
    """The Python files below ``folder``."""
    return sorted((ROOT / folder).rglob("*.py"))


JOBS = [path for path in sources("jobs") if '__name__ == "__main__"' in path.read_text()]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_a_job_is_one_short_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 120


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything that is imported, e.g. "pyarrow.fs" for ``from pyarrow import fs``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_pyarrow_fs_only_in_storage() -> None:
    # import-linter sees outside packages as a whole; this wall runs through the middle of one.
    users = {
        str(path.relative_to(ROOT))
        for path in [*sources("jobs"), *sources("pipeline")]
        if any((name + ".").startswith("pyarrow.fs.") for name in imported_names(ast.parse(path.read_text())))
    }
    assert users == {"pipeline/storage.py"}


# ---- imports do nothing, and need no Ray -------------------------------------------------

# Runs in a fresh interpreter. First what others do when they are imported, then what ours do.
PROBE = """
import importlib, json, logging, os, pathlib, random, sys, threading

outside, ours, blocked = json.loads(sys.argv[1])

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.meta_path.insert(0, Block())
for name in outside:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:  # a class or a function of the module
        importlib.import_module(name.rpartition(".")[0])
import numpy, torch

def world():
    return {
        "environment": dict(os.environ),
        "files": sorted(str(path) for path in pathlib.Path().rglob("*")),
        "random": hash(random.getstate()),
        "numpy.random": numpy.random.get_state()[1].tobytes().hex(),
        "torch seed": torch.initial_seed(),
        "log handlers": len(logging.getLogger().handlers),
        "log level": logging.getLogger().level,
        "threads": threading.active_count(),
        "torch threads": torch.get_num_threads(),
        "CUDA started": torch.cuda.is_initialized(),
    }

verdicts = {}
for name in ours:
    before = world()
    try:
        importlib.import_module(name)
    except ImportError as error:
        verdicts[name] = f"{type(error).__name__}: {error}"
    else:
        verdicts[name] = ", ".join(key for key, value in world().items() if value != before[key])
print(json.dumps(verdicts))
"""
BLOCKED = ("ray", "cuml", "cupy", "cudf", "rmm")


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PURE = {
    module_name(path): path
    for path in [*sources("hacon"), *sources("pipeline")]
    if not {"on_ray", "stages"} & set(path.parts)
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By module: empty, or why it cannot be imported without Ray, or what importing it changed."""
    top_level = (
        name
        for path in PURE.values()
        for node in ast.parse(path.read_text()).body
        for name in imported_names(ast.Module([node], []))
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    outside = {name for name in top_level if name.partition(".")[0] not in ("hacon", "pipeline", *BLOCKED)}
    arguments = json.dumps([sorted(outside), sorted(PURE), BLOCKED])
    done = subprocess.run(
        [sys.executable, "-c", PROBE, arguments],
        cwd=tmp_path_factory.mktemp("empty"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.slow  # 8 s: every module in a Python that has no Ray
@pytest.mark.parametrize("name", sorted(PURE))
def test_importing_does_nothing_and_needs_no_ray(name: str, verdicts: dict[str, str]) -> None:
    assert verdicts[name] == ""


# ---- the method's page -------------------------------------------------------------------

CITED = re.compile(r"docs/method\.md,\s+(?:#\s*)?(section|decision)s? (\d+)(?: (?:and|to) (?:section )?(\d+))?")


def test_what_cites_the_method_finds_it_there() -> None:
    page = (ROOT / "docs" / "method.md").read_text()
    there = {("section", number) for number in re.findall(r"^## (\d+)\. ", page, re.MULTILINE)}
    there |= {("decision", number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    cited = {
        (path.name, kind, number)
        for path in [*sources("hacon"), *sources("jobs"), *sources("pipeline"), *sources("tests")]
        for kind, *numbers in CITED.findall(path.read_text())
        for number in numbers
        if number
    }
    assert len(cited) > 20
    assert [each for each in sorted(cited) if each[1:] not in there] == []


def test_nothing_cites_what_is_not_in_the_repository() -> None:
    """Pages that lie beside the repository on one machine, and on no other."""
    outside = re.compile("SCIENCE" + r"\.md|DESIGN" + r"\.md|STYLE" + r"\.md")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = {
        name: (ROOT / name).read_text() for name in names if name.endswith((".py", ".md", ".j2", ".toml", ".yaml"))
    }
    assert [name for name, text in texts.items() if outside.search(text)] == []
