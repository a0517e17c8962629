"""The one thing that a deployment's server publishes: the paths that a SuperNode with a key uses, and nothing else.

Flower serves its three APIs on one port, and node authentication guards one of them alone: whoever reaches the port
can register a key of its own, submit a run, or take a task. So the SuperLink listens on loopback, and this stands
before it: TLS, a list of paths, the table of keys, and limits on what a client may send.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from flwr.app import Array
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_type_from_object_content,
)
from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hauberk.experiments.deploy.certificates import CA_CERT, SERVER_CERT, SERVER_KEY
from hauberk.experiments.deploy.folder import KEYS, Part
from hauberk.server.client_keys import read_client_keys
from hauberk.tasks.errors import UserError

PATHS = tuple(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)  # fmt: skip  (a node that has a key never registers or unregisters itself)
SIGNED = (FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TIMESTAMP_HEADER)
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length",
     "proxy-authorization", "proxy-authenticate"}
)  # fmt: skip
MAX_PIECE = 6 << 20  # bytes: Flower sends arrays in pieces of 5 MiB
MAX_BODY = 32 << 20
READ_S, MAX_CONNECTIONS = 60.0, 512
log = logging.getLogger("hauberk.proxy")


class Refused(Exception):
    """A request that goes no further: its status and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Budget:
    """How many bytes each client may push for one reply.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pushed: dict[int, int] = {}

    def begin(self, client: int) -> None:
        """A new reply begins."""
        self._pushed[client] = 0

    def take(self, client: int, n_bytes: int) -> None:
        """Raises Refused where a reply becomes too large."""
        self._pushed[client] = pushed = self._pushed.get(client, 0) + n_bytes
        if pushed > self._most:
            raise Refused(
                413, f"client {client}: its reply has more than {self._most} bytes, {pushed} so far; cut off"
            )


class Claims(Budget):
    """How large the arrays of one reply may become: one piece may stand in an array as often as its sender likes."""

    def take_object(self, client: int, body: bytes) -> None:
        """Raises Refused where a request pushes an object that is too large, or an array that becomes so."""
        content = PushObjectRequest.FromString(body).object_content
        if len(content) > MAX_PIECE:
            raise Refused(413, f"an object may hold {MAX_PIECE} bytes, got {len(content)}")
        if get_object_type_from_object_content(content) == "Array":
            pieces = json.loads(get_object_body(content, Array))["arraychunk_ids"]
            self.take(client, MAX_PIECE * len(pieces))


class KeyTable:
    """The table of the clients' keys, read again when its file changes.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[float, Mapping[bytes, int]] = (0.0, {})

    def client_of(self, headers: Mapping[str, str]) -> int:
        """Returns whose key a request names; raises Refused where it is nobody's."""
        if any(name not in headers for name in SIGNED):
            raise Refused(401, "the request is not signed")
        try:
            key = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
        except ValueError:
            raise Refused(401, "the request names no key") from None
        client = self._keys().get(key)
        if client is None:
            raise Refused(401, "the key is no client's")
        return client

    def _keys(self) -> Mapping[bytes, int]:
        changed = self._path.stat().st_mtime
        if changed != self._read[0]:
            try:
                self._read = (changed, read_client_keys(self._path, 1 << 30) or {})
            except UserError as error:  # half edited by hand: the last table that could be read holds
                log.error("%s", error)
        return self._read[1]


def proxy_app(part: Part) -> Starlette:
    """Returns the application that hands on what a deployment publishes to the SuperLink on loopback."""
    keys, most = KeyTable(part.path / KEYS), int(part.about.max_reply_mb * 1e6)
    budget, claims = Budget(most), Claims(2 * most + MAX_PIECE)
    trust = ssl.create_default_context(cafile=str(part.path / CA_CERT))
    upstream = httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{part.about.local_port}",
        verify=trust,
        timeout=httpx.Timeout(READ_S, connect=5.0),
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        trust_env=False,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with upstream:
            yield

    async def hand_on(request: Request) -> Response:
        who = request.client.host if request.client else "?"
        try:
            client = keys.client_of(request.headers)
            body = await _body(request)
            if request.url.path.endswith("/push-messages"):
                budget.begin(client)
                claims.begin(client)
            elif request.url.path.endswith("/push-object"):
                budget.take(client, len(body))
                claims.take_object(client, body)
            return await _forward(upstream, request, body)
        except (DecodeError, ValueError, KeyError, TypeError) as odd:
            log.warning("%s %s: 400: %s", who, request.url.path, type(odd).__name__)
            return PlainTextResponse("no object of Flower's\n", 400)
        except Refused as refused:
            log.warning("%s %s: %d: %s", who, request.url.path, refused.status, refused)
            return PlainTextResponse(f"{refused}\n", refused.status)
        except (httpx.HTTPError, ClientDisconnect) as error:
            log.warning("%s %s: 502: %s", who, request.url.path, type(error).__name__)
            return PlainTextResponse("the SuperLink does not answer\n", 502)

    async def nothing(request: Request) -> Response:
        log.warning("%s %s: 404", request.client.host if request.client else "?", request.url.path[:200])
        return PlainTextResponse("nothing is here\n", 404)

    routes = [Route(path, hand_on, methods=["POST"]) for path in PATHS]
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    rest = Route("/{anything:path}", nothing, methods=methods)
    return Starlette(routes=[*routes, rest], lifespan=lifespan)


def run_proxy(part: Part) -> None:
    """Serves until it is stopped."""
    settings = uvicorn.Config(
        proxy_app(part),
        ssl_certfile=str(part.path / SERVER_CERT),
        ssl_keyfile=str(part.path / SERVER_KEY),
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=75,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
    )
    uvicorn.Server(settings).run(sockets=[listen(part.about.port)])


def listen(port: int) -> socket.socket:
    """Returns a socket that listens on a port of all of this machine's addresses."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


async def _body(request: Request) -> bytes:
    """Returns a request's body, if it is small enough and comes in time."""
    chunks: list[bytes] = []
    n_bytes = 0
    try:
        async with asyncio.timeout(READ_S):
            async for chunk in request.stream():
                n_bytes += len(chunk)
                if n_bytes > MAX_BODY:
                    raise Refused(413, f"a request may hold {MAX_BODY} bytes")
                chunks.append(chunk)
    except TimeoutError:
        raise Refused(408, f"the request took more than {READ_S:g} s") from None
    return b"".join(chunks)


async def _forward(upstream: httpx.AsyncClient, request: Request, body: bytes) -> Response:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    asked = upstream.build_request("POST", request.url.path, headers=headers, content=body)
    answer = await upstream.send(asked, stream=True)
    kept = {
        name: value
        for name, value in answer.headers.items()
        if name.lower() not in HOP_BY_HOP | {"server", "date"}
    }

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async for piece in answer.aiter_raw():
                yield piece
        finally:
            await answer.aclose()

    return StreamingResponse(pieces(), answer.status_code, kept)
