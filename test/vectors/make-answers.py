#!/usr/bin/env python3
"""Makes answers.json, the cases of proven answers, by an implementation that shares no code with amesh.

Needs the package `cryptography`. Run it in this folder: python3 make-answers.py
It also replaces the cases in wire.json whose names begin with "asks for a proof".
"""

import base64
import json

from common import ORDER, Key, b64, devices_of, digest, random22

NOW = 1764000000
LISTED = ["content-type", "unencoded-digest", "location", "www-authenticate", "retry-after", "etag", "link", "set-cookie", "content-range", "age"]
ASK = 'amesh=("@status");created;nonce;keyid;tag="amesh-answer"'

WIRE = json.load(open("wire.json"))
DEVICES = devices_of(WIRE)
CALLER, TARGET, STRANGER = DEVICES["controller"], DEVICES["target"], DEVICES["stranger"]
NEXT, LAST = Key.of("amesh next key 0"), Key.of("amesh next key 1")
ANSWER_KEY, OTHER_KEY = Key.of("amesh answer key 0"), Key.of("amesh answer key 1")


def std(data):
    return base64.b64encode(data).decode()


def digest_of(body):
    return f"sha-256=:{std(digest(body))}:"


def dump(value):
    return json.dumps(value, separators=(",", ":"))


def request(name="a GET", method="GET", target="/api/orders", by=CALLER, device=None):
    """A request that asks for a proof: its signature base, and its signature."""
    parameters = f'("@method" "@authority" "@path" "@query" "accept-signature");created={NOW};nonce="{random22("request: " + name)}";keyid="{(device or by).id}";tag="amesh"'
    base = "\n".join([f'"@method": {method}', '"@authority": api.example.com', f'"@path": {target}', '"@query": ?', f'"accept-signature": {ASK}', f'"@signature-params": {parameters}'])
    return {"method": method, "base": base, "signature": by.sign(base)}


def nonce_of(asked):
    return b64(digest(asked["base"].encode() + b"\n" + asked["signature"]))


def claims(key=ANSWER_KEY, **more):
    return {"iss": TARGET.id, "cnf": {"jwk": key.jwk}, "iat": NOW - 300, "exp": NOW + 3300, "jti": random22(key.id), **more}


def statement(payload=None, by=TARGET, typ="amesh-answer-key+jwt", high=False):
    signed = f'{b64(dump({"alg": "ES256", "typ": typ}).encode())}.{b64(dump(payload or claims()).encode())}'
    return f"{signed}.{b64(by.sign(signed, high))}"


def succession(old=TARGET, new=NEXT, target=None, iat=NOW, by=None, label="amesh rotation v1\n", high=False, **more):
    """What a target says about its next key."""
    payload = b64(dump({"old": old.key, "new": new.key, "target": target or old.id, "iat": iat, **more}).encode())
    return ".".join([payload, *(b64(key.sign(label + payload, high)) for key in by or (old, new))])


def lines_of(value):
    return value if isinstance(value, list) else [value]


def listed(headers):
    return [name for name in LISTED if name in headers] + sorted(name for name in headers if name.startswith("authmesh-"))


def component(name):
    return '"set-cookie";bs' if name == "set-cookie" else f'"{name}"'


def value_of(name, headers):
    lines = [line.strip() for line in lines_of(headers[name])]
    return ", ".join(f":{std(line.encode())}:" for line in lines) if name == "set-cookie" else ", ".join(lines)


def answer(status=200, headers=None, body=b"hello", asked=None, by=TARGET, key_id=None, created=NOW, nonce=None, covered=None, stream=False,
           key=None, no_digest=False, tag="amesh-answer", label="amesh", high=False, parameters=None, components=None):
    """A signed answer. Each argument that is left out is what a target would do."""
    asked = asked or GET
    headers = {"content-type": "text/plain", **(headers or {})}
    headers = {name: value for name, value in headers.items() if value is not None}
    has_body = asked["method"] != "HEAD" and status not in (204, 304)
    if has_body and not no_digest and "unencoded-digest" not in headers:
        headers.update({"authmesh-body": "unsigned"} if stream else {"unencoded-digest": digest_of(body)})
    if key is not None:
        headers["authmesh-key"] = key
    names = listed(headers) if covered is None else covered
    identifiers = components or ['"@status"', *(component(name) for name in names)]
    text = parameters or f'({" ".join(identifiers)});created={created};nonce="{nonce or nonce_of(asked)}";keyid="{key_id or TARGET.id}";tag="{tag}"'
    base = "\n".join([f'"@status": {status}', *(f"{component(name)}: {value_of(name, headers)}" for name in names), f'"@signature-params": {text}'])
    headers["signature-input"] = f"{label}={text}"
    headers["signature"] = f"{label}=:{std(by.sign(base, high))}:"
    return {"status": status, "headers": headers, "body": std(body if has_body else b"")}, base


