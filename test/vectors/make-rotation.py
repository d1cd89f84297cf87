#!/usr/bin/env python3
"""Makes rotation.json, by an implementation that shares no code with amesh: statements about a next key.

It also replaces the cases in wire.json whose names begin with "rotation".
Needs the package `cryptography`. Run it in this folder: python3 make-rotation.py
"""

import base64
import json

from common import Key, b64, devices_of, digest, random22

NOW = 1764000000
DAY = 86400
LABEL = "amesh rotation v1\n"
WIRE = json.load(open("wire.json"))
DEVICES = devices_of(WIRE)
FORMER, TARGET, STRANGER = DEVICES["controller"], DEVICES["target"], DEVICES["stranger"]
NEXT, WORKER = Key.of("amesh next key 0"), Key.of("amesh working key 0")


def point(key):
    odd = base64.urlsafe_b64decode(key.y + "=")[-1] & 1
    return b64(bytes([2 + odd]) + base64.urlsafe_b64decode(key.x + "="))


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def claims(former=FORMER, follower=NEXT, **more):
    all_of_them = {"old": point(former), "new": point(follower), "target": TARGET.id, "iat": NOW, **more}
    return {name: value for name, value in all_of_them.items() if value is not None}


def statement(payload=None, text=None, by=FORMER, new=NEXT, label=LABEL, raw=None, high=(False, False)):
    body = text if text is not None else dump(payload if payload is not None else claims()).encode()
    part = raw if raw is not None else b64(body)
    return ".".join([part, b64(by.sign(label + part, high[0])), b64(new.sign(label + part, high[1]))])


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def with_unused_bit(text):
    """The same bytes, whose last character has a bit that no byte needs."""
    return text[:-1] + ALPHABET[ALPHABET.index(text[-1]) | 1]


cases = []


def case(name, text, former=FORMER, new=NEXT, target=TARGET.id, iat=NOW):
    read = former and {"formerId": former.id, "formerKey": point(former), "nextId": new.id, "nextKey": point(new), "targetId": target, "issuedAt": iat}
    cases.append({"name": name, "text": text, "rotation": read})


def bad(name, text):
    case(name, text, former=None)


GOOD = statement()
PAYLOAD, OLD_SIGNATURE, NEW_SIGNATURE = GOOD.split(".")
JSON = dump(claims())

case("of a caller", GOOD)
case("of a target that tells its callers", statement(claims(target=FORMER.id)), target=FORMER.id)
case("back to an earlier key", statement(claims(NEXT, FORMER), by=NEXT, new=FORMER), former=NEXT, new=FORMER)
case("of the first second", statement(claims(iat=0)), iat=0)
case("of the last second", statement(claims(iat=10**11)), iat=10**11)

bad("no text", "")
bad("no signature", PAYLOAD)
bad("one signature", f"{PAYLOAD}.{OLD_SIGNATURE}")
bad("the signature of the former key alone, twice", f"{PAYLOAD}.{OLD_SIGNATURE}.{OLD_SIGNATURE}")
bad("the signature of the next key alone, twice", f"{PAYLOAD}.{NEW_SIGNATURE}.{NEW_SIGNATURE}")
bad("the signatures in the other order", f"{PAYLOAD}.{NEW_SIGNATURE}.{OLD_SIGNATURE}")
bad("a third signature", f"{GOOD}.{OLD_SIGNATURE}")
bad("the former key did not sign", statement(by=STRANGER))
bad("the next key did not sign", statement(new=STRANGER))
bad("the former key signed for the next one, too", statement(new=FORMER))
bad("the next key signed for the former one, too", statement(by=NEXT))
bad("the signatures of another statement", f"{b64(dump(claims(iat=NOW + 1)).encode())}.{OLD_SIGNATURE}.{NEW_SIGNATURE}")
bad("a signature of zeros by the next key", f"{PAYLOAD}.{OLD_SIGNATURE}.{'A' * 86}")
bad("a signature of zeros by the former key", f"{PAYLOAD}.{'A' * 86}.{NEW_SIGNATURE}")
bad("the high s of the former key", statement(high=(True, False)))
bad("the high s of the next key", statement(high=(False, True)))
bad("without its label", statement(label=""))
bad("the label of a list", statement(label="amesh list v2\n"))
bad("the label in another version", statement(label="amesh rotation v2\n"))
bad("the label without its line feed", statement(label=LABEL[:-1]))

