"""The folders of a deployment: how they are made, who joins and leaves, and what is wrong with them in one line."""

from __future__ import annotations

import io
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)
from rich.console import Console

from hauberk.experiments.deploy import certificates, follow, members
from hauberk.experiments.deploy.folder import KEYS, open_folder
from hauberk.experiments.deploy.operate import check_part
from hauberk.experiments.deploy.own_data import server_data
from hauberk.experiments.deploy.resident import make_resident
from hauberk.server.client_keys import read_client_keys
from hauberk.tasks.errors import UserError
from tests.helpers.deployment import here, make


@pytest.fixture
def folder(tables, tmp_path) -> Path:
    tables["federation"]["n_clients"] = 2
    return make(tables, tmp_path / "deployment")


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_servers_certificate_names_its_host_and_loopback_and_says_when_it_expires(folder):
    server = folder / "server"
    found = certificates.load_certificate(server / "server.pem")
    assert certificates.hosts_of(found) == ["127.0.0.1", "localhost"]
    expiry = certificates.check_certificate(server / "server.pem", server / "ca.pem", host="127.0.0.1")
    assert timedelta(days=390) < expiry - datetime.now(UTC) < timedelta(days=400)


def test_each_client_has_the_key_that_the_servers_table_says(folder):
    table = read_client_keys(folder / "server" / KEYS, 2)
    for client in (0, 1):
        path = folder / f"client-{client}"
        public = load_ssh_public_key((path / "node.pub").read_bytes())
        private = load_ssh_private_key((path / "node.key").read_bytes(), None)
        assert private.public_key() == public

        assert table[public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)] == client


def test_renewal_gives_another_key_and_certificate_of_the_same_authority(folder):
    server = folder / "server"
    before = (server / "server.key").read_bytes()
    members.renew(open_folder(folder), ["server.example", "192.0.2.7"])
    assert (server / "server.key").read_bytes() != before
    found = certificates.load_certificate(server / "server.pem")
    assert certificates.hosts_of(found) == ["server.example", "192.0.2.7", "127.0.0.1", "localhost"]
    certificates.check_certificate(server / "server.pem", server / "ca.pem", host="192.0.2.7")
    with pytest.raises(UserError, match=r"names server\.example, .* and not elsewhere"):
        certificates.check_certificate(server / "server.pem", server / "ca.pem", host="elsewhere")


def test_who_is_removed_has_no_key_any_more_and_whoever_comes_gets_the_free_number(folder):
    key = (folder / "client-0" / "node.pub").read_text()
    members.remove_client(open_folder(folder), 0)
    assert list(members.read_keys(folder / "server")) == ["1"]
    assert not (folder / "client-0").exists()
    assert members.add_client(open_folder(folder)).name == "client-0"
    assert (folder / "client-0" / "node.pub").read_text() != key
    assert members.add_client(open_folder(folder)).name == "client-2"
    assert open_folder(folder).server.spec().federation.n_clients == 3
    with pytest.raises(UserError, match="there is no client 7; there are: 0, 1, 2"):
        members.remove_client(open_folder(folder), 7)


def test_a_malicious_client_lies_by_its_own_folder_alone(folder):
    assert make_resident(folder / "client-0").worker.attackers(1) == (0,)
    assert make_resident(folder / "client-1").worker.attackers(1) == ()
    path = folder / "client-0" / "client.toml"
    path.write_text(path.read_text().replace("malicious = true", "malicious = false"))
    assert make_resident(folder / "client-0").worker.attackers(1) == ()


def test_a_client_that_draws_for_itself_has_a_seed_that_the_experiment_does_not_tell(folder):
    path = folder / "client-1" / "client.toml"
    path.write_text("own_randomness = true\n" + path.read_text())
    seed = make_resident(folder / "client-1").worker.config.seed
    assert seed not in (0, make_resident(folder / "client-0").worker.config.seed)
    assert make_resident(folder / "client-1").worker.config.seed == seed


def test_a_forge_is_left_to_simulations(tables, tmp_path):
    tables["attack"]["forge"] = "mimic"
    with pytest.raises(UserError, match=r"^attack\.forge: 'mimic' must be left to a simulation"):
        make(tables, tmp_path / "deployment")
    assert not (tmp_path / "deployment").exists()