GET, HEAD, POST = request(), request("a HEAD", "HEAD"), request("a POST", "POST")
cases = []


def case(name, made, proven=False, asked=None, changed=None, part=False, condition=False, present=None, former=()):
    """An answer as it was signed, with `changed` headers, `status` or `body` (None takes a header away).

    present, former: the keys of the target, if the caller knows that it has moved.
    """
    asked = asked or GET
    sent, base = made
    headers = dict(sent["headers"])
    for field, value in (changed or {}).items():
        if field not in ("status", "body"):
            headers[field] = value
    headers = {field: value for field, value in headers.items() if value is not None}
    change = changed or {}
    cases.append({
        "name": name,
        "proven": proven,
        **({"signatureBase": base} if proven else {}),
        **({"present": present.key, "former": [key.key for key in former]} if present else {}),
        "request": {
            "method": asked["method"],
            "signatureBase": asked["base"],
            "signature": b64(asked["signature"]),
            **({"asksForPart": True} if part else {}),
            **({"isConditional": True} if condition else {}),
        },
        "answer": {
            "status": change.get("status", sent["status"]),
            "headers": headers,
            "body": std(change["body"]) if "body" in change else sent["body"],
        },
    })


# What is proven.
case("a body", answer(), True)
case("an empty body", answer(body=b""), True)
case("a body of JSON, of a POST", answer(201, {"content-type": "application/json", "location": "/api/orders/7"}, b'{"id":7}', POST), True, POST)
case("no content type", answer(headers={"content-type": None}), True)
case("HEAD", answer(asked=HEAD), True, HEAD)
case("HEAD, with the digest that a GET has", answer(asked=HEAD, headers={"unencoded-digest": digest_of(b"hello")}), True, HEAD)
case("204", answer(204), True)
case("304 to a request with a condition", answer(304, {"etag": '"1"'}), True, condition=True)
case("206 to a request for a part", answer(206, {"content-range": "bytes 0-4/9"}), True, part=True)
case("416 to a request for a part", answer(416, {"content-range": "bytes */9"}), True, part=True)
case("a redirect", answer(302, {"location": "https://api.example.com/b"}), True)
case("a refusal", answer(403, {"content-type": "application/json"}, b'{"error":"scope_missing","scope":"orders:read"}'), True)
case("a refusal with a challenge", answer(401, {"www-authenticate": 'AuthMesh error="device_expired"'}), True)
case("a stream", answer(stream=True), True)
case("all listed fields", answer(headers={
    "location": "/b", "www-authenticate": "Basic", "retry-after": "5", "etag": '"1"', "link": "</a>; rel=next", "set-cookie": ["a=1", "b=2"], "content-range": "bytes 0-1/2", "age": "0",
    "authmesh-registered": "x", "authmesh-a": "y",
}), True)
case("fields that are not listed", answer(headers={"cache-control": "no-store", "x-request-id": "7"}), True, changed={"x-request-id": "8", "via": "1.1 proxy", "vary": "Accept-Encoding"})
case("a cookie with a comma", answer(headers={"set-cookie": ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]}), True)
case("two lines of a field, joined on the way", answer(headers={"link": ["</a>; rel=next", "</b>; rel=prev"]}), True, changed={"link": "</a>; rel=next, </b>; rel=prev"})
case("spaces around a value", answer(), True, changed={"content-type": "  text/plain\t"})
case("a field with more than it must be covered", answer(headers={"cache-control": "no-store"}, covered=["content-type", "unencoded-digest", "cache-control"]), True)
case("components in another order", answer(covered=["unencoded-digest", "content-type"]), True)
case("the high s", answer(high=True), True)
case("beside the signature of another party", answer(), True, changed={
    "signature-input": f'cdn=("@status");created={NOW}, ' + answer()[0]["headers"]["signature-input"],
    "signature": f"cdn=:{std(b'x' * 64)}:, " + answer()[0]["headers"]["signature"],
})
case("a strong ETag that a proxy made weak", answer(headers={"etag": '"1"'}), True, changed={"etag": 'W/"1"'})
case("a charset that a proxy added", answer(headers={"content-type": "text/html"}), True, changed={"content-type": "text/html; charset=utf-8"})
case("a charset that a proxy added, and a strong ETag that it made weak", answer(headers={"content-type": "text/html", "etag": '"1"'}), True, changed={"content-type": "text/html;charset=UTF-8", "etag": 'W/"1"'})
case("a weak ETag", answer(headers={"etag": 'W/"1"'}), True)
case("a further digest beside SHA-256", answer(headers={"unencoded-digest": f"sha-512=:{std(b'x' * 64)}:, {digest_of(b'hello')}"}), True)
case("coded on the way", answer(), True, changed={"content-encoding": "gzip"})
case("an answer key", answer(by=ANSWER_KEY, key=statement()), True)
case("an answer key for 90 days", answer(by=ANSWER_KEY, key=statement(claims(exp=NOW - 300 + 7776000))), True)
case("an answer key in its first second", answer(by=ANSWER_KEY, key=statement(claims(iat=NOW))), True)
case("an answer key in its last second", answer(by=ANSWER_KEY, key=statement(claims(exp=NOW))), True)
case("the clock of the target is an hour off", answer(created=NOW + 3600), True)

