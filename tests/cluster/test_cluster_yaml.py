"""cluster.yaml against Ray's own schema, Ray's own AWS code (on a simulated EC2) and this repository."""

from __future__ import annotations

import copy
import logging
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from moto import mock_aws

boto3 = pytest.importorskip("boto3")
util = pytest.importorskip("ray.autoscaler._private.util")

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """The file as it is written."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return config


@pytest.fixture
def prepared(written: dict[str, Any]) -> dict[str, Any]:
    """The file with Ray's defaults filled in, as `ray up` does it first."""
    config: dict[str, Any] = util.prepare_config(copy.deepcopy(written))
    return config


def test_valid_by_rays_schema(written: dict[str, Any], prepared: dict[str, Any]) -> None:
    util.validate_config(prepared)
    with pytest.raises(jsonschema.ValidationError, match="Additional properties are not allowed"):
        util.validate_config({**prepared, "setup_comands": []})
    # Nothing of Ray's default set-up (its nightly wheel, an image of 2022) is left in.
    assert prepared["head_setup_commands"] == written["setup_commands"] + written["head_setup_commands"]
    assert prepared["worker_setup_commands"] == written["setup_commands"] + written["worker_setup_commands"]


def test_workers_start_at_none_and_are_spot(prepared: dict[str, Any]) -> None:
    head, worker = (prepared["available_node_types"][name] for name in ("head", "gpu_worker"))
    assert (worker["min_workers"], worker["max_workers"]) == (0, prepared["max_workers"])
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in head["node_config"]
    assert prepared["provider"]["cache_stopped_nodes"] is False