bad("the same key twice", statement(claims(FORMER, FORMER), new=FORMER))
bad("the next key as an uncompressed point", statement(claims(new=b64(b"\x04" + base64.urlsafe_b64decode(NEXT.x + "=") + base64.urlsafe_b64decode(NEXT.y + "=")))))
bad("the next key as a point of another form", statement(claims(new=b64(b"\x05" + base64.urlsafe_b64decode(NEXT.x + "=")))))
bad("the next key off the curve", statement(claims(new=b64(b"\x02" + (5).to_bytes(32, "big")))))
bad("the next key beyond the field", statement(claims(new=b64(b"\x02" + b"\xff" * 32))))
bad("the other point with the x of the next key", statement(claims(new=b64(bytes([base64.urlsafe_b64decode(point(NEXT))[0] ^ 1]) + base64.urlsafe_b64decode(NEXT.x + "=")))))
bad("an ID in place of the next key", statement(claims(new=NEXT.id)))
bad("padding behind the next key", statement(claims(new=point(NEXT) + "=")))
bad("a target that is no ID", statement(claims(target="orders-api")))
bad("a target with a character too many", statement(claims(target=TARGET.id + "A")))
bad("several targets", statement(claims(target=[TARGET.id])))
bad("a key as the target", statement(claims(target=point(TARGET))))

bad("no target", statement(claims(target=None)))
bad("no time", statement(claims(iat=None)))
bad("an unknown claim", statement({**claims(), "exp": NOW + DAY}))
bad("claims in another order", statement(dict(reversed(claims().items()))))
bad("a doubled claim", statement(text=(JSON[:-1] + f',"iat":{NOW}}}').encode()))
bad("another value first of a doubled claim", statement(text=JSON.replace('"iat":', f'"iat":{NOW + 9},"iat":').encode()))
bad("a space", statement(text=JSON.replace(":", ": ", 1).encode()))
bad("a line feed behind the claims", statement(text=(JSON + "\n").encode()))
bad("a byte order mark", statement(text=b"\xef\xbb\xbf" + JSON.encode()))
bad("an escape that is not needed", statement(text=JSON.replace("am_", "\\u0061m_").encode()))
bad("bytes that are no UTF-8", statement(text=JSON.replace("am_", "am_\xff").encode("latin-1")))
bad("a list of the claims", statement(text=f"[{JSON}]".encode()))
bad("no JSON", statement(text=b"{"))
bad("null", statement(text=b"null"))
bad("a time as text", statement(claims(iat=str(NOW))))
bad("a time with a fraction", statement(claims(iat=NOW + 0.5)))
bad("a time written with a fraction", statement(text=JSON.replace(f"{NOW}", f"{NOW}.0").encode()))
bad("a time written with an exponent", statement(text=JSON.replace(f"{NOW}", "1764e6").encode()))
bad("a time before 1970", statement(claims(iat=-1)))
bad("a time in milliseconds", statement(claims(iat=NOW * 1000)))
bad("a time of minus zero", statement(text=JSON.replace(f"{NOW}", "-0").encode()))

bad("padding behind the payload", statement(raw=PAYLOAD + "="))
bad("padding behind a signature", GOOD + "==")
bad("base64 in place of base64url", GOOD.replace("-", "+").replace("_", "/"))
bad("a signature with unused bits", with_unused_bit(GOOD))
bad("a payload with unused bits", statement(raw=with_unused_bit(PAYLOAD)))
bad("a signature in DER", f"{PAYLOAD}.{OLD_SIGNATURE}.{b64(bytes([0x30, 0x44]) + base64.urlsafe_b64decode(NEW_SIGNATURE + '=='))}")
bad("a space before it", " " + GOOD)
bad("a line feed behind it", GOOD + "\n")
bad("two, joined", f"{GOOD}, {GOOD}")
bad("more than 1,024 characters", statement({**claims(), "note": "a" * 600}))
bad("a working key's statement", f"{b64(dump({'alg': 'ES256', 'typ': 'amesh-request-key+jwt'}).encode())}.{PAYLOAD}.{NEW_SIGNATURE}")

times = [
    {"name": name, "issuedAt": NOW, "nowMs": now_ms, "isInTime": good}
    for name, now_ms, good in [
        ("now", NOW * 1000, True),
        ("300 s ahead of the clock", (NOW - 300) * 1000, True),
        ("300 s and a millisecond ahead", (NOW - 300) * 1000 - 1, False),
        ("30 days old", (NOW + 30 * DAY) * 1000, True),
        ("30 days and a millisecond old", (NOW + 30 * DAY) * 1000 + 1, False),
        ("at no time", None, False),
    ]
]

fields = []


def field(value, meaning):
    fields.append({"value": value, "meaning": meaning})


field(GOOD, {"kind": "rotate", "text": GOOD})
for kind in ("withdraw", "retire"):
    field(f"{kind}={NEXT.id}", {"kind": kind, "nextId": NEXT.id})
    for text in (f"{kind}=", kind, f"{kind}={NEXT.id}x", f"{kind}={NEXT.id}.", f"{kind}= {NEXT.id}", f"{kind.upper()}={NEXT.id}", f'{kind}="{NEXT.id}"', f"{kind}={NEXT.id}, {kind}={NEXT.id}", f"{kind}={NEXT.id};x"):
        field(text, None)
field(f"withdraw={GOOD}", {"kind": "withdraw-statement", "text": GOOD})
for text in (f"retire={GOOD}", f"withdraw={GOOD}.", f"withdraw= {GOOD}", f"withdraw={GOOD[:-1]}"):
    field(text, None)
for text in ("", "rotate", "accepted", NEXT.id, f"accept={NEXT.id}", f"withdraw={NEXT.id}\n"):
    field(text, None)