# What somebody in between changed.
for status in (201, 202, 401, 404, 500):
    case(f"another status: {status}", answer(), changed={"status": status})
case("a redirect in place of 200", answer(), changed={"status": 302, "location": "https://evil.example/"})
FULL = {"location": "/b", "www-authenticate": "Basic", "retry-after": "5", "etag": '"1"', "link": "</a>; rel=next", "set-cookie": ["a=1", "b=2"], "content-range": "bytes 0-1/2", "age": "0", "authmesh-registered": "x"}
for field in ["content-type", "unencoded-digest", *FULL]:
    value = digest_of(b"other") if field == "unencoded-digest" else ["a=1", "b=3"] if field == "set-cookie" else "9"
    case(f"{field} changed", answer(headers=FULL), changed={field: value})
    case(f"{field} taken away", answer(headers=FULL), changed={field: None})
for field in [*FULL, "authmesh-other"]:
    case(f"{field} added", answer(), changed={field: "1"})
case("content-type added", answer(headers={"content-type": None}), changed={"content-type": "text/html"})
case("a second line of a covered field", answer(), changed={"content-type": ["text/plain", "text/html"]})
case("a cookie cut apart at a comma", answer(headers={"set-cookie": ["a=1; Path=/, b=2"]}), changed={"set-cookie": ["a=1; Path=/", "b=2"]})
case("two cookies joined", answer(headers={"set-cookie": ["a=1", "b=2"]}), changed={"set-cookie": ["a=1, b=2"]})
case("a cookie added to one", answer(headers={"set-cookie": ["a=1"]}), changed={"set-cookie": ["a=1", "b=2"]})
case("cookies in another order", answer(headers={"set-cookie": ["a=1", "b=2"]}), changed={"set-cookie": ["b=2", "a=1"]})
case("a charset other than UTF-8 that was added", answer(headers={"content-type": "text/html"}), changed={"content-type": "text/html; charset=utf-7"})
case("UTF-8 in place of another charset", answer(headers={"content-type": "text/html; charset=utf-7"}), changed={"content-type": "text/html; charset=utf-8"})
case("UTF-8 beside another charset", answer(headers={"content-type": "text/html; charset=utf-7"}), changed={"content-type": "text/html; charset=utf-7; charset=utf-8"})
case("a charset that was taken away", answer(headers={"content-type": "text/html; charset=utf-8"}), changed={"content-type": "text/html"})
case("a weak ETag that became strong", answer(headers={"etag": 'W/"1"'}), changed={"etag": '"1"'})
case("a weak ETag of another value", answer(headers={"etag": '"1"'}), changed={"etag": 'W/"2"'})

