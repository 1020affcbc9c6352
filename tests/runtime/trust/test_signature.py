"""Is a bundle loaded only as one of the trusted keys has signed it, where that is asked?"""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import tiny_models
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hostile.attacks import forge, replace

from leansight.runtime import bundle as bundle_module
from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.errors import BundleError, DataError, LeansightError
from leansight.runtime.installation.versions import Installation
from leansight.runtime.trust import policy
from leansight.runtime.trust.policy import SIGNATURE, trusted_keys
from leansight.sdk.commands import cli

PEM = serialization.Encoding.PEM


def key_pair(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> Path:
    """Write NAME.key and NAME.pem; return the first."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(PEM, form, serialization.NoEncryption())
    public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.key").write_bytes(private)
    (folder / f"{name}.pem").write_bytes(public)
    return folder / f"{name}.key"


def leansight(*words: object) -> str:
    done = CliRunner().invoke(cli.leansight, [str(word) for word in words])
    if isinstance(done.exception, LeansightError):
        raise done.exception
    return done.output


@pytest.fixture
def signed(tiny_bundle: Path, tmp_path: Path) -> Path:
    path = tiny_models.golden_bundle(tiny_bundle)
    leansight("sign", path, "--key", key_pair(tmp_path, "mine"))
    return path


@pytest.fixture
def on_the_pi(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The policy of a machine that trusts `mine.pem` alone, by which `signed` is signed."""
    assert signed.is_dir()
    file = tmp_path / "trust.toml"
    file.write_text('keys = ["mine.pem"]\n')
    monkeypatch.setattr(policy, "POLICY", file)
    return file


def test_a_machine_without_a_policy_loads_everything(signed: Path, tiny_bundle: Path) -> None:
    assert Bundle.load(signed).require_trust() == ""
    assert Bundle.load(tiny_bundle).signature() is None


@pytest.mark.usefixtures("on_the_pi")
def test_a_machine_with_a_policy_loads_what_its_keys_have_signed(
    signed: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    packed = shutil.make_archive(str(signed), "zip", signed.parent, signed.name)
    assert Bundle.load(packed).labels == Classifier.load(signed).labels == tiny_models.LABELS
    assert Installation(tmp_path / "signs").install(Bundle.load(packed)).bundle.signature()
    with pytest.raises(BundleError, match=r"tiny.bundle is not signed: this machine loads only"):
        Bundle.load(tiny_bundle)


@pytest.mark.usefixtures("on_the_pi")
def test_another_key_is_not_trusted(signed: Path, tmp_path: Path) -> None:
    key_pair(tmp_path, "mine")  # another pair in its place
    with pytest.raises(BundleError, match="signed by none of the trusted keys"):
        Bundle.load(signed)


def removed(name: str) -> Callable[[Path], object]:
    return lambda path: (path / name).unlink()


def added(path: Path) -> None:
    (path / "notes.txt").write_text("hello")


def other_payload(path: Path) -> None:
    values = json.loads((path / SIGNATURE).read_text())
    payload = values["dsseEnvelope"]["payload"]
    values["dsseEnvelope"]["payload"] = payload[:100] + ("A" if payload[100] != "A" else "B")
    values["dsseEnvelope"]["payload"] += payload[101:]
    (path / SIGNATURE).write_text(json.dumps(values))


@pytest.mark.usefixtures("on_the_pi")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (removed(SIGNATURE), "is not signed"),
        (added, "notes.txt is there and was not signed"),
        (lambda path: replace(path, "model.onnx", b"other"), "is not the file that was signed"),
        (
            lambda path: forge(path, lambda m: m.update(labels=["a", "b", "c"])),
            r"bundle.json is not the file that was signed",
        ),
        (
            lambda path: (
                removed("model.onnx")(path),
                forge(path, lambda m: m["files"].pop("model.onnx")),
            ),
            r"bundle.json is not the file|model.onnx was signed and is missing",
        ),
        (other_payload, "signed by none of the trusted keys"),
        (lambda path: (path / SIGNATURE).write_text("[]"), "its signature is damaged"),
        (lambda path: (path / SIGNATURE).write_bytes(bytes(2 << 20)), "at most"),
    ],
)
def test_whatever_is_changed_is_noticed(
    change: Callable[[Path], object], reason: str, signed: Path
) -> None:
    Bundle.load(signed)
    change(signed)
    with pytest.raises(BundleError, match=reason) as raised:
        Bundle.load(signed)
    assert len(str(raised.value).splitlines()) == 1


