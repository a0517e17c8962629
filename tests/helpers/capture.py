"""What passes a port of an interface, as whoever listens on the wire sees it: each direction of each connection."""

from __future__ import annotations

import socket
import struct
import threading
from collections import defaultdict

IPV4, ALL = 0x0800, 3
RECORDS = {20, 21, 22, 23}  # change cipher spec, alert, handshake, application data


class Capture:
    """Listens while its block runs; needs root.

    Args:
        interface: where.
        port: of one of the two ends.
    """

    def __init__(self, interface: str, port: int) -> None:
        self._port = port
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        self._socket.bind((interface, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._segments: dict[tuple, dict[int, bytes]] = defaultdict(dict)

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def streams(self) -> list[bytes]:
        """Returns what each direction of each connection carried, up to the first segment that was missed."""
        found = []
        for segments in self._segments.values():
            at, stream = min(segments), bytearray()
            while at in segments:
                stream += segments[at]
                at = (at + len(segments[at])) & 0xFFFFFFFF
            found.append(bytes(stream))
        return found

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                frame = self._socket.recv(1 << 17)
            except TimeoutError:
                continue
            if (
                len(frame) < 54
                or struct.unpack("!H", frame[12:14])[0] != IPV4
                or frame[23] != socket.IPPROTO_TCP
            ):
                continue
            head = (frame[14] & 15) * 4
            packet = frame[14 : 14 + struct.unpack("!H", frame[16:18])[0]]
            here, there, number = struct.unpack("!HHI", packet[head : head + 8])
            payload = packet[head + (packet[head + 12] >> 4) * 4 :]
            if self._port in (here, there) and payload:
                kept = self._segments[frame[26:34], here, there]
                kept[number] = max(kept.get(number, b""), payload, key=len)


def is_tls(stream: bytes) -> bool:
    """Returns whether a stream is a row of TLS records, from any of them on."""
    at = 0
    while at + 5 <= len(stream):
        kind, major, minor, length = struct.unpack("!BBBH", stream[at : at + 5])
        if kind not in RECORDS or major != 3 or minor > 4:
            return False
        at += 5 + length
    return at > 0
