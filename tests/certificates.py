"""Certificates for tests: a CA of a test's own, and signers it vouches for."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import NoEncryption as Plain
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC)
_NO_USE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


@dataclass(frozen=True)
class Signer:
    chain: bytes
    key: bytes
    anchor: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        files = folder / "chain.pem", folder / "key.pem"
        for file, content in zip(files, (self.chain, self.key), strict=True):
            file.write_bytes(content)
        return files


def _new_key(kind: str) -> Any:
    match kind:
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "koblitz":
            return ec.generate_private_key(ec.SECP256K1())
    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Platform"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def make_signer(
    kind: str = "es256",
    *,
    starts: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=30),
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ocsp: str = "http://127.0.0.1:9/",
) -> Signer:
    ca_key, key = _new_key("es256"), _new_key(kind)

    def certificate(name: str, public_key: Any) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=_name("Example CA"),
            subject_name=_name(name),
            public_key=public_key,
            serial_number=x509.random_serial_number(),
            not_valid_before=NOW + min(starts, timedelta(days=-5)) if name == "Example CA" else NOW + starts,
            not_valid_after=NOW + timedelta(days=60) if name == "Example CA" else NOW + ends,
        )

    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        certificate("Example CA", ca_key.public_key())
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(x509.KeyUsage(**_NO_USE | {"key_cert_sign": True, "crl_sign": True}), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    asked_at = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp)
    )
    leaf = (
        certificate("Example Signer", key.public_key())
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.KeyUsage(**_NO_USE | {"digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityInformationAccess([asked_at]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pems = [one.public_bytes(Encoding.PEM) for one in (leaf, ca)]
    return Signer(b"".join(pems), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, Plain()), pems[1])


def with_password(signer: Signer) -> Signer:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(signer.key, None)
    hidden = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    return replace(signer, key=hidden)
