"""Signatures of a folder's files, made and checked by elliptic keys.

The format is that of OpenSSF model signing, v1.0: a Sigstore bundle with a DSSE envelope around an
in-toto statement, which names every file with its SHA-256. Only `cryptography` is needed; what is
written here, the package `model-signing` verifies, and the other way round.
Source: https://github.com/ossf/model-signing-spec
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from leansight.runtime.trust.policy import SIGNATURE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
_NO_SIGNATURE: Final = "its signature is damaged"


def sign(name: str, digests: Mapping[str, str], private_key: bytes) -> bytes:
    """Return the signature of files.

    Args:
        name: what is signed is called.
        digests: the SHA-256 of each file, in hexadecimal.
        private_key: PEM, on the curve P-256, P-384 or P-521, without a password.

    Raises:
        ValueError: it is no such key.

    """
    key = _private_key(private_key)
    payload = json.dumps(_statement(name, digests)).encode()
    signature = key.sign(_authenticated(payload), _algorithm(key.curve))
    values = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": _hint_of(key.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": _base64(payload),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": _base64(signature), "keyid": ""}],
        },
    }
    return json.dumps(values).encode() + b"\n"


def check(signature: bytes, digests: Mapping[str, str], public_keys: Sequence[bytes]) -> str:
    """Return the hint of the key by which exactly these files are signed.

    Args:
        signature: what `sign` has made.
        digests: the SHA-256 of each file that is there, in hexadecimal.
        public_keys: PEM, each.

    Raises:
        ValueError: it is signed by none of the keys, a file is not the one that was signed, one is
            missing, or there is one more.

    """
    try:
        values = json.loads(signature)
        envelope = values["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        (signed,) = envelope["signatures"]
        data = base64.b64decode(signed["sig"], validate=True)
        is_known = envelope["payloadType"] == _PAYLOAD_TYPE
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(_NO_SIGNATURE) from error
    hint = next((hint for key in public_keys if (hint := _signer(key, payload, data))), "")
    if not hint and _has_certificate(values):
        raise ValueError(
            "it is signed by a certificate, such as an identity of Sigstore, which the package "
            "model-signing verifies, and by none of the trusted keys"
        )
    if not is_known or not hint:
        raise ValueError("it is signed by none of the trusted keys")
    _compare(_signed_digests(payload), digests)
    return hint


def _statement(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    names = sorted(digests)
    together = hashlib.sha256(b"".join(bytes.fromhex(digests[file]) for file in names))
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [SIGNATURE],
    }
    resources = [{"name": file, "algorithm": "sha256", "digest": digests[file]} for file in names]
    return {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": together.hexdigest()}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {"serialization": serialization, "resources": resources},
    }


def _signed_digests(payload: bytes) -> dict[str, str]:
    """Return the files of a statement whose signature holds; ValueError if it is another one."""
    try:
        statement = json.loads(payload)
        resources = statement["predicate"]["resources"]
        types = statement["_type"], statement["predicateType"]
        found = {file["name"]: file["digest"] for file in resources}
        are_sha256 = all(file["algorithm"] == "sha256" for file in resources)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(_NO_SIGNATURE) from error
    if types != (_STATEMENT_TYPE, _PREDICATE_TYPE) or not are_sha256 or len(found) < len(resources):
        raise ValueError("its signature is of another kind than OpenSSF model signing v1.0")
    return found


def _has_certificate(values: Mapping[str, Any]) -> bool:
    """Return whether a signature is of one who had a certificate, instead of a known key."""
    material = values.get("verificationMaterial")
    kinds = {"certificate", "x509CertificateChain"}
    return isinstance(material, dict) and not kinds.isdisjoint(material)


def _compare(signed: Mapping[str, str], there: Mapping[str, str]) -> None:
    for name in sorted({*signed, *there}):
        if name not in there:
            raise ValueError(f"{name} was signed and is missing")
        if name not in signed:
            raise ValueError(f"{name} is there and was not signed")
        if signed[name] != there[name]:
            raise ValueError(f"{name} is not the file that was signed")


def _signer(public_key: bytes, payload: bytes, signature: bytes) -> str:
    """Return the hint of the key if it has signed the payload, else ""."""
    from cryptography.exceptions import InvalidSignature

    key = _public_key(public_key)
    try:
        key.verify(signature, _authenticated(payload), _algorithm(key.curve))
    except InvalidSignature:
        return ""
    return _hint_of(key)


def _authenticated(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    return f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def _private_key(pem: bytes) -> "ec.EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("it is no private key in PEM without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise ValueError("it is no elliptic key on P-256, P-384 or P-521")
    return key


def _public_key(pem: bytes) -> "ec.EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise ValueError("a trusted key is no public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise ValueError("a trusted key is no elliptic key on P-256, P-384 or P-521")
    return key


def _algorithm(curve: "ec.EllipticCurve") -> "ec.ECDSA":
    """Return ECDSA with the hash that Sigstore has for a curve."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    chosen = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}
    return ec.ECDSA(chosen.get(curve.name, hashes.SHA512()))


def _hint_of(key: "ec.EllipticCurvePublicKey") -> str:
    """Return what a signature calls a key: the SHA-256 of its PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