# The body.
case("one byte of the body changed", answer(), changed={"body": b"hellp"})
case("a body cut off", answer(), changed={"body": b"hell"})
case("a longer body", answer(), changed={"body": b"hello!"})
case("no body", answer(), changed={"body": b""})
case("a body behind an empty one", answer(body=b""), changed={"body": b"hello"})
case("no digest, and no word about a stream", answer(no_digest=True))
case("the digest taken away from one that covers it", answer(), changed={"unencoded-digest": None})
case("a digest that is not SHA-256", answer(headers={"unencoded-digest": f"sha-512=:{std(b'x' * 64)}:"}))
case("two SHA-256 digests", answer(headers={"unencoded-digest": f"{digest_of(b'other')}, {digest_of(b'hello')}"}))
case("a digest in base64url", answer(headers={"unencoded-digest": f"sha-256=:{b64(digest(b'hello'))}:"}))
case("a stream that says something else", answer(headers={"authmesh-body": "signed"}, no_digest=True))
case("a body made a stream", answer(), changed={"unencoded-digest": None, "authmesh-body": "unsigned"})
case("the word about a stream taken away", answer(stream=True), changed={"authmesh-body": None})

# Another request, another caller, another target.
case("the answer to another request", answer(asked=request("another GET")))
case("the answer to another path", answer(asked=request(target="/api/other")))
case("the answer to another method", answer(asked=HEAD))
case("the answer to another caller with the same nonce", answer(asked=request(by=STRANGER)))
case("the answer to another caller that named this one", answer(asked=request(by=STRANGER, device=CALLER)))
flipped = {**GET, "signature": GET["signature"][:32] + ((ORDER - int.from_bytes(GET["signature"][32:], "big")).to_bytes(32, "big"))}
case("the answer to the same request with the other s", answer(asked=flipped))
case("the nonce of the request itself", answer(nonce=random22("request: a GET")))
case("another target", answer(by=STRANGER, key_id=STRANGER.id))
case("another target, in the name of this one", answer(by=STRANGER))
case("this target, in the name of another one", answer(key_id=STRANGER.id))
case("the caller itself", answer(by=CALLER, key_id=CALLER.id))
case("a part that nobody asked for", answer(206, {"content-range": "bytes 0-4/9"}))
case("304 that nobody asked for", answer(304, {"etag": '"1"'}))
case("204 in place of 200", answer(), changed={"status": 204})
case("304 in place of 200", answer(), changed={"status": 304}, condition=True)

# The signature.
MADE = answer()
TEXT, SIGNATURE = MADE[0]["headers"]["signature-input"], MADE[0]["headers"]["signature"]
case("no signature", MADE, changed={"signature": None, "signature-input": None})
case("only Signature", MADE, changed={"signature-input": None})
case("only Signature-Input", MADE, changed={"signature": None})
case("an empty signature", MADE, changed={"signature": "amesh=::"})
case("a signature of zeros", MADE, changed={"signature": f"amesh=:{std(bytes(64))}:"})
case("a signature of 63 bytes", MADE, changed={"signature": f"amesh=:{std(bytes(63))}:"})
case("a signature in DER", MADE, changed={"signature": f"amesh=:{std(bytes([48, 68, 2, 32]) + bytes(68))}:"})
case("a later time", MADE, changed={"signature-input": TEXT.replace(str(NOW), str(NOW + 1))})
case("the other label", answer(label="sig1"))
case("the tag of a request", answer(tag="amesh"))
case("doubled members", MADE, changed={"signature-input": f"{TEXT}, {TEXT}", "signature": f"{SIGNATURE}, {SIGNATURE}"})
case("two lines of each", MADE, changed={"signature-input": [TEXT, TEXT], "signature": [SIGNATURE, SIGNATURE]})
case("a later member wins", MADE, changed={"signature": f"{SIGNATURE}, amesh=:{std(bytes(64))}:"})
case("another member that contains it", MADE, changed={"signature-input": f'x="{TEXT}"'})
case("more than 8,192 characters", MADE, changed={"signature-input": f'x="{"y" * 8192}", {TEXT}'})
for field in ("content-type", "unencoded-digest"):
    case(f"{field} not covered", answer(covered=[name for name in ("content-type", "unencoded-digest") if name != field]))