def damaged(folder: Path, client: Path) -> dict[str, tuple]:
    """Returns what can be wrong with a client's data and settings: what is changed, and the reason that is due."""
    data = client / "data" / "train.jsonl"
    first = data.read_text().splitlines()[0]
    return {
        "no data": (lambda: data.unlink(), f"{client}/client.toml: data: There is no file '{data}'"),
        "empty": (lambda: data.write_text(""), "holds no examples"),
        "another label": (
            lambda: data.write_text(first + '\n{"text": "x", "label": "neutral"}\n'),
            "line 2 has the label 'neutral', and the classes agreed on are 0, 1",
        ),
        "no column": (lambda: data.write_text('{"words": "x", "label": "1"}\n'), "has no column 'text'"),
        "no key": (
            lambda: (client / "client.toml").write_text("[data]\nname = 'nosuch'\n"), "unknown name 'nosuch'"
        ),
        "a strange key": (lambda: (client / "client.toml").write_text("dta = 1\n"), "Field required"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what", ["no data", "empty", "another label", "no column", "no key", "a strange key"]
)
def test_what_is_wrong_with_a_clients_data_is_one_line(folder, what):
    change, reason = damaged(folder, folder / "client-1")[what]
    change()
    with pytest.raises(UserError) as caught:
        make_resident(folder / "client-1")
    assert reason in one_line(caught)


class LongAgo(datetime):
    """A clock that is 500 days behind."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(days=500)


def test_a_certificate_that_is_expired_or_foreign_is_one_line(folder, tables, tmp_path, monkeypatch):
    server = open_folder(folder).server
    other = make(tables, tmp_path / "other")
    (server.path / "server.pem").write_bytes((other / "server" / "server.pem").read_bytes())
    with pytest.raises(UserError, match=r"server\.pem: not of this deployment: .*ca\.pem did not sign it$"):
        check_part(server)
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "datetime", LongAgo)
        members.renew(open_folder(folder))
    with pytest.raises(
        UserError, match=r"server\.pem: expired at .* UTC, and it is .*; hauberk deploy renew$"
    ):
        check_part(server)


def test_a_folder_of_another_deployment_or_none_is_one_line(folder, tables, tmp_path):
    other = make(tables, tmp_path / "other")
    (other / "client-1").rename(folder / "client-9")
    with pytest.raises(UserError, match=r"client-9: is of another deployment, '\w{16}', and .* of '\w{16}'$"):
        open_folder(folder)
    with pytest.raises(
        UserError, match=r"holds no deployment \(no deployment\.toml\); hauberk deploy init makes one"
    ):
        open_folder(tmp_path)
    with pytest.raises(UserError, match="holds no server; this is for the server's machine"):
        open_folder(folder / "client-1").server  # noqa: B018


def test_a_private_key_that_others_can_read_is_refused(folder):
    (folder / "client-1" / "node.key").chmod(0o644)
    with pytest.raises(UserError, match=r"must be readable by its owner alone \(mode 600\), got 644"):
        check_part(open_folder(folder / "client-1").parts[0])


def test_the_command_line_makes_a_deployment_and_says_what_is_wrong_with_one(tweets, tables, tmp_path):
    import tomli_w

    spec, out = tmp_path / "spec.toml", tmp_path / "made"
    spec.write_text(tomli_w.dumps(tables))
    code, text = here("init", spec, "--server", "fed.example", "--clients", 2, "--out", out, "--deal")
    assert code == 0
    assert "the server and 2 clients; the steps are in README.md" in text
    assert tomllib.loads((out / "client-1" / "deployment.toml").read_text())["host"] == "fed.example"
    code, text = here("init", spec, "--server", "fed.example", "--out", out)
    assert (code, "must be a new folder, and this holds files" in text) == (2, True)


def test_the_steps_say_what_to_install_and_where_each_machines_data_are_named(folder):
    steps = (folder / "README.md").read_text()
    assert f"pip install 'hauberk[offline]=={version('hauberk')}'" in steps
    assert "`server.toml`" in steps


def test_a_server_without_the_experiments_data_is_told_to_name_its_own(tables, tmp_path):
    tables["federation"]["n_clients"] = 2
    held = Path(shutil.copy(tables["task"]["dataset"]["test"], tmp_path / "test.jsonl"))
    tables["task"]["dataset"]["test"] = str(held)
    made = make(tables, tmp_path / "deployment", dealt=False)
    part = open_folder(made / "server").parts[0]
    spec = part.spec()
    held.unlink()  # as on a machine that never had it
    with pytest.raises(UserError, match="There is no file") as caught:
        server_data(part, spec)
    assert "server.toml: data: dataset.test: There is no file" in one_line(caught)
    assert 'or name a test split of the server\'s own: test = { name = "file", path = "..." }' in one_line(
        caught
    )


def test_the_reason_of_a_run_that_failed_is_shown_as_it_is(tmp_path):
    class Ended:
        screen = tmp_path / "screen"

        @staticmethod
        def result():
            return {"code": 2, "text": "pip install 'hauberk[offline]'"}

    console = Console(file=io.StringIO(), width=200)
    assert follow._follow(console, None, "1", Ended, 0) == 2
    assert console.file.getvalue() == "hauberk: pip install 'hauberk[offline]'\n"
