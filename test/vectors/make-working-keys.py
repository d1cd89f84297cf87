#!/usr/bin/env python3
"""Makes the cases of working keys in wire.json, by an implementation that shares no code with amesh.

Needs the package `cryptography`. Run it in this folder: python3 make-working-keys.py
It replaces the cases whose names begin with "working key", and leaves all others as they are.
"""

import base64
import json

from common import Key, b64, devices_of, digest, random22

PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
NOW = 1764000000
FILE = "wire.json"
REQUEST_TYPE, ANSWER_TYPE = "amesh-request-key+jwt", "amesh-answer-key+jwt"


wire = json.load(open(FILE))
DEVICES = devices_of(wire)
DEVICE, TARGET, STRANGER = DEVICES["controller"], DEVICES["target"], DEVICES["stranger"]
WORKER, OTHER = Key.of("amesh working key 0"), Key.of("amesh working key 1")
ENDED = random22("a delegation that was revoked")
CUT_AT = NOW - 20000


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def claims(key=WORKER, **more):
    all_of_them = {"iss": DEVICE.id, "cnf": {"jwk": key.jwk}, "iat": NOW - 300, "exp": NOW + 3300, "jti": random22(key.id), **more}
    return {name: value for name, value in all_of_them.items() if value is not None}


def lent(scope="orders:read", to=(TARGET.id,), **more):
    return claims(sub="report-agent", scope=scope, aud=list(to), **more)


def statement(payload=None, by=DEVICE, high=False, header=None, text=None, typ=REQUEST_TYPE):
    head = header or {"alg": "ES256", "typ": typ}
    body = text if text is not None else dump(payload if payload is not None else claims())
    signed = f"{b64(dump(head).encode())}.{b64(body.encode())}"
    return f"{signed}.{b64(by.sign(signed, high))}"


cases = []


def case(name, carried, code=None, form="authmesh", key=WORKER, device=DEVICE.id, created=NOW, now=NOW, sent=None,
         method="GET", target="/api/orders", body=b"", fields=None, uncovered=(), stripped=False, delegates=False):
    """A request that carries one statement (signed as `carried`, sent as `sent`), signed by `key`."""
    headers = dict(fields or {})
    if body:
        headers["content-digest"] = f"sha-256=:{base64.b64encode(digest(body)).decode()}:"
    if carried is not None:
        headers["authmesh-key"] = carried
    order = ["content-digest", "content-type", "content-encoding", "authmesh-target", "authmesh-key"]
    covered = [name for name in order if name in headers and name not in uncovered]
    path, _, query = target.partition("?")
    names = ["@method", "@authority", "@path", "@query", *covered]
    nonce = random22(name)
    parameters = f'({" ".join(dump(each) for each in names)});created={created};nonce="{nonce}";keyid="{device}";tag="amesh"'
    lines = [f'"@method": {method}', '"@authority": api.example.com', f'"@path": {path}', f'"@query": ?{query}']
    lines += [f'"{each}": {headers[each].strip()}' for each in covered]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    signature = key.sign(base)
    if sent is not None:
        headers["authmesh-key"] = sent
    if stripped:
        del headers["authmesh-key"]
    if form == "authmesh":
        headers["authorization"] = f'AuthMesh v="2",id="{device}",ts="{created}",nonce="{nonce}",sig="{b64(signature)}"'
    else:
        headers["signature-input"] = f"amesh={parameters}"
        headers["signature"] = f"amesh=:{base64.b64encode(signature).decode()}:"
    request = {"method": method, "target": target, "authority": "api.example.com", "headers": headers, "body": base64.b64encode(body).decode()}
    cases.append({
        "name": f"working key: {name}",
        "format": form,
        "now": now,
        "expect": "reject" if code else "accept",
        **({"code": code} if code else {}),
        **({"delegates": True} if delegates else {}),
        "signatureBase": base,
        "request": request,
    })


BAD = "key_statement_invalid"
GOOD = statement()
JSON = {"content-type": "application/json"}

for form in ("authmesh", "rfc9421"):
    case(f"a GET, {form}", GOOD, form=form)
    case(f"a POST with a body, {form}", GOOD, form=form, method="POST", target="/p?x=1", body=b"{}", fields=JSON)
    case(f"a request for a named target, {form}", GOOD, form=form, fields={"authmesh-target": TARGET.id})