case("AuthMesh-Body not covered", answer(stream=True, covered=["content-type"]))
case("a field of amesh not covered", answer(headers={"authmesh-registered": "x"}, covered=["content-type", "unencoded-digest"]))
case("set-cookie not covered", answer(headers={"set-cookie": ["a=1"]}, covered=["content-type", "unencoded-digest"]))
case("set-cookie not as bytes", answer(headers={"set-cookie": ["a=1"]}, components=['"@status"', '"content-type"', '"unencoded-digest"', '"set-cookie"']))
case("a component twice", answer(covered=["content-type", "content-type", "unencoded-digest"]))
case("a component with a parameter", answer(components=['"@status"', '"content-type";sf', '"unencoded-digest"']))
case("a component of the request", answer(components=['"@status"', '"@method";req', '"content-type"', '"unencoded-digest"']))
case("a covered field that is missing", MADE, changed={"content-type": None})
case("no status", answer(components=['"content-type"', '"unencoded-digest"']))
NONCE = nonce_of(GET)
LIST = '("@status" "content-type" "unencoded-digest")'
case("no time", answer(parameters=f'{LIST};nonce="{NONCE}";keyid="{TARGET.id}";tag="amesh-answer"'))
case("no nonce", answer(parameters=f'{LIST};created={NOW};keyid="{TARGET.id}";tag="amesh-answer"'))
case("no keyid", answer(parameters=f'{LIST};created={NOW};nonce="{NONCE}";tag="amesh-answer"'))
case("no tag", answer(parameters=f'{LIST};created={NOW};nonce="{NONCE}";keyid="{TARGET.id}"'))
case("a further parameter", answer(parameters=f'{LIST};created={NOW};nonce="{NONCE}";keyid="{TARGET.id}";alg="none";tag="amesh-answer"'))
case("parameters in another order", answer(parameters=f'{LIST};nonce="{NONCE}";created={NOW};keyid="{TARGET.id}";tag="amesh-answer"'))
case("a time that is no whole number", answer(parameters=f'{LIST};created={NOW}.0;nonce="{NONCE}";keyid="{TARGET.id}";tag="amesh-answer"'))

# The answer key.
BY = {"by": ANSWER_KEY}
case("an answer key that has expired", answer(**BY, key=statement(claims(exp=NOW - 1))))
case("an answer key from the future", answer(**BY, key=statement(claims(iat=NOW + 1))))
case("an answer key for more than 90 days", answer(**BY, key=statement(claims(exp=NOW - 300 + 7776001))))
case("an answer key of another target", answer(**BY, key=statement(claims(iss=STRANGER.id), by=STRANGER)))
case("an answer key that another device signed", answer(**BY, key=statement(by=STRANGER)))
case("an answer key that signed itself", answer(**BY, key=statement(by=ANSWER_KEY)))
case("a key for requests", answer(**BY, key=statement(typ="amesh-request-key+jwt")))
case("a delegate", answer(**BY, key=statement(claims(sub="x", scope="a", aud=[TARGET.id]))))
case("a delegate of a device that may call", answer(**BY, key=statement(claims(sub="x", scope="a", aud=[TARGET.id], iss=CALLER.id), by=CALLER, typ="amesh-request-key+jwt")))
case("another answer key than the one that signed", answer(by=OTHER_KEY, key=statement()))
case("the target itself beside an answer key", answer(key=statement()))
case("an answer key without its statement", answer(**BY))
case("an answer key whose statement is not covered", answer(**BY, key=statement(), covered=["content-type", "unencoded-digest"]))
case("an answer key with the high s in its statement", answer(**BY, key=statement(high=True)))
case("an answer key with a private member", answer(**BY, key=statement(claims(cnf={"jwk": {**ANSWER_KEY.jwk, "d": b64(digest(b"no secret"))}}))))
case("an answer key off the curve", answer(**BY, key=statement(claims(cnf={"jwk": {**ANSWER_KEY.jwk, "y": OTHER_KEY.y}}))))
case("an answer key swapped for another one of the target", answer(**BY, key=statement()), changed={"authmesh-key": statement(claims(OTHER_KEY))})
case("an answer key stripped", answer(**BY, key=statement()), changed={"authmesh-key": None})
case("two answer keys", answer(**BY, key=statement()), changed={"authmesh-key": [statement(), statement()]})

