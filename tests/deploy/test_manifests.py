"""What deploy/ says is what the code takes: options, names, ports, paths, versions, times."""

from __future__ import annotations

import itertools
import json
import re
import ssl
import subprocess
import threading
import tomllib
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from typer.core import TyperGroup

from airboss import __version__
from airboss.cli.verbs import command
from airboss.compose.joining import check_joins
from airboss.compose.parts import ADMIN_KEY_CHARS_MIN
from airboss.config import Config, parse_config, warnings_of
from airboss.gateway.routes import ROUTES
from airboss.store.datadir import DataDir
from airboss.supervisor import fleet
from tests.conformance.running import ENVIRONMENTS, missing
from tests.deploy.manifests import (
    BASE,
    DEPLOY,
    EXAMPLE,
    ROOT,
    SETS,
    TLS,
    at,
    compose,
    container,
    containerfile,
    kustomization,
    manifests,
    pods,
    told,
)
from tests.support.certificates import self_signed

VERSIONS = ("1.30", "1.37")
"""Of Kubernetes: the oldest that is thought of, and the newest whose schema there is."""
NAMES = sorted(pods())
STARTS = {
    **{name: container(name)["args"] for name in NAMES},
    **{f"compose {name}": compose()["services"][name]["command"] for name in ("airboss", "gateway")},
    "image": json.loads(*told("CMD")),
    "systemd": re.findall(
        r"^ExecStart=\S+ (.*)$", (DEPLOY / "systemd/airboss.service").read_text(), re.MULTILINE
    )[0].split(),
}
"""How each starts Airboss."""


def up(args: list[str]) -> dict[str, Any]:
    """What `airboss up` understands. Raises click's errors for what it does not know."""
    root = typer.main.get_command(command())
    assert isinstance(root, TyperGroup)
    assert args[0] == "up"
    return root.commands["up"].make_context("up", args[1:]).params


@pytest.mark.parametrize("name", STARTS)
def test_airboss_is_started_with_options_that_it_has(name: str) -> None:
    """What a manifest, the image and the unit start is a call of `airboss up`."""
    said = up(STARTS[name])
    assert said["config"].name == "airboss.toml"
    if name != "systemd":
        assert said["host"] == "0.0.0.0", "nobody beyond the container would reach it"
    assert (said["port"], said["console_port"]) == (8700, 8701)


