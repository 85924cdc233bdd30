"""ray_cluster.yaml and cluster/gcp.yaml: by Ray's own schema and preparation, and by rules of our own."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from inversionlab.experiment import RuntimeSettings

ROOT = Path(__file__).resolve().parents[2]
FILES = ["ray_cluster.yaml", "cluster/gcp.yaml"]


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` does before it turns to the cloud; no network, no cloud library."""
    prepared: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.fixture(params=FILES)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    # As `ray up` reads it; our own reader refuses the merge keys (<<) that these files use.
    loaded: dict[str, Any] = yaml.safe_load((ROOT / request.param).read_text(encoding="utf-8"))
    return loaded


def _workers(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    kinds = config["available_node_types"]
    return {name: kind for name, kind in kinds.items() if name != config["head_node_type"]}


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    prepared = _checked(config)
    # Ray's defaults install packages from the internet where a file says nothing.
    assert prepared["setup_commands"] == config["setup_commands"]
    assert prepared["head_setup_commands"] == config["setup_commands"]
    assert prepared["worker_setup_commands"] == config["setup_commands"]


def test_ray_refuses_damaged_files(config: dict[str, Any]) -> None:
    unknown = {**config, "max_wrokers": 3}
    with pytest.raises(ValidationError, match="max_wrokers"):
        _checked(unknown)
    misspelt = copy.deepcopy(config)
    misspelt["available_node_types"]["cpu_attack"]["min_worker"] = 0
    with pytest.raises(ValidationError, match="min_worker"):
        _checked(misspelt)
    too_many = copy.deepcopy(config)
    too_many["available_node_types"]["cpu_attack"]["min_workers"] = config["max_workers"] + 1
    with pytest.raises(ValueError, match="smaller than the sum of `min_workers`"):
        _checked(too_many)
    headless = {**config, "head_node_type": "nobody"}
    with pytest.raises(ValueError, match="head_node_type"):
        _checked(headless)


def test_the_head_takes_no_work_and_workers_start_at_none(config: dict[str, Any]) -> None:
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert (head["min_workers"], head["max_workers"]) == (0, 0)
    assert "--num-cpus=0" in config["head_start_ray_commands"][-1].split()
    workers = _workers(config)
    assert set(workers) == {"gpu_train", "cpu_attack", "gpu_attack"}
    for name, kind in workers.items():
        assert kind["min_workers"] == 0, name
        assert kind["max_workers"] > 0, name
    assert config["max_workers"] == sum(kind["max_workers"] for kind in workers.values())
    assert 0 < config["idle_timeout_minutes"] <= 15


def test_nodes_offer_what_stages_ask_for(config: dict[str, Any]) -> None:
    workers = _workers(config)
    train, attack = workers["gpu_train"]["resources"], workers["cpu_attack"]["resources"]
    assert train["GPU"] >= 1
    assert train["train"] == train["GPU"]
    assert train["CPU"] >= RuntimeSettings().train_cpus
    assert "GPU" not in attack
    assert attack["attack"] == attack["CPU"]
    shared = workers["gpu_attack"]["resources"]
    assert shared["attack_gpu"] * RuntimeSettings().attack_gpu_share == shared["GPU"]
    # No kind takes the work of another one.
    own = {"train", "attack", "attack_gpu"}
    assert sorted(own & {r for k in workers.values() for r in k["resources"]}) == sorted(own)
    assert all(len(own & set(k["resources"])) == 1 for k in workers.values())


def test_every_ray_start_has_the_token(config: dict[str, Any]) -> None:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ray start ") for command in starts)
    options = " ".join(config["docker"]["run_options"]).split()
    assert "RAY_AUTH_MODE=token" in options
    (folder,) = config["file_mounts"]
    assert f"RAY_AUTH_TOKEN_PATH={folder}/auth_token" in options
    (secure,) = config["setup_commands"]
    assert f"chmod 700 {folder} " in secure
    assert 'chmod 600 "$RAY_AUTH_TOKEN_PATH"' in secure


def test_nothing_is_open_to_the_world(config: dict[str, Any]) -> None:
    text = repr(config)
    assert "0.0.0.0" not in text
    assert "::/0" not in text
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1].split()
    for name, kind in config["available_node_types"].items():
        node = kind["node_config"]
        if config["provider"]["type"] == "aws":
            # With a group named for every kind, Ray makes none; its own opens port 22 to everyone.
            assert node["SecurityGroupIds"], name
            assert node["MetadataOptions"]["HttpTokens"] == "required", name
        else:
            # With an interface named for every kind, Ray adds no public address.
            assert all("accessConfigs" not in face for face in node["networkInterfaces"]), name
    if config["provider"]["type"] == "aws":
        assert "security_group" not in config["provider"]
    else:
        assert config["provider"]["use_internal_ips"]


def test_workers_are_spot_and_the_head_is_not(config: dict[str, Any]) -> None:
    def spot(kind: dict[str, Any]) -> bool:
        node = kind["node_config"]
        market = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        return market or any(s.get("preemptible") for s in node.get("scheduling", []))

    assert not spot(config["available_node_types"][config["head_node_type"]])
    assert all(spot(kind) for kind in _workers(config).values())