# A target that has moved to another key.
def moved(text=None, by=NEXT, key_id=None, **more):
    return answer(by=by, key_id=(key_id or NEXT).id, headers={"authmesh-succession": text or succession()}, **more)


DAYS30 = 2592000
NEXT_STATEMENT = statement(claims(iss=NEXT.id), by=NEXT)
case("moved to the next key", moved(), True)
case("moved, with an answer key of the next key", moved(by=ANSWER_KEY, key=NEXT_STATEMENT), True)
case("moved, on the last second of 30 days", moved(succession(iat=NOW - DAYS30)), True)
case("moved, by a clock that is 300 s ahead", moved(succession(iat=NOW + 300)), True)
case("moved, and known", moved(), True, present=NEXT, former=[TARGET])
case("moved, and known, without the statement", answer(by=NEXT, key_id=NEXT.id), True, present=NEXT)
case("moved, and known, with a statement that is none", moved("x"), True, present=NEXT)
case("moved, and still the former key", answer(), True, present=NEXT, former=[TARGET])
case("moved, and still an answer key of the former key", answer(by=ANSWER_KEY, key=statement()), True, present=NEXT, former=[TARGET])
case("moved once more", moved(succession(NEXT, LAST), LAST, LAST), True, present=NEXT, former=[TARGET])
case("moved, and back at the former key", moved(succession(NEXT, TARGET), TARGET, TARGET), True, present=NEXT, former=[TARGET])
case("moved, and back at the former key, by a statement that is too old", moved(succession(NEXT, TARGET, iat=NOW - DAYS30 - 1), TARGET, TARGET), True, present=NEXT, former=[TARGET])
case("moved, and back at a former key that no longer counts", moved(succession(NEXT, TARGET), TARGET, TARGET), True, present=NEXT)
case("moved, and back at a former key that no longer counts, by a statement that is too old", moved(succession(NEXT, TARGET, iat=NOW - DAYS30 - 1), TARGET, TARGET), present=NEXT)
case("moved, no statement", answer(by=NEXT, key_id=NEXT.id))
case("moved, statement stripped", moved(), changed={"authmesh-succession": None})
case("moved, statement not covered", moved(covered=["content-type", "unencoded-digest"]))
case("moved, statement added on the way", answer(by=NEXT, key_id=NEXT.id), changed={"authmesh-succession": succession()})
case("moved, statement changed on the way", moved(), changed={"authmesh-succession": succession(iat=NOW - 1)})
case("moved, two statements", moved(), changed={"authmesh-succession": [succession(), succession()]})
for title, text in {
    "a second ago was the last one": succession(iat=NOW - DAYS30 - 1),
    "more than 300 s ahead": succession(iat=NOW + 301),
    "of another target": succession(STRANGER, NEXT),
    "of the caller": succession(CALLER, NEXT),
    "about another next key": succession(TARGET, LAST),
    "for another target, which it was told as a caller": succession(target=STRANGER.id),
    "for the next key": succession(target=NEXT.id),
    "without the former key's signature": succession(by=(NEXT, NEXT)),
    "without the next key's signature": succession(by=(TARGET, TARGET)),
    "signed the other way round": succession(by=(NEXT, TARGET)),
    "signed by a stranger": succession(by=(STRANGER, NEXT)),
    "signed with one signature": succession(by=(TARGET,)),
    "signed with three signatures": succession(by=(TARGET, NEXT, NEXT)),
    "signed under another label": succession(label="amesh list v2\n"),
    "signed without a label": succession(label=""),
    "with the high s": succession(high=True),
    "with a further member": succession(exp=NOW),
    "in which both keys are one": succession(TARGET, TARGET),
    "with a time as text": succession(iat=str(NOW)),
    "that is longer than 1,024 characters": succession(x="y" * 700),
    "cut off": succession()[:-1],
    "in base64 with padding": succession() + "=",
    "a statement about an answer key": statement(claims(iss=TARGET.id)),
}.items():
    case(f"moved, a statement {title}", moved(text))
