"""Keys and encodings for the scripts in this folder, which share no code with amesh. Needs the package `cryptography`."""

import base64
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def devices_of(wire):
    """The devices of wire.json, with their private keys."""
    return {name: Key.from_base64(device["privateKeyJwk"]["d"]) for name, device in wire["devices"].items()}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def digest(data):
    return hashlib.sha256(data).digest()


def random22(text):
    """What has to be new each time, and the same each time this runs."""
    return b64(digest(b"amesh vectors: " + text.encode())[:16])


class Key:
    def __init__(self, scalar):
        self.private = ec.derive_private_key(scalar, ec.SECP256R1())
        point = self.private.public_key().public_numbers()
        self.x, self.y = (b64(n.to_bytes(32, "big")) for n in (point.x, point.y))
        public = bytes([2 + (point.y & 1)]) + point.x.to_bytes(32, "big")
        self.key = b64(public)
        self.id = "am_" + b64(digest(public))[:16]

    @staticmethod
    def of(text):
        return Key(int.from_bytes(digest(text.encode()), "big") % (ORDER - 1) + 1)

    @staticmethod
    def from_base64(scalar):
        return Key(int.from_bytes(base64.urlsafe_b64decode(scalar + "="), "big"))

    def sign(self, text, high=False):
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = utils.decode_dss_signature(self.private.sign(text.encode(), algorithm))
        if (s > ORDER // 2) != high:
            s = ORDER - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    @property
    def jwk(self):
        return {"kty": "EC", "crv": "P-256", "x": self.x, "y": self.y}