case("the first second of its life", statement(claims(iat=NOW)))
case("the last second of its life", statement(claims(exp=NOW)))
case("a life of 24 hours", statement(claims(exp=NOW - 300 + 86400)))

case("expired", statement(claims(exp=NOW - 1)), BAD, created=NOW - 2)
case("expired while the request was on its way", statement(claims(exp=NOW)), BAD, created=NOW, now=NOW + 1)
case("signed after its end, by a clock ahead", statement(claims(exp=NOW)), BAD, created=NOW + 1)
case("from the future", statement(claims(iat=NOW + 1)), BAD)
case("from the future, but within the skew of clocks", statement(claims(iat=NOW + 20)), BAD)
case("a life of more than 24 hours", statement(claims(exp=NOW - 300 + 86401)), BAD)
case("a life that ends before it begins", statement(claims(iat=NOW, exp=NOW - 1)), BAD)
case("signed before the keys of the device were cut", statement(claims(iat=CUT_AT - 1, exp=NOW + 3300)), BAD)
case("signed right when the keys of the device were cut", statement(claims(iat=CUT_AT, exp=NOW + 3300)))

case("of a device that is not in the list", statement(claims(iss=STRANGER.id), by=STRANGER), "unknown_device", device=STRANGER.id)
case("of a device that may not call", statement(claims(iss=TARGET.id), by=TARGET), "role_not_allowed", device=TARGET.id)
case("of another device than the request names", statement(claims(iss=TARGET.id), by=TARGET), BAD)
case("signed by another device", statement(by=TARGET), BAD)
case("signed by itself", statement(by=WORKER), BAD)
case("a changed claim", ".".join([GOOD.split(".")[0], statement(claims(exp=NOW + 3301)).split(".")[1], GOOD.split(".")[2]]), BAD)
case("the high s", statement(high=True), BAD)
case("a signature of zeros", ".".join([*GOOD.split(".")[:2], "A" * 86]), BAD)

case("the other kind", statement(typ=ANSWER_TYPE), BAD)
case("another typ", statement(typ="amesh-grant+jwt"), BAD)
case("a typ in upper case", statement(typ="AMESH-REQUEST-KEY+JWT"), BAD)
case("no alg", statement(header={"alg": "none", "typ": REQUEST_TYPE}), BAD)
case("another alg", statement(header={"alg": "HS256", "typ": REQUEST_TYPE}), BAD)
case("a header with a further member", statement(header={"alg": "ES256", "typ": REQUEST_TYPE, "kid": "x"}), BAD)
case("header members in another order", statement(header={"typ": REQUEST_TYPE, "alg": "ES256"}), BAD)
case("a doubled claim", statement(text=dump(claims())[:-1] + f',"exp":{NOW + 3300}}}'), BAD)
case("a space in the claims", statement(text=dump(claims()).replace(":", ": ", 1)), BAD)
case("claims in another order", statement(dict(reversed(claims().items()))), BAD)
case("an unknown claim", statement(claims(nbf=NOW)), BAD)
case("a claim too few", statement(claims(jti=None)), BAD)
case("an end that is no whole number", statement(text=dump(claims()).replace(f"{NOW + 3300}", f"{NOW + 3300}.0")), BAD)
case("no JSON", statement(text="{"), BAD)
case("padding", GOOD + "==", BAD)
case("two parts", ".".join(GOOD.split(".")[:2]), BAD)
case("no value", None, BAD, key=DEVICE, sent="")
case("more than 1,024 characters", statement(lent(to=sorted([*(Key.of(f"target {n}").id for n in range(15)), TARGET.id]), scope=" ".join(f"a{n:02}" + "b" * 40 for n in range(16)))), BAD, delegates=True)

case("d in its cnf", statement(claims(cnf={"jwk": {**WORKER.jwk, "d": b64(digest(b"no secret"))}})), BAD)
case("a key ID beside its cnf", statement(claims(cnf={"jwk": WORKER.jwk, "kid": "x"})), BAD)
case("the key of a listed device in its cnf", statement(claims(TARGET)), BAD, key=TARGET)
case("its own key in its cnf", statement(claims(DEVICE)), BAD, key=DEVICE)
case("a point off the curve in its cnf", statement(claims(cnf={"jwk": {**WORKER.jwk, "y": OTHER.y}})), BAD)
y = PRIME - int.from_bytes(base64.urlsafe_b64decode(WORKER.y + "="), "big")
case("the other point with its x in its cnf", statement(claims(cnf={"jwk": {**WORKER.jwk, "y": b64(y.to_bytes(32, "big"))}})), "invalid_signature")
case("another curve in its cnf", statement(claims(cnf={"jwk": {**WORKER.jwk, "crv": "P-384"}})), BAD)

