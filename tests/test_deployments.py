"""What `deployments/` promises: it parses, it is valid, it agrees with the code, and it gives nothing away."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from contender.settings import Settings
from flows.prefect_api import prefect_server

ROOT = Path(__file__).parent.parent
HERE = ROOT / "deployments"
DOCKERFILE = (HERE / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PASSWORDS = ("POSTGRES_PASSWORD", "PREFECT_PASSWORD", "MLFLOW_PASSWORD", "LEDGER_PASSWORD")


class Strict(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys without a word."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(keys)), f"a key twice at {node.start_mark}"
        return super().construct_mapping(node, deep)


def documents(path):
    return list(yaml.load_all(path.read_text(), Strict))


COMPOSE = documents(HERE / "compose.yaml")[0]
SERVICES = COMPOSE["services"]
MANIFESTS = {path.name: documents(path) for path in sorted((HERE / "kubernetes").glob("*.yaml"))}
OBJECTS = [one for many in MANIFESTS.values() for one in many]
WORKLOADS = {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] in ("Deployment", "StatefulSet")}
PODS = {name: one["spec"]["template"]["spec"] for name, one in WORKLOADS.items()}
CONTAINERS = {
    f"{name}/{one['name']}": one
    for name, pod in PODS.items()
    for one in pod["containers"] + pod.get("initContainers", [])
}
FILES = [path for path in HERE.rglob("*") if path.is_file() and path.name != ".env"]


def program(name):
    """A validator beside this Python or on the PATH; without it the test is skipped."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return found or pytest.skip(f"{name} is not installed")