def test_jobs_learn_of_gpus_that_are_not_there_yet(written: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.on_ray import session

    head, worker = (written["available_node_types"][name] for name in ("head", "gpu_worker"))
    gpus_per_worker = 1  # of every g5 and g6 size up to 4xlarge
    assert re.fullmatch(r"g[56]\.[24]?xlarge", worker["node_config"]["InstanceType"])
    assert head["resources"] == {session.AUTOSCALED_GPUS: worker["max_workers"] * gpus_per_worker}
    for present, counted in (({}, 4), ({"GPU": 2.0}, 4), ({"GPU": 8.0}, 8)):
        monkeypatch.setattr(session.ray, "cluster_resources", lambda have=present: {**head["resources"], **have})
        assert session.gpus() == counted


def test_storage_by_instance_role_not_by_keys(written: dict[str, Any]) -> None:
    for node in written["available_node_types"].values():
        assert node["node_config"]["IamInstanceProfile"]["Name"]
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    text = (ROOT / "cluster.yaml").read_text()
    assert not re.search(r"AWS_(ACCESS_KEY_ID|SECRET|SESSION)|AKIA|\.aws/credentials", text)


def test_mounted_files_exist_and_cover_the_commands(written: dict[str, Any]) -> None:
    mounts = written["file_mounts"]
    local = [path for path in mounts.values() if path.startswith("./")]
    assert local
    assert [path for path in local if not (ROOT / path).is_file()] == []
    asked_for = set(re.findall(r"~/hacon/\S+", " ".join(_commands(written))))
    assert asked_for == {path for path in mounts if path.startswith("~/hacon/")}


def test_every_install_is_hashed(written: dict[str, Any]) -> None:
    installs = [command for command in _commands(written) if re.search(r"pip (install|sync)", command)]
    assert len(installs) == 3
    assert [command for command in installs if "--require-hashes" not in command] == []


def test_settings_reach_a_nodes_shell(written: dict[str, Any], tmp_path: Path) -> None:
    """Run the initialization commands as Ray's SSH runner does, twice, and look at a later shell."""
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    for command in written["initialization_commands"] * 2:
        _bash(f"export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({command})", tmp_path)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert (tmp_path / ".bashrc").read_text().count("hacon-env") == 1
    shown = _bash(". ~/.bashrc && env", tmp_path).splitlines()
    seen = dict(line.split("=", 1) for line in shown if "=" in line)
    assert seen["RAY_AUTH_MODE"] == "token"
    assert seen["RAY_AUTH_TOKEN_PATH"] == str(token)
    assert seen["RAY_USAGE_STATS_ENABLED"] == "0"
    assert seen["AWS_DEFAULT_REGION"] == written["provider"]["region"]
    assert seen["PATH"].startswith(f"{tmp_path}/hacon-venv/bin:")


def test_ray_starts_with_these_settings_and_no_open_dashboard(written: dict[str, Any], tmp_path: Path) -> None:
    """Run the start commands with a `ray` that only says what it was started with."""
    fake = tmp_path / "hacon-venv" / "bin" / "ray"
    fake.parent.mkdir(parents=True)
    fake.write_text('#!/bin/sh\necho "$@" auth=$RAY_AUTH_MODE usage=$RAY_USAGE_STATS_ENABLED omp=$OMP_NUM_THREADS.\n')
    fake.chmod(0o755)
    _bash(written["initialization_commands"][1], tmp_path)
    for role in ("head", "worker"):
        # `ray up` hands the laptop's own choice about usage statistics to the head; ours must win.
        commands = util.with_envs(written[f"{role}_start_ray_commands"], {"RAY_USAGE_STATS_ENABLED": "1"})
        stop, start = (
            _bash(f"export OMP_NUM_THREADS=1 RAY_HEAD_IP=10.0.0.1 && ({command})", tmp_path) for command in commands
        )
        assert stop.startswith("stop")
        assert start.rstrip().endswith("auth=token usage=0 omp=.")
        assert ("--head" in start) == (role == "head")
    assert "--dashboard-host=127.0.0.1" in " ".join(written["head_start_ray_commands"])
    assert "--address=10.0.0.1:6379" in start


@pytest.fixture
def simulated_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """EC2 and IAM in this process, with the roles of docs/operations.md; keys go to a temporary home."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with mock_aws():
        iam = boto3.client("iam")
        for name in ("hacon-head", "hacon-worker"):
            iam.create_instance_profile(InstanceProfileName=name)
        yield


@pytest.mark.usefixtures("simulated_aws")
def test_rays_aws_code_launches_both_node_types(prepared: dict[str, Any]) -> None:
    """Ray fills in key, subnets and security group, then asks EC2 for a node; botocore checks every name."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    region = prepared["provider"]["region"]
    ec2 = boto3.client("ec2", region_name=region)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for node in prepared["available_node_types"].values():
        assert node["node_config"]["ImageId"].startswith("resolve:ssm:/aws/service/")
        node["node_config"]["ImageId"] = image  # the simulation does not resolve parameters
    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    config = bootstrap_aws(prepared)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name in ("head", "gpu_worker"):
        provider.create_node(config["available_node_types"][name]["node_config"], {"ray-user-node-type": name}, 1)
    launched = {
        next(tag["Value"] for tag in instance["Tags"] if tag["Key"] == "ray-user-node-type"): instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    }
    assert launched["head"]["InstanceType"] == "m7i.xlarge"
    assert launched["gpu_worker"]["InstanceType"] == "g6.2xlarge"
    assert launched["gpu_worker"]["InstanceLifecycle"] == "spot"
    assert launched["head"].get("InstanceLifecycle") != "spot"
    for name, profile in (("head", "hacon-head"), ("gpu_worker", "hacon-worker")):
        assert launched[name]["IamInstanceProfile"]["Arn"].endswith(profile)


def _commands(config: dict[str, Any]) -> list[str]:
    return [command for key in COMMANDS for command in config[key]]


def _bash(command: str, home: Path) -> str:
    """What a login on a fresh node would print: nothing but HOME and the system's PATH is set."""
    done = subprocess.run(
        ["bash", "-c", command], env={"HOME": str(home), "PATH": os.defpath}, capture_output=True, text=True, check=True
    )
    return done.stdout
