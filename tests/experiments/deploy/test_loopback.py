"""A whole deployment on this machine: Flower's SuperLink and SuperNodes, TLS, node keys and the proxy, as deployed."""

from __future__ import annotations

import os
import ssl
import tomllib
from base64 import b64encode
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes, sign_message
from flwr.superlink.main import create_app

from hauberk.experiments.deploy import proxy
from hauberk.experiments.deploy.folder import open_folder
from hauberk.experiments.deploy.processes import processes_of
from hauberk.experiments.runner.chain import MODEL
from hauberk.experiments.runner.execute import run
from hauberk.experiments.runner.records import read_rounds, read_summary
from tests.helpers.capture import Capture, is_tls
from tests.helpers.deployment import here, logs

pytestmark = [
    pytest.mark.xdist_group("machines"),  # one at a time: each starts several processes
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def played(deployment, tmp_path_factory):
    """The folder of a run that was played to its end, and what passed the published port meanwhile."""
    out, about = tmp_path_factory.mktemp("fetched") / "run", open_folder(deployment).about
    with Capture("lo", about.port) if os.geteuid() == 0 else nullcontext() as capture:
        code, text = here("run", deployment, "--out", out)
    assert code == 0, f"{text}\n{logs(deployment)}"
    assert "round 2/2 accuracy" in text
    return out, capture


@pytest.fixture(scope="module")
def finished(played):
    """The folder of the run."""
    return played[0]


def test_whoever_listens_on_the_wire_sees_tls_alone(played):
    if played[1] is None:
        pytest.skip("to listen on the wire needs root")
    streams = played[1].streams()
    assert len(streams) >= 2 * 3
    assert sum(map(len, streams)) > 100_000
    assert all(is_tls(stream) for stream in streams)
    assert not any(word in stream for stream in streams for word in (b"/v1/fleet", b"flwr", b"hauberk"))


def test_a_deployment_computes_the_same_bits_as_one_process(finished, job, tmp_path):
    inline = run(job, out=tmp_path / "inline")
    there = read_summary(finished / "summary.json")
    assert there["engine"] == "deployment"
    assert there["model_sha256"] == inline.summary["model_sha256"]
    assert there["final"] == inline.summary["final"]
    assert there["refused"] == 0
    lines = [read_rounds(folder) for folder in (finished, inline.folder)]
    assert [line[MODEL] for line in lines[0]] == [line[MODEL] for line in lines[1]]
    assert (finished / "checkpoint").is_dir()
    assert (finished / "curves.png").exists()


def test_a_finished_run_is_shown_again_and_not_played(finished, deployment):
    code, text = here("run", deployment)
    assert code == 0
    assert "round 1/2" not in text
    assert read_summary(finished / "summary.json")["model_sha256"][:16] in text


def test_each_folder_holds_its_own_data_and_its_own_private_key_alone(deployment, job):
    parts = open_folder(deployment).parts
    held = {
        part.name: {path.name: len(path.read_text().splitlines()) for path in (part.path / "data").iterdir()}
        for part in parts
    }
    assert held["server"] == {"test.jsonl": 80}
    assert (
        sum(held[f"client {client}"]["train.jsonl"] for client in range(3)) == 180
    )  # a tenth is for validation
    texts = [set((part.path / "data/train.jsonl").read_text().splitlines()) for part in parts[1:]]
    assert not texts[0] & texts[1]
    for part in parts:
        secrets = [
            path
            for path in part.path.rglob("*")
            if path.is_file() and "PRIVATE KEY" in path.read_text("latin1")
        ]
        assert [path.name for path in secrets] == ["server.key" if part.name == "server" else "node.key"]
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in [*secrets, part.path / "runtime.secret"])
    honest = tomllib.loads((parts[2].path / "experiment.toml").read_text())
    assert "attack" not in honest
    assert honest["task"]["dataset"]["train"] == "each client's own"


def test_status_names_what_runs_and_who_is_there(deployment):
    code, text = here("status", deployment)
    assert code == 0
    assert text.count("up ") == 3 + 2 * 3
    assert all(f"client {client}: node " in text for client in range(3))
    assert text.count(" online") == 3


