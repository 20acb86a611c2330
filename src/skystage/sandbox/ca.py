"""The private certificate authority of one run: its bundle for the clients, a context for each host.

Everything lies in the run's temporary directory and is worth nothing outside it. The
certificates carry what strict verification asks for (Python 3.13 sets
``VERIFY_X509_STRICT``): basic constraints, key usage and key identifiers (RFC 5280, 4.2.1).
"""

from __future__ import annotations

import os
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import SkystageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_LIFETIME = timedelta(days=30)


class Authority:
    """Signs for every host that is asked for.

    Parameters
    ----------
    directory
        Where the bundle, the certificates and the one key of the hosts are written.

    Raises
    ------
    SkystageError
        If the package ``cryptography`` is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError as error:
            raise SkystageError(
                "the sandbox needs the package cryptography", hint="pip install 'skystage[sandbox]'"
            ) from error
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._host_key = ec.generate_private_key(ec.SECP256R1())
        self._root = self._sign_root()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.bundle = directory / "ca-bundle.pem"
        """Public CAs and the sandbox's own, for clients that take one file."""
        self.bundle.write_bytes(_public_bundle() + b"\n" + _pem(self._root))

    def context(self, host: str) -> ssl.SSLContext:
        """The server side of TLS for a host; made once."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._make_context(host)
            return self._contexts[host]

    def _make_context(self, host: str) -> ssl.SSLContext:
        from cryptography.hazmat.primitives import serialization

        path = self._directory / f"host-{len(self._contexts)}.pem"
        key = self._host_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key + _pem(self._sign_host(host)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _sign_root(self) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        name = _name("skystage sandbox, good for one run")
        public = self._key.public_key()
        builder = _builder(name, name, public)
        for extension, critical in (
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_usage(sign_certificates=True), True),
            (x509.SubjectKeyIdentifier.from_public_key(public), False),
        ):
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def _sign_host(self, host: str) -> x509.Certificate:
        import ipaddress

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        public = self._host_key.public_key()
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        # A common name holds 64 characters (RFC 5280, appendix A.1); clients read the alternative name.
        builder = _builder(_name(host[:64]), self._root.subject, public)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(sign_certificates=False), True),
            (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName([alternative]), False),
            (x509.SubjectKeyIdentifier.from_public_key(public), False),
            (issuer, False),
        ):
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    # An hour back: the clock of a client on another machine may be behind.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _public_bundle() -> bytes:
    import certifi

    return Path(certifi.where()).read_bytes()
