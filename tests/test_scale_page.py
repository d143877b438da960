"""Tests of docs/scale: the manifest is one that KubeRay takes, and its command is one that maskbench takes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from run_bench import compose

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "docs" / "scale" / "rayjob.yaml"


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    properties = required | optional
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
AMOUNTS = {"type": "object", "additionalProperties": TEXT}
MOUNT = _object({"name": TEXT, "mountPath": TEXT}, readOnly={"type": "boolean"})
CONTAINER = _object(
    {"name": TEXT, "image": TEXT, "resources": _object({"requests": AMOUNTS, "limits": AMOUNTS})},
    volumeMounts={"type": "array", "items": MOUNT},
)
VOLUME = _object({"name": TEXT}, persistentVolumeClaim=_object({"claimName": TEXT}), emptyDir=AMOUNTS)
PARTS_OF_A_POD = {"containers": CONTAINER, "volumes": VOLUME}
POD = _object({"spec": _object({name: {"type": "array", "items": item} for name, item in PARTS_OF_A_POD.items()})})
GROUP = _object(
    {"groupName": TEXT, "rayStartParams": AMOUNTS, "template": POD},
    **dict.fromkeys(("replicas", "minReplicas", "maxReplicas"), COUNT),
)
SCHEMA = _object(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": _object({"name": TEXT}),
        "spec": _object(
            {
                "entrypoint": TEXT,
                "rayClusterSpec": _object(
                    {
                        "headGroupSpec": _object({"rayStartParams": AMOUNTS, "template": POD}),
                        "workerGroupSpecs": {"type": "array", "minItems": 1, "items": GROUP},
                    }
                ),
            },
            shutdownAfterJobFinishes={"type": "boolean"},
            ttlSecondsAfterFinished=COUNT,
            backoffLimit=COUNT,
        ),
    }
)
"""The part of KubeRay's own schema of a RayJob (its CustomResourceDefinition, version v1) that the manifest uses."""


@pytest.fixture
def manifest() -> Any:
    return yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))


def test_the_manifest_has_the_keys_of_a_ray_job(manifest: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(manifest, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest | {"spec": manifest["spec"] | {"entryPoint": "x"}}, SCHEMA)


def test_every_mount_has_its_volume_and_no_row_runs_on_the_head(manifest: Any) -> None:
    cluster = manifest["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    [worker] = [pod for group in cluster["workerGroupSpecs"] for pod in group["template"]["spec"]["containers"]]
    assert worker["resources"]["requests"] == worker["resources"]["limits"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_its_command_composes_and_reads_and_writes_what_is_mounted(manifest: Any) -> None:
    program, *arguments = shlex.split(manifest["spec"]["entrypoint"])
    assert program == "maskbench"
    jobs = compose(arguments)
    assert jobs
    for job in jobs:
        config = job.config
        assert (config.device, config.launcher.name, config.launcher.address) == ("cuda:0", "ray", "auto")
        assert str(config.dataset.images).startswith("/data/")
        assert str(config.dataset.annotations).startswith("/data/")
        assert str(config.out).startswith("/results/")