for form in ("authmesh", "rfc9421"):
    case(f"stripped, {form}", GOOD, "invalid_signature", form=form, stripped=True)
    case(f"swapped for another one of the device, {form}", GOOD, "invalid_signature", form=form, sent=statement(claims(OTHER)))
    case(f"swapped for a longer one of the same key, {form}", GOOD, "invalid_signature", form=form, sent=statement(claims(exp=NOW + 9000)))
    case(f"added to a request that the device signed, {form}", None, "component_not_covered" if form == "rfc9421" else "invalid_signature", form=form, key=DEVICE, sent=GOOD)
    case(f"two, joined, {form}", f"{GOOD}, {GOOD}", BAD, form=form)
    case(f"a request that the device signed with it, {form}", GOOD, "invalid_signature", form=form, key=DEVICE)
    case(f"a request that another key signed with it, {form}", GOOD, "invalid_signature", form=form, key=OTHER)
case("not covered", GOOD, "component_not_covered", form="rfc9421", uncovered=("authmesh-key",))
case("none, although one signed", None, "invalid_signature")

TAKES = {"delegates": True}
case("a delegate", statement(lent()), **TAKES)
case("a delegate, in the RFC 9421 form, with a body", statement(lent("* orders:*")), form="rfc9421", method="POST", target="/p", body=b"{}", fields=JSON, **TAKES)
case("a delegate for several targets", statement(lent(to=sorted([TARGET.id, STRANGER.id]))), **TAKES)
case("a delegate where nothing says that delegates may call", statement(lent()), "delegate_not_allowed")
case("a delegate for another target", statement(lent(to=[STRANGER.id])), BAD, **TAKES)
case("a delegate for the device that lends", statement(lent(to=[DEVICE.id])), BAD, **TAKES)
case("a delegate that was revoked", statement(lent(jti=ENDED)), "delegate_revoked", **TAKES)
case("a delegate whose delegation has expired", statement(lent(exp=NOW - 1)), BAD, created=NOW - 2, **TAKES)
case("a delegate for no target", statement(lent(to=[])), BAD, **TAKES)
case("a delegate for targets out of order", statement(lent(to=sorted([TARGET.id, STRANGER.id], reverse=True))), BAD, **TAKES)
case("a delegate for one target in text", statement({**lent(), "aud": TARGET.id}), BAD, **TAKES)
case("a delegate without scopes", statement(lent(scope="")), BAD, **TAKES)
case("a delegate with scopes out of order", statement(lent(scope="b a")), BAD, **TAKES)
case("a delegate with a scope that is none", statement(lent(scope="Orders")), BAD, **TAKES)
case("a name without scopes", statement({name: value for name, value in lent().items() if name != "scope"}), BAD, **TAKES)
case("scopes without a name", statement({name: value for name, value in lent().items() if name != "sub"}), BAD, **TAKES)
case("a target without scopes", statement(claims(aud=[TARGET.id])), BAD, **TAKES)
case("a delegate in a statement about answers", statement(lent(), typ=ANSWER_TYPE), BAD, **TAKES)
case("a delegate that a delegate lends to", statement(lent(), by=WORKER), BAD, **TAKES)

for path in ("enroll", "register", "", "enroll?x=1"):
    case(f"a path of amesh itself: {path or 'the folder'}", GOOD, BAD, method="POST", target=f"/.well-known/amesh/{path}")
case("a path of amesh itself, written otherwise", GOOD, BAD, method="POST", target="/.Well-Known//%61mesh/enroll")
case("a path beside that of amesh", GOOD, target="/.well-known/ameshes")

wire["keysSince"] = {"controller": CUT_AT}
wire["endedDelegations"] = [ENDED]
others = [each for each in wire.pop("cases") if not each["name"].startswith("working key: ")]
wire["cases"] = others + cases
with open(FILE, "w") as file:
    file.write(json.dumps(wire, indent=1) + "\n")