case("moved, and signed by the former key in the name of the next", moved(by=TARGET))
case("moved, with an answer key of the former key in the name of the next", moved(by=ANSWER_KEY, key=statement()))
case("moved, with an answer key of the next key that the former has signed", moved(by=ANSWER_KEY, key=statement(claims(iss=NEXT.id), by=TARGET)))
case("moved, and the former key no longer counts", answer(), present=NEXT)
case("moved, and an answer key of the former key no longer counts", answer(by=ANSWER_KEY, key=statement()), present=NEXT)
case("moved, and the former key names a second one", moved(succession(TARGET, LAST), LAST, LAST), present=NEXT, former=[TARGET])
case("moved, and the former key, which no longer counts, names a second one", moved(succession(TARGET, LAST), LAST, LAST), present=NEXT)
case("moved, and the next key names the former one, which signs under its own name", moved(succession(NEXT, TARGET), TARGET, STRANGER), present=NEXT)
case("moved twice, and the first move is not known", moved(succession(NEXT, LAST), LAST, LAST))

# Requests that ask.
asking = []


def asks(name, code=None, form="authmesh", ask=ASK, sent=ASK, method="GET", body=b"", covers=True):
    """A request signed with `ask` in Accept-Signature, and sent with `sent`; None for none."""
    headers = {"content-digest": digest_of(body), "content-type": "application/json"} if body else {}
    covered = ["@method", "@authority", "@path", "@query", *headers]
    if ask is not None:
        headers["accept-signature"] = ask
        covered += ["accept-signature"] if covers else []
    nonce = random22("asks: " + name)
    parameters = f'({" ".join(dump(each) for each in covered)});created={NOW};nonce="{nonce}";keyid="{CALLER.id}";tag="amesh"'
    derived = {"@method": method, "@authority": "api.example.com", "@path": "/api/orders", "@query": "?"}
    base = "\n".join([*(f'"{each}": {derived.get(each) or headers[each]}' for each in covered), f'"@signature-params": {parameters}'])
    signature = CALLER.sign(base)
    headers.pop("accept-signature", None)
    if sent is not None:
        headers["accept-signature"] = sent
    if form == "authmesh":
        headers["authorization"] = f'AuthMesh v="2",id="{CALLER.id}",ts="{NOW}",nonce="{nonce}",sig="{b64(signature)}"'
    else:
        headers["signature-input"] = f"amesh={parameters}"
        headers["signature"] = f"amesh=:{std(signature)}:"
    asking.append({
        "name": f"asks for a proof: {name}",
        "format": form,
        "now": NOW,
        "expect": "reject" if code else "accept",
        **({"code": code} if code else {}),
        "signatureBase": base,
        "request": {"method": method, "target": "/api/orders", "authority": "api.example.com", "headers": headers, "body": std(body)},
    })


MORE = f'sig=("@status");tag="other", {ASK}'
for form in ("authmesh", "rfc9421"):
    asks(f"a GET, {form}", form=form)
    asks(f"a POST, {form}", form=form, method="POST", body=b"{}")
    asks(f"beside the wish of another party, {form}", form=form, ask=MORE, sent=MORE)
    asks(f"stripped, {form}", "invalid_signature", form=form, sent=None)
    asks(f"added, {form}", "component_not_covered" if form == "rfc9421" else "invalid_signature", form=form, ask=None)
    asks(f"changed, {form}", "invalid_signature", form=form, sent=MORE)
asks("not covered", "component_not_covered", form="rfc9421", covers=False)

WIRE["cases"] = [each for each in WIRE["cases"] if not each["name"].startswith("asks for a proof: ")] + asking
with open("wire.json", "w") as file:
    file.write(json.dumps(WIRE, indent=1) + "\n")

with open("answers.json", "w") as file:
    about = "Answers to requests that ask for a proof (docs/protocol.md, Proven answers), as a client receives them. Test keys only; the devices are those of wire.json. A case that is not proven by its head, or by its body, is refused. Headers with several lines are lists."
    file.write(json.dumps({"about": about, "now": NOW, "target": TARGET.id, "cases": cases}, indent=1) + "\n")
print(len(cases), "cases,", sum(each["proven"] for each in cases), "proven")