# Requests that carry a statement. A verifier only takes care that it is signed.
requests = []


def carries(name, signed=GOOD, sent=GOOD, code=None, form="authmesh", key=None, covers=True, method="GET", body=b"", fields=None):
    headers = {"content-digest": f"sha-256=:{base64.b64encode(digest(body)).decode()}:"} if body else {}
    headers.update(fields or {})
    if key is not None:
        headers["authmesh-key"] = key
    if signed is not None:
        headers["authmesh-rotation"] = signed
    order = ["content-digest", "content-type", "authmesh-target", "authmesh-key", "authmesh-rotation", "accept-signature"]
    covered = [each for each in order if each in headers and (covers or each != "authmesh-rotation")]
    nonce = random22("rotation: " + name)
    parameters = f'({" ".join(dump(each) for each in ["@method", "@authority", "@path", "@query", *covered])});created={NOW};nonce="{nonce}";keyid="{FORMER.id}";tag="amesh"'
    lines = [f'"@method": {method}', '"@authority": api.example.com', '"@path": /api/orders', '"@query": ?']
    base = "\n".join([*lines, *(f'"{each}": {headers[each]}' for each in covered), f'"@signature-params": {parameters}'])
    signature = (FORMER if key is None else WORKER).sign(base)
    headers.pop("authmesh-rotation", None)
    if sent is not None:
        headers["authmesh-rotation"] = sent
    if form == "authmesh":
        headers["authorization"] = f'AuthMesh v="2",id="{FORMER.id}",ts="{NOW}",nonce="{nonce}",sig="{b64(signature)}"'
    else:
        headers["signature-input"] = f"amesh={parameters}"
        headers["signature"] = f"amesh=:{base64.b64encode(signature).decode()}:"
    requests.append({
        "name": f"rotation: {name}",
        "format": form,
        "now": NOW,
        "expect": "reject" if code else "accept",
        **({"code": code} if code else {}),
        "signatureBase": base,
        "request": {"method": method, "target": "/api/orders", "authority": "api.example.com", "headers": headers, "body": base64.b64encode(body).decode()},
    })


def working_key():
    jwk = {"kty": "EC", "crv": "P-256", "x": WORKER.x, "y": WORKER.y}
    payload = {"iss": FORMER.id, "cnf": {"jwk": jwk}, "iat": NOW - 300, "exp": NOW + 3300, "jti": random22("rotation")}
    signed = f"{b64(dump({'alg': 'ES256', 'typ': 'amesh-request-key+jwt'}).encode())}.{b64(dump(payload).encode())}"
    return f"{signed}.{b64(FORMER.sign(signed))}"


OTHER = statement(claims(iat=NOW + 1))
ASK = 'amesh=("@status");created;nonce;keyid;tag="amesh-answer"'
for form in ("authmesh", "rfc9421"):
    missing = "component_not_covered" if form == "rfc9421" else "invalid_signature"
    carries(f"a GET, {form}", form=form)
    carries(f"a POST for a named target that asks for a proof, {form}", form=form, method="POST", body=b"{}",
            fields={"content-type": "application/json", "authmesh-target": TARGET.id, "accept-signature": ASK})
    carries(f"a request of a working key, {form}", form=form, key=working_key())
    carries(f"withdraws the next key, {form}", f"withdraw={NEXT.id}", f"withdraw={NEXT.id}", form=form)
    carries(f"a text without a meaning, {form}", "x", "x", form=form)
    carries(f"stripped, {form}", sent=None, code="invalid_signature", form=form)
    carries(f"added, {form}", signed=None, code=missing, form=form)
    carries(f"swapped for another one of the device, {form}", sent=OTHER, code="invalid_signature", form=form)
    carries(f"swapped for a withdrawal, {form}", sent=f"withdraw={NEXT.id}", code="invalid_signature", form=form)
    carries(f"two, joined, {form}", sent=f"{GOOD}, {GOOD}", code="invalid_signature", form=form)
    carries(f"an empty one added, {form}", signed=None, sent="", code=missing, form=form)
carries("not covered", code="component_not_covered", form="rfc9421", covers=False)

assert len({each["name"] for each in cases}) == len(cases)
assert all(each["text"] != GOOD for each in cases[1:])
WIRE["cases"] = [each for each in WIRE["cases"] if not each["name"].startswith("rotation: ")] + requests
with open("wire.json", "w") as file:
    file.write(json.dumps(WIRE, indent=1) + "\n")
with open("rotation.json", "w") as file:
    about = "Statements about a next key (docs/protocol.md, Rotation), and the field that carries them. Test keys only; the former key and the target are those of wire.json. `rotation` is null for a text that is no statement."
    made = {"about": about, "former": FORMER.id, "next": NEXT.id, "target": TARGET.id, "statements": cases, "times": times, "fields": fields}
    file.write(json.dumps(made, indent=1) + "\n")
print(len(cases), "statements,", sum(each["rotation"] is not None for each in cases), "right;", len(requests), "requests")