@pytest.mark.parametrize("name", NAMES)
def test_ports_and_probes_are_the_products(name: str) -> None:
    """A pod's ports are those that it listens on, and a probe asks for a route that is open."""
    said, here = up(STARTS[name]), container(name)
    ports = {each["name"]: each["containerPort"] for each in here["ports"]}
    wanted = {"http": said["port"]} | ({} if said["join"] else {"console": said["console_port"]})
    assert ports == wanted
    asked = {
        kind: here[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert asked == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    assert set(asked.values()) <= set(ROUTES)


def test_services_lead_to_pods() -> None:
    """What services, policies, the budget and the autoscaler choose is there, with the ports they name."""
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}

    def chosen(selector: dict[str, str]) -> list[str]:
        return [name for name in NAMES if selector.items() <= labels[name].items()]

    found = manifests(BASE)
    services = {name: each["spec"] for (kind, name), each in found.items() if kind == "Service"}
    for spec in services.values():
        for port in spec["ports"]:
            for name in chosen(spec["selector"]):
                named = {each["name"]: each["containerPort"] for each in container(name)["ports"]}
                assert named[port["targetPort"]] == port["port"]
    assert chosen(services["airboss"]["selector"]) == chosen(services["airboss-nodes"]["selector"]) == NAMES
    assert chosen(services["airboss-console"]["selector"]) == ["airboss"]
    for (kind, name), each in found.items():
        if kind == SETS:
            assert chosen(each["spec"]["selector"]["matchLabels"]) == [name]
            assert each["spec"]["serviceName"] in services
    assert chosen(found["PodDisruptionBudget", "airboss"]["spec"]["selector"]["matchLabels"]) == NAMES
    target = found["HorizontalPodAutoscaler", "airboss-gateway"]["spec"]["scaleTargetRef"]
    assert "replicas" not in found[target["kind"], target["name"]]["spec"], "two would decide how many"
    assert found[SETS, "airboss"]["spec"]["replicas"] == 1, "one leads"
    console = found["NetworkPolicy", "airboss-console"]["spec"]
    assert chosen(console["podSelector"]["matchLabels"]) == ["airboss"]
    [allowed] = console["ingress"][0]["from"]
    assert chosen(allowed["podSelector"]["matchLabels"]) == ["airboss-gateway"]
    assert up(STARTS["airboss-gateway"])["join"] == "http://airboss-console:8701"
    assert up(STARTS["compose gateway"])["join"] == "http://airboss:8701"


@pytest.mark.parametrize("folder", [BASE, EXAMPLE], ids=lambda folder: folder.name)
def test_what_is_served_is_valid_and_can_be_joined(folder: Path, tmp_path: Path) -> None:
    """The configuration would be applied without a warning, and gateways may join it; each name that it takes
    from the environment is in the example's Secret and in compose.yaml."""
    text = (folder / "airboss.toml").read_text()
    config = parse_config(text, source="airboss.toml")
    assert not warnings_of(config)
    check_joins(config, DataDir(tmp_path))
    assert (config.tls is None) == ("--insecure" in STARTS["airboss"] and folder == BASE)
    wanted = set(re.findall(r'"env:(\w+)"', text)) | {"AIRBOSS_ADMIN_KEY"}
    secret = dict(re.findall(r"^(\w+)=(.*)$", (EXAMPLE / "secret.env").read_text(), re.MULTILINE))
    assert wanted == set(secret)
    assert wanted == set(compose()["x-airboss"]["environment"])
    schemes = [secret[f"AIRBOSS_{name}"].partition(":")[0] for name in ("LEDGER", "COUNTERS", "RECORDS")]
    assert schemes == ["postgresql", "valkeys", "clickhouse"]
    assert len(secret["AIRBOSS_ADMIN_KEY"]) < ADMIN_KEY_CHARS_MIN, "everybody knows it: it must be refused"


def test_tls_is_where_the_configuration_says(tmp_path: Path) -> None:
    """Patches of tls/ meet what they are for, and mount what the example's [tls] names."""
    changed = 0
    for patch in kustomization(TLS)["patches"]:
        where = patch["target"]
        named = [where["name"]] if "name" in where else NAMES
        for name in named:
            document = manifests(BASE)[where["kind"], name]
            for step in yaml.safe_load(patch["patch"]):
                changed += 1
                parent = at(document, step["path"].rpartition("/")[0])
                if step["op"] == "test":
                    assert at(document, step["path"]) == step["value"]
                elif step["op"] == "add":
                    assert step["path"].endswith("/-") or step["path"].rpartition("/")[2] not in parent
                else:
                    assert at(document, step["path"]) is not None
    assert changed > 15
    text = (TLS / "kustomization.yaml").read_text()
    tls = parse_config((EXAMPLE / "airboss.toml").read_text(), source="").tls
    assert tls is not None
    folder = str(Path(tls.cert).parent)
    assert {tls.cert, tls.key} == {f"{folder}/tls.crt", f"{folder}/tls.key"}
    assert f"mountPath: {folder}," in text
    assert f"value: {folder}/ca.crt" in text
    certificate = manifests(EXAMPLE)["Certificate", "airboss"]["spec"]
    assert f"secretName: {certificate['secretName']}," in text
    assert "airboss-console" in certificate["dnsNames"]


@pytest.mark.parametrize("name", NAMES)
def test_there_is_time_to_end(name: str) -> None:
    """A pod is given longer than its gateways take to answer what they have, and then the others to end."""
    places = fleet.Places(
        data_dir=Path("/d"), host="0.0.0.0", port=1, console_port=2, workers=1, tls=False, insecure=True,
        listen_fd=3, lock_fd=4, store_socket=Path("/s"),
    )  # fmt: skip
    joins = up(STARTS[name])["join"]
    specs = fleet.joined(places, leader=joins) if joins else fleet.core(places, records="embedded")
    stages = [
        fleet.is_gateway,
        lambda each: not (fleet.is_gateway(each) or fleet.is_store(each)),
        fleet.is_store,
    ]
    needed = sum(max((s.grace_s for s in specs if stage(s.command.name)), default=0) for stage in stages)
    command = container(name)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    given = pods()[name]["spec"]["terminationGracePeriodSeconds"]
    assert given >= needed + float(command[1]) + 10
    assert compose()["x-airboss"]["stop_grace_period"] == f"{given}s"
    assert f"TimeoutStopSec={given}\n" in (DEPLOY / "systemd/airboss.service").read_text()


def test_the_journal_of_a_service_keeps_no_key() -> None:
    """What `up` prints on stdout, the starter keys among it, goes nowhere; logs go to the journal."""
    unit = (DEPLOY / "systemd/airboss.service").read_text()
    assert {"StandardOutput=null", "StandardError=journal"} <= set(unit.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_may_do_nothing_that_it_need_not(name: str) -> None:
    """It runs as the image's user, without privileges, on a root that is read only, with a volume where the
    image keeps its data; the cluster's own rules for restricted pods take it."""
    spec, here = pods()[name]["spec"], container(name)
    [user] = told("USER")
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == int(user)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert here["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    [folder] = told("WORKDIR")
    mounts = {each["name"]: each["mountPath"] for each in here["volumeMounts"]}
    assert [folder] == list(told("VOLUME")) == [mounts["data"]]
    assert Path(mounts["config"]) / "airboss.toml" == up(STARTS[name])["config"]
    claims = [
        each["metadata"]["name"] for each in manifests(BASE)[SETS, name]["spec"]["volumeClaimTemplates"]
    ]
    assert set(mounts) == {each["name"] for each in spec["volumes"]} | set(claims)
    assert claims == ["data"], "journals outlive a pod"
    assert mounts["tmp"] == "/tmp"


def test_versions_agree() -> None:
    """Every image is this version of Airboss."""
    tags = [each["newTag"] for folder in (BASE, EXAMPLE) for each in kustomization(folder)["images"]]
    assert {*tags, compose()["x-airboss"]["image"].rpartition(":")[2]} == {__version__}


def pins(lock: str) -> set[str]:
    """The lines of a lock file that name a package and its version."""
    return {line.rstrip("\\ ") for line in (ROOT / lock).read_text().splitlines() if re.match("[a-z]", line)}


def test_the_image_holds_what_the_extras_ask_for() -> None:
    """The image's lock is the other's with what PostgreSQL, ClickHouse and Valkey need, in the versions that
    are tested; the image is made of it, and of files that reach its build."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    cluster = pins("requirements-cluster.lock")
    assert pins("requirements.lock") < cluster
    tested = {line for line in pins("requirements-dev.lock") if not line.startswith("tzdata")}
    assert {line for line in cluster if not line.startswith("tzdata")} <= tested
    wanted = itertools.chain(*(extras[name] for name in ("postgres", "clickhouse", "valkey")))
    names = {line.partition("==")[0] for line in cluster}
    assert {re.split(r"[^\w-]", need)[0] for need in wanted} <= names
    assert "psycopg-binary" in names, "libpq is not in the image otherwise"
    [locked] = (what for what in told("RUN") if "--require-hashes" in what)
    assert locked.endswith("--require-hashes --only-binary :all: -r /src/requirements-cluster.lock")
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    copied = [word for what in told("COPY") if "--from" not in what for word in what.split()[:-1]]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / each).exists() for each in copied)
    assert "*" in ignored
    assert not any(fnmatch(".airboss", each) or fnmatch("airboss.toml", each) for each in let_in)


def test_the_image_asks_itself_how_it_is() -> None:
    """Image and compose.yaml ask the same of the gateway, in a program that runs: here it finds nobody."""
    [check] = (what for word, what in containerfile() if word == "HEALTHCHECK")
    command = json.loads(check.partition(" CMD ")[2])
    assert compose()["x-airboss"]["healthcheck"]["test"] == ["CMD", *command]
    script = command[-1].replace("8700", "9")
    done = subprocess.run([*command[:-1], script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ConnectionRefusedError" in done.stderr
    assert "'/readyz'" in script


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("status", [200, 503])
def test_the_image_knows_how_it_is_with_tls_and_without(status: int, *, tls: bool, tmp_path: Path) -> None:
    """It is well where the gateway says so, over whatever that speaks."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self_signed(tmp_path))
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # type: ignore[method-assign]  # it is asked without TLS first
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = compose()["x-airboss"]["healthcheck"]["test"][1:]
        script = command[-1].replace("8700", str(server.server_port))
        done = subprocess.run(
            [*command[:-1], script], capture_output=True, text=True, timeout=60, check=False
        )
        server.shutdown()
    assert (done.returncode, done.stderr) == (int(status != 200), "")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", [BASE, EXAMPLE], ids=lambda folder: folder.name)
def test_kubernetes_knows_every_field(folder: Path, version: str, tmp_path: Path) -> None:
    """Each object is valid by the schema of that version, with no field that it does not have."""
    tool = ENVIRONMENTS / "kubernetes" / "bin" / "kubernetes-validate"
    if not tool.exists():
        missing("kubernetes-validate is not installed; run `make test`", "kubernetes")
    whole = tmp_path / "all.yaml"
    whole.write_text(yaml.safe_dump_all(manifests(folder).values()))
    done = subprocess.run(
        [tool, "--strict", "-k", version, whole], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_example_of_the_configuration_is_like_the_other() -> None:
    """Both name the same stores by the same names."""

    def store(folder: Path) -> Config:
        return parse_config((folder / "airboss.toml").read_text(), source="")

    assert store(BASE).store == store(EXAMPLE).store
