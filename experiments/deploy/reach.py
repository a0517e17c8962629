"""Whether a client's machine can work with its server: found, trusted, and with clocks that agree."""

from __future__ import annotations

import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from hauberk.tasks.errors import UserError

AHEAD_S, BEHIND_S = 5, 300  # what Flower's signatures allow a client's clock, by the server's
WAIT_S = 10.0


def check_server(host: str, port: int, authority: Path) -> None:
    """Asks the server for nothing, with TLS.

    Raises:
        UserError: it is not there, its certificate is not the deployment's, or one of the two clocks is wrong.
    """
    where = f"{host}:{port}"
    trust = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            socket.create_connection((host, port), timeout=WAIT_S) as plain,
            trust.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = b"".join(iter(lambda: connection.recv(4096), b"")).decode("latin1")
    except ssl.SSLCertVerificationError as error:
        raise UserError(
            f"server {where}: its certificate is not good for {authority}: {error.verify_message}"
        ) from None
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"server {where}: cannot be reached: {getattr(error, 'strerror', None) or error}"
        ) from None
    _check_clock(where, head)


def _check_clock(where: str, head: str) -> None:
    dates = [line for line in head.splitlines() if line.lower().startswith("date:")]
    if not dates:
        raise UserError(f"server {where}: does not answer as a deployment's server does")
    ahead = time.time() - parsedate_to_datetime(dates[0].partition(":")[2].strip()).timestamp()
    if ahead > AHEAD_S or ahead < -BEHIND_S:
        word = "ahead of" if ahead > 0 else "behind"
        raise UserError(
            f"server {where}: this machine's clock is {abs(ahead):.0f} s {word} the server's; allowed are {AHEAD_S} s "
            f"ahead and {BEHIND_S} s behind"
        )
