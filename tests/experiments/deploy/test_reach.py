"""What `hauberk deploy up` finds before it starts anything: a taken port; a server that is absent, false or late."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from email.utils import formatdate

import pytest

from hauberk.experiments.deploy.folder import open_folder
from hauberk.experiments.deploy.reach import check_server
from hauberk.tasks.errors import UserError
from tests.helpers.deployment import here, make


@pytest.fixture
def folder(tables, tmp_path):
    tables["federation"]["n_clients"] = 1
    tables["federation"]["n_malicious"] = 0
    return make(tables, tmp_path / "deployment")


def answering(folder, head: str) -> int:
    """Returns the port of a server that has the deployment's certificate, and answers one request with ``head``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server" / "server.pem", folder / "server" / "server.key")
    listening = socket.create_server(("127.0.0.1", 0))

    def answer():
        with listening, listening.accept()[0] as plain:
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(4096)
                    connection.sendall(f"HTTP/1.1 404 Not Found\r\n{head}Connection: close\r\n\r\n".encode())
            except ssl.SSLError:
                pass  # the other side does not trust it

    threading.Thread(target=answer, daemon=True).start()
    return listening.getsockname()[1]


def date(offset_s: float) -> str:
    return f"Date: {formatdate(time.time() + offset_s, usegmt=True)}\r\n"


def test_a_server_whose_clock_agrees_is_reached(folder):
    for offset in (0, 250):
        check_server("127.0.0.1", answering(folder, date(offset)), folder / "client-0" / "ca.pem")


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (-60, r"this machine's clock is \d+ s ahead of the server's; allowed are 5 s ahead"),
        (900, r"this machine's clock is \d+ s behind the server's; .* and 300 s behind"),
        (None, "does not answer as a deployment's server does"),
    ],
)
def test_another_clock_or_another_server_is_one_line(folder, offset, message):
    head = "" if offset is None else date(offset)
    with pytest.raises(UserError, match=message) as caught:
        check_server("127.0.0.1", answering(folder, head), folder / "client-0" / "ca.pem")
    assert "\n" not in str(caught.value)


def test_a_server_of_another_deployment_is_not_trusted(folder, tables, tmp_path):
    other = make(tables, tmp_path / "other")
    with pytest.raises(UserError, match="its certificate is not good for "):
        check_server("127.0.0.1", answering(other, date(0)), folder / "client-0" / "ca.pem")


def test_a_client_whose_server_is_not_there_is_told_so(folder):
    code, text = here("up", folder / "client-0")
    port = open_folder(folder).about.port
    assert (code, text) == (2, f"hauberk: server 127.0.0.1:{port}: cannot be reached: Connection refused ")


def test_a_port_that_is_taken_is_one_line_and_nothing_runs(folder):
    with socket.create_server(("127.0.0.1", open_folder(folder).about.port)):
        code, text = here("up", folder / "server")
        assert code == 2
        assert "is taken (Address already in use" in text
        assert "in deployment.toml" in text
    assert "nothing ran" in here("down", folder / "server")[1]