def signed(key) -> dict[str, str]:
    """Returns the headers by which a SuperNode shows its key."""
    now = datetime.now(UTC).isoformat()
    public = public_key_to_bytes(key.public_key())
    return {
        proxy.FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(public).decode(),
        proxy.TIMESTAMP_HEADER: now,
        proxy.FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(key, now.encode())).decode(),
    }


@pytest.fixture(scope="module")
def outside(deployment):
    """A connection to the published port, as a stranger has it who was given the authority's certificate."""
    part = open_folder(deployment).server
    trust = ssl.create_default_context(cafile=str(part.path / "ca.pem"))
    with httpx.Client(base_url=f"https://127.0.0.1:{part.about.port}", verify=trust) as client:
        yield client


def every_path() -> list[tuple[str, str]]:
    """Returns each method and path of Flower's three APIs, and what else its port serves."""
    paths = create_app().openapi()["paths"]
    own = [("GET", path) for path in ("/", "/docs", "/openapi.json", "/health", "/v1/fleet", "/v1/fleet/")]
    return own + sorted((method.upper(), path) for path, methods in paths.items() for method in methods)


def test_nothing_but_the_paths_of_a_node_answers_from_outside(outside, deployment):
    key = load_ssh_private_key((deployment / "client-1" / "node.key").read_bytes(), None)
    paths = every_path()
    assert len({path for _, path in paths if path.startswith("/v1/")}) > 60
    for headers in ({}, signed(key)):
        for method, path in paths:
            if (method, path) in {("POST", one) for one in proxy.PATHS}:
                continue
            found = outside.request(method, path, headers=headers, content=b"")
            assert found.status_code in (404, 405), (method, path)
            assert "flwr" not in found.text.lower()
    for odd in ("/v1/fleet/../control/list-runs", "/v1/fleet/%2e%2e/control/list-runs", "//v1/control/list-runs",
                "/v1/fleet/pull-messages/../../runtime/acquire-task", "/v1/fleet/register-node"):  # fmt: skip
        assert outside.post(odd, headers=signed(key)).status_code == 404


def test_a_node_without_a_key_or_with_a_strangers_is_refused_before_the_superlink(outside):
    stranger, _ = generate_key_pairs()
    for headers, reason in (({}, "is not signed"), (signed(stranger), "the key is no client's")):
        for path in proxy.PATHS:
            found = outside.post(path, headers=headers, content=b"\0" * 100)
            assert (found.status_code, reason in found.text) == (401, True)


def test_a_known_key_with_a_bad_signature_is_refused_by_the_superlink(outside, deployment):
    key = load_ssh_private_key((deployment / "client-1" / "node.key").read_bytes(), None)
    old = signed(key)
    old[proxy.TIMESTAMP_HEADER] = "2020-01-01T00:00:00+00:00"
    body = {"content-type": "application/protobuf"}
    assert outside.post("/v1/fleet/pull-messages", headers={**old, **body}).status_code == 401


def test_a_request_that_is_too_large_is_refused(outside, deployment):
    key = load_ssh_private_key((deployment / "client-1" / "node.key").read_bytes(), None)
    found = outside.post("/v1/fleet/push-object", headers=signed(key), content=bytes(proxy.MAX_BODY + 1))
    assert found.status_code == 413


def test_no_plain_http_is_spoken(deployment):
    port = open_folder(deployment).about.port
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"http://127.0.0.1:{port}/v1/fleet/pull-messages", timeout=5)


def is_alive(pid: int) -> bool:
    """Returns whether a process is there and not only waits for its parent to hear of its end."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


def test_a_key_that_was_removed_never_comes_back(deployment):  # the last test: client 2 is gone after it
    keys = deployment / "server" / "client_keys.toml"
    before = keys.read_text()
    ran = [process.pid() for process in processes_of(open_folder(deployment).parts[3])]
    assert here("remove-client", deployment, "2")[0] == 0
    assert ran
    assert not any(map(is_alive, ran))
    keys.write_text(before)
    code, text = here("status", deployment / "server")
    assert code == 2
    assert "client_keys.toml: the key of client 2 was removed once, and no such key comes back" in text
    assert len(text.strip().splitlines()) <= 4