def accepted(*command, **options):
    """What a validator printed, once it had nothing to say against us."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path):
    """The folder with passwords, as a user has it."""
    copied = shutil.copytree(HERE, tmp_path / "deployments")
    (copied / ".env").write_text("".join(f"{name}=secret-of-{name.lower()}\n" for name in PASSWORDS))
    return copied


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_begins_with_what_it_is(path):
    assert re.match(r"# |#!/bin/sh\n# ", path.read_text())


def test_yaml_is_tidy():
    rules = "{extends: default, rules: {line-length: {max: 140}, document-start: disable, octal-values: disable}}"
    accepted(program("yamllint"), "--strict", "-d", rules, str(HERE))


def test_the_dockerfile_passes_hadolint():
    accepted(program("hadolint"), "--failure-threshold", "style", str(HERE / "Dockerfile"))


def test_the_compose_file_fits_the_specification():
    pytest.importorskip("check_jsonschema", reason="check-jsonschema, which carries the schema, is not installed")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    accepted(*check, str(HERE / "compose.yaml"))


def test_docker_compose_reads_the_compose_file(copy):
    compose = [program("docker"), "compose"]
    if subprocess.run([*compose, "version"], capture_output=True, check=False).returncode:
        compose = [program("docker-compose")]
    accepted(*compose, "--file", str(copy / "compose.yaml"), "config", "--quiet")
    (copy / ".env").unlink()
    without = subprocess.run([*compose, "--file", str(copy / "compose.yaml"), "config"], capture_output=True, text=True)
    assert without.returncode != 0
    assert "make deployments/.env first" in without.stderr


def test_manifests_fit_the_schemas_of_kubernetes():
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for one in OBJECTS:
        validator.validate(one, validator.latest_version(), strict=True)


def test_kustomize_builds_what_is_applied(copy):
    built = list(yaml.safe_load_all(accepted(program("kubectl"), "kustomize", str(copy))))
    assert len(built) == len(OBJECTS) + 2
    secret = next(one for one in built if one["kind"] == "Secret")
    assert sorted(secret["data"]) == sorted(PASSWORDS)
    images = re.findall(r"'image': '([^']*)'", str(built))
    assert all(image.startswith(("registry.example/", "postgres:")) for image in images)


def test_every_manifest_is_applied():
    listed = documents(HERE / "kustomization.yaml")[0]["resources"]
    assert sorted(listed) == [f"kubernetes/{name}" for name in MANIFESTS]
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in OBJECTS} == {"contender"}


def test_images_are_pinned_and_the_same_everywhere():
    pulled = re.findall(r"^FROM (\S+[:@]\S+)", DOCKERFILE, re.MULTILINE)
    outside = {SERVICES["postgres"]["image"], PODS["postgres"]["containers"][0]["image"]}
    assert len(outside) == 1
    assert all(re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", image) for image in [*pulled, *outside])
    tags = {
        one["newName"].rpartition("/")[2]: one["newTag"] for one in documents(HERE / "kustomization.yaml")[0]["images"]
    }
    ours = {SERVICES[name]["image"] for name in ("prefect", "mlflow", "deploy", "worker")}
    assert {f"{name}:{tag}" for name, tag in tags.items()} == ours
    assert {one["image"] for one in CONTAINERS.values()} - outside == ours
    assert set(tags.values()) == {PROJECT["version"]}


def test_images_have_the_locked_versions():
    assert re.search(r"uv sync --locked --no-dev --extra postgres \\", DOCKERFILE)
    assert "uv export --quiet --locked" in DOCKERFILE
    assert "--constraints locked.txt" in DOCKERFILE
    assert not re.search(r"(prefect|mlflow|psycopg)\S*[=<>]=", DOCKERFILE)
    python = re.search(r"FROM python:(\d+\.\d+\.\d+)", DOCKERFILE).group(1)
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)


def test_a_build_sees_what_it_copies_and_no_more():
    seen = [line[1:] for line in (HERE / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    assert copied == set(seen)
    assert all((ROOT / name).exists() for name in copied)


def test_an_image_can_be_built_for_every_target():
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
    assert {one["build"]["target"] for one in SERVICES.values() if "build" in one} == {"worker", "prefect", "mlflow"}
    assert {"worker", "prefect", "mlflow"} <= targets


def test_server_and_worker_have_the_settings_of_those_that_up_starts():
    given = dict(re.findall(r"([A-Z_]+)=(\S+)", DOCKERFILE))
    for name, value in (
        prefect_server.ENVIRONMENT | prefect_server.SERVER_ENVIRONMENT | prefect_server.WORKER_ENVIRONMENT
    ).items():
        assert given[name] == (f"/app/flows/{Path(value).name}" if value.startswith("/") else value), name


def test_every_variable_of_ours_is_a_setting():
    known = {f"CONTENDER_{name.upper()}" for name in Settings.model_fields}
    used = {name for path in FILES for name in re.findall(r"\bCONTENDER_[A-Z_]+", path.read_text())}
    assert used
    assert used <= known


def test_compose_and_kubernetes_give_a_worker_the_same_settings():
    settings = next(one for one in OBJECTS if one["kind"] == "ConfigMap")["data"]
    given = {name: value for name, value in SERVICES["worker"]["environment"].items() if name != "PGPASSWORD"}
    assert settings == given
    Settings(**{name[10:].lower(): value for name, value in given.items() if name.startswith("CONTENDER_")})


@pytest.mark.slow
def test_every_deployment_of_prefect_names_a_flow():
    from prefect import Flow

    deployments = documents(ROOT / "prefect.yaml")[0]["deployments"]
    assert deployments
    for one in deployments:
        module, _, name = one["entrypoint"].rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), Flow), one["entrypoint"]
        assert one["work_pool"]["name"] in DOCKERFILE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_holds_a_password(path):
    text = path.read_text()
    assert not re.search(r"://[^\s/@:]+:[^\s/@]+@", text)
    # `NAME: ${NAME:?...}` asks; anything else would be a value.
    assert not re.search(r"^\s*\"?\w*PASSWORD\"?\s*[:=]\s*(?!\$\{[A-Z_]+:\?)\S", text, re.MULTILINE)
    assert "kind: Secret\n" not in text


def test_ports_are_published_on_this_machine_only():
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert published == ["127.0.0.1:4200:4200", "127.0.0.1:5000:5000"]
    assert {one["spec"].get("type", "ClusterIP") for one in OBJECTS if one["kind"] == "Service"} == {"ClusterIP"}
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_and_bounds(name):
    one = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", one["user"])
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(one)
    assert set(one["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert one["restart"] == ("no" if name == "deploy" else "unless-stopped")


def test_java_may_run_what_it_unpacks():
    # Docker mounts a tmpfs noexec, and then no Parquet is written: snappy's library cannot be loaded from it.
    assert SERVICES["worker"]["tmpfs"] == ["/tmp:exec"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_whether_it_is_well(name):
    one = SERVICES[name]
    if "build" in one:
        stage = re.split(rf"^FROM \S+ AS {one['build']['target']}$", DOCKERFILE, flags=re.MULTILINE)[1]
        assert "HEALTHCHECK" in stage.split("\nFROM ")[0]
    else:
        assert "test" in one["healthcheck"]
    for needed, when in one.get("depends_on", {}).items():
        assert when["condition"] == ("service_completed_successfully" if needed == "deploy" else "service_healthy")


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_no_rights_and_bounds(name):
    one, pod = CONTAINERS[name], PODS[name.partition("/")[0]]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (
        set(one["resources"]["requests"]) == set(one["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"}
    )
    if one in pod["containers"]:
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(one)


def test_all_is_closed_that_is_not_opened():
    policies = {one["metadata"]["name"]: one["spec"] for one in OBJECTS if one["kind"] == "NetworkPolicy"}
    assert policies["nothing-else"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert set(policies) == {"nothing-else", "names", *WORKLOADS}
    for name in WORKLOADS:
        assert policies[name]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": name}


@pytest.mark.parametrize("name", ["postgres", "prefect", "mlflow"])
def test_a_service_leads_to_its_pods(name):
    service = next(one for one in OBJECTS if one["kind"] == "Service" and one["metadata"]["name"] == name)
    labels = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in PODS[name]["containers"][0]["ports"]}
    assert service["spec"]["selector"].items() <= labels.items()
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_what_a_pod_mounts_is_there():
    claims = {one["metadata"]["name"] for one in OBJECTS if one["kind"] == "PersistentVolumeClaim"}
    for name, pod in PODS.items():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        volumes |= {one["metadata"]["name"]: one for one in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]}
        assert mounted == set(volumes)
        assert {
            one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one
        } <= claims


def test_a_database_is_made_for_each_who_asks():
    made = dict(re.findall(r"^make_database (\w+) (\w+) [A-Z_]+$", (HERE / "databases.sh").read_text(), re.MULTILINE))
    everything = "".join(path.read_text() for path in FILES)
    assert set(re.findall(r"postgresql\+\w+://(\w+)@postgres/(\w+)", everything)) == set(made.items())
    accepted("sh", "-n", str(HERE / "databases.sh"))
    assert os.access(HERE / "databases.sh", os.X_OK)