def test_the_commands_say_who_has_signed(signed: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    out = leansight("verify", signed, "--key", tmp_path / "mine.pem")
    assert out.startswith("tiny: signed by the key ")
    assert leansight("verify", signed) == "tiny is signed, and no key is named\n"
    assert leansight("verify", tiny_bundle) == "tiny is unsigned\n"
    key_pair(tmp_path, "theirs")
    with pytest.raises(BundleError, match="none of the trusted keys"):
        leansight("verify", signed, "--key", tmp_path / "theirs.pem")


@pytest.mark.usefixtures("on_the_pi")
@pytest.mark.parametrize("kind", ["certificate", "x509CertificateChain"])
def test_a_signature_of_an_identity_is_named_as_one(signed: Path, kind: str) -> None:
    values = json.loads((signed / SIGNATURE).read_text())
    values["verificationMaterial"] = {kind: {"rawBytes": ""}, "tlogEntries": []}
    (signed / SIGNATURE).write_text(json.dumps(values))
    assert Bundle.load(signed).require_trust()  # it is a key of ours all the same
    values["dsseEnvelope"]["signatures"][0]["sig"] = ""
    (signed / SIGNATURE).write_text(json.dumps(values))
    with pytest.raises(BundleError, match=r"by a certificate, such as an identity of Sigstore"):
        Bundle.load(signed)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_longer_keys_sign_as_well(
    tiny_bundle: Path, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    leansight("sign", tiny_bundle, "--key", key_pair(tmp_path, "long", curve))
    assert Bundle.load(tiny_bundle).require_trust([tmp_path / "long.pem"])


def test_a_key_of_another_kind_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    form = serialization.PrivateFormat.PKCS8
    key = ed25519.Ed25519PrivateKey.generate()
    other = tmp_path / "other.key"
    other.write_bytes(key.private_bytes(PEM, form, serialization.NoEncryption()))
    for data, reason in ((other.read_bytes(), "P-256"), (b"no key", "no private key in PEM")):
        other.write_bytes(data)
        with pytest.raises(DataError, match=rf"other.key is not used: .*{reason}"):
            leansight("sign", tiny_bundle, "--key", other)


@pytest.mark.parametrize("text", ["", "keys = []", "keys = 'a'", "keys = [1]", "key = ['a']", "["])
def test_a_policy_that_names_no_keys_trusts_nobody(
    text: str, on_the_pi: Path, tiny_bundle: Path
) -> None:
    on_the_pi.write_text(text)
    with pytest.raises(BundleError, match=r"trust.toml or a key that it names cannot be read"):
        Bundle.load(tiny_bundle)
    on_the_pi.write_text('keys = ["not-there.pem"]')
    with pytest.raises(BundleError, match=r"not-there.pem"):
        Bundle.load(tiny_bundle)


def test_the_policy_is_where_the_documents_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(bundle_module.POLICY) == "/etc/leansight/trust.toml"
    monkeypatch.setattr(policy, "POLICY", Path("/nowhere/trust.toml"))
    assert trusted_keys() is None


@pytest.mark.skipif(
    importlib.util.find_spec("model_signing") is None, reason="model-signing is not installed"
)
def test_model_signing_verifies_what_leansight_signs(signed: Path, tmp_path: Path) -> None:
    from model_signing import hashing, verifying

    ignored = hashing.Config().set_ignored_paths(paths=[signed / SIGNATURE])
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "mine.pem")
    verifier.set_hashing_config(ignored).verify(signed, signed / SIGNATURE)


# `--trust FILE`, beside the policy of the machine


@pytest.fixture
def trust(signed: Path, tmp_path: Path) -> Path:
    """A policy that trusts `mine.pem`, by which `signed` is signed."""
    assert signed.is_dir()
    file = tmp_path / "own.toml"
    file.write_text('keys = ["mine.pem"]\n')
    return file


COMMANDS = {
    "classify": lambda bundle, folder: ("classify", bundle, folder / "photo.png"),
    "check": lambda bundle, _: ("check", bundle),
    "bench": lambda bundle, _: ("bench", bundle, "--runs", 1, "--most-seconds", 0),
    "install": lambda bundle, folder: ("install", bundle, "--to", folder / "signs"),
    "stream": lambda bundle, folder: ("stream", bundle, "--source", folder / "drive.mp4"),
}


@pytest.mark.usefixtures("video")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_loads_what_its_own_policy_trusts(
    name: str, signed: Path, tiny_bundle: Path, trust: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), tiny_models.stripes("level"))
    leansight(*COMMANDS[name](signed, tmp_path), "--trust", trust)
    for unsigned in (tiny_bundle, Path(shutil.make_archive(str(tiny_bundle), "zip", tiny_bundle))):
        with pytest.raises(BundleError, match=r"is not signed: .*own.toml loads only signed"):
            leansight(*COMMANDS[name](unsigned, tmp_path), "--trust", trust)


def test_a_policy_of_ones_own_does_not_replace_the_machines(
    signed: Path, trust: Path, on_the_pi: Path, tmp_path: Path
) -> None:
    key_pair(tmp_path, "other")
    on_the_pi.write_text('keys = ["other.pem"]\n')
    with pytest.raises(BundleError, match="signed by none of the trusted keys"):
        Bundle.load(signed, trust=trust)


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "No such file"), ("keys = []", "list of"), ("a", "Expected")]
)
def test_a_policy_that_cannot_be_read_is_named(
    text: str | None, reason: str, signed: Path, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BundleError, match=rf"own.toml or a key .* cannot be read: .*{reason}"):
        Bundle.load(signed, trust=file)


def test_a_bare_file_cannot_be_trusted(signed: Path, trust: Path) -> None:
    with pytest.raises(BundleError, match=r"model.onnx cannot be signed: .*own.toml"):
        leansight("bench", signed / "model.onnx", "--trust", trust)
