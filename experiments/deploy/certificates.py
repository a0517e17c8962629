"""The keys and certificates of a deployment: its own authority, the server's certificate, the clients' key pairs."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hauberk.tasks.errors import UserError

CA_DAYS, SERVER_DAYS = 3650, 397
LOOPBACK = ("127.0.0.1", "localhost")
CA_KEY, CA_CERT, SERVER_KEY, SERVER_CERT = "ca.key", "ca.pem", "server.key", "server.pem"
NODE_KEY, NODE_PUB = "node.key", "node.pub"
Key = ec.EllipticCurvePrivateKey


def make_authority(folder: Path, name: str) -> None:
    """Writes a new authority, ``ca.key`` and ``ca.pem``: whoever has the key can pass for the server."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hauberk deployment {name}")])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(subject, subject, key, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    write_secret(folder / CA_KEY, _pem(key))
    (folder / CA_CERT).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def make_server_certificate(authority: Path, folder: Path, hosts: Sequence[str]) -> datetime:
    """Writes a new ``server.key`` and ``server.pem`` for ``hosts`` and loopback; returns when it expires."""
    try:
        signer = serialization.load_pem_private_key((authority / CA_KEY).read_bytes(), None)
    except FileNotFoundError:
        raise UserError(
            f"{authority / CA_KEY}: no such file; only who has it can renew certificates"
        ) from None
    issuer, key = load_certificate(authority / CA_CERT), ec.generate_private_key(ec.SECP384R1())
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    names = [_general_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    certificate = (
        _builder(subject, issuer.subject, key, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_authority_key(issuer), critical=False)
        .sign(signer, hashes.SHA384())
    )
    write_secret(folder / SERVER_KEY, _pem(key))
    (folder / SERVER_CERT).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate.not_valid_after_utc


def make_node_key(folder: Path) -> str:
    """Writes a client's key pair, ``node.key`` and ``node.pub``, and returns the public one as SSH writes it."""
    key = ec.generate_private_key(ec.SECP384R1())
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH
    write_secret(folder / NODE_KEY, key.private_bytes(encoding, kind, serialization.NoEncryption()))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (folder / NODE_PUB).write_bytes(public + b"\n")
    return public.decode()


def load_certificate(path: Path) -> x509.Certificate:
    """Returns a certificate; raises UserError if it is missing or none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: no certificate: {' '.join(str(error).split())}") from None


def check_certificate(certificate: Path, authority: Path, *, host: str | None = None) -> datetime:
    """Returns when a certificate expires.

    Raises:
        UserError: it has expired, is not valid yet, is another authority's, or does not name ``host``.
    """
    found, issuer, now = load_certificate(certificate), load_certificate(authority), datetime.now(UTC)
    for one, path in ((found, certificate), (issuer, authority)):
        if now > one.not_valid_after_utc:
            raise UserError(
                f"{path}: expired at {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and it is "
                f"{now:%Y-%m-%d %H:%M}; hauberk deploy renew"
            )
        if now < one.not_valid_before_utc:
            raise UserError(
                f"{path}: valid from {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on, and it is "
                f"{now:%Y-%m-%d %H:%M}: is this machine's clock right?"
            )
    try:
        found.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise UserError(f"{certificate}: not of this deployment: {authority} did not sign it") from None
    if host is not None and host not in hosts_of(found):
        raise UserError(f"{certificate}: names {', '.join(hosts_of(found))}, and not {host}")
    return found.not_valid_after_utc


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Returns the names and addresses that a certificate is for."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def write_secret(path: Path, blob: bytes) -> None:
    """Writes a file that nobody but its owner can read, from its first byte on."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # for clients whose clocks are a little slow
        .not_valid_after(now + timedelta(days=days))
    )


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
