#!/usr/bin/env python3
"""Makes list.json: valid and invalid allow lists, by an implementation that shares no code with amesh.

Needs the package `cryptography`. Run it in this folder: python3 make-list.py > list.json
"""

import base64
import hashlib
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NOW = 1764000000


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    def __init__(self, number):
        # Test keys: their private numbers are hashes of small numbers.
        seed = hashlib.sha256(b"amesh test key %d" % number).digest()
        self.private = ec.derive_private_key(int.from_bytes(seed, "big") % (ORDER - 1) + 1, ec.SECP256R1())
        point = self.private.public_key().public_numbers()
        self.public = bytes([2 + (point.y & 1)]) + point.x.to_bytes(32, "big")
        self.key = b64(self.public)
        self.id = "am_" + b64(hashlib.sha256(self.public).digest())[:16]

    def sign(self, message, high=False):
        r, s = utils.decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        if (s > ORDER // 2) != high:
            s = ORDER - s
        return b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def bits(device_id):
    return "".join(format(ALPHABET.index(c), "06b") for c in device_id[3:])


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


OWNER, NEXT, STRANGER = Key(0), Key(1), Key(2)
DEVICES = sorted((Key(n) for n in range(10, 18)), key=lambda key: key.id)


def entry(key, name=None, **more):
    line = {"id": key.id, "key": key.key, "alg": "ES256", "name": name or key.id[3:7], "roles": ["controller"], "addedAt": NOW}
    return {**line, **more}


def tombstone(key, until=NOW + 90000):
    return {"id": key.id, "revokedAt": NOW, "until": until}


def head(pages, **more):
    members = {
        "revision": 7,
        "version": 2,
        "list": OWNER.id,
        "owner": OWNER.key,
        "updatedAt": NOW,
        "hosts": ["api.example.com"],
        "tokens": [],
        "grants": [],
        "joins": [],
        "targets": [],
        "ended": [],
        "recent": [],
        "pages": pages,
        "dropped": [],
    }
    return {**members, **more}


def seal(members, key=OWNER, high=False, label=b"amesh list v2\n"):
    text = (members if isinstance(members, str) else dump(members))[:-1]
    return text + ',"seal":"' + key.sign(label + text.encode(), high) + '"}\n'


def page(entries):
    return "".join(dump(e) + "\n" for e in entries)


def name(text):
    return b64(hashlib.sha256(text.encode()).digest())


def within(prefix, keys=DEVICES):
    return [key for key in keys if bits(key.id).startswith(prefix)]


CASES = []


def case(title, text, pages=(), owners=(OWNER,), listed=OWNER.id, code=None, find=None, rights=None):
    """
    find: what a look for an ID gives: "device", "none", or the code of the error
    rights: of an ID, what it may do as a caller: name, scopes, and when that ends; null for what is absent
    """
    result = {"title": title, "head": text, "pages": {name(p) if isinstance(p, str) else p[0]: p if isinstance(p, str) else p[1] for p in pages}}
    result["owners"] = [key.key for key in owners]
    result["list"] = listed
    if code:
        result["code"] = code
    else:
        result["find"] = find or {}
        if rights:
            result["rights"] = rights
    CASES.append(result)


BROKEN = "allow_list_integrity_failure"
GONE = "allow_list_unavailable"
A, B, C, D = DEVICES[:4]
everybody = {key.id: "device" for key in DEVICES}

# Valid lists.
case("an empty list", seal(head([["", []]])), find={A.id: "none"})
case("a small list", seal(head([["", [entry(A), entry(B)]]])), find={A.id: "device", B.id: "device", C.id: "none"})
case("a tombstone", seal(head([["", [entry(A), tombstone(B)]]], recent=[tombstone(B)])), find={A.id: "device", B.id: "none"})
case(
    "each optional member",
    seal(
        head(
            [
                [
                    "",
                    [
                        entry(
                            A,
                            scopes=["orders:read", "reports:*"],
                            expiresAt=NOW + 1,
                            lease={"grant": "AAAAAAAAAAAAAAAAAAAAAA", "expiresAt": NOW, "endsAt": NOW + 5},
                            was=[D.id],
                            next=C.id,
                            keysSince=NOW,
                        ),
                        entry(B, roles=["controller", "target"], proves=False, unconfirmed=True),
                    ],
                ]
            ],
            targets=[["b.example.com", B.id]],
            ended=[["some-jti", NOW + 60]],
            joins=[{"issuer": "https://token.actions.example"}],
            dropped=[["A" * 43, NOW - 60]],
        )
    ),
    find={A.id: "device", B.id: "device", D.id: "none"},
)
case("a name with a line feed and a quotation mark", seal(head([["", [entry(A, name='a\n"b"')]]])), find={A.id: "device"})
case(
    "a device with an unknown algorithm, which is ignored",
    seal(head([["", [{**entry(A), "alg": "ML-DSA-44", "strength": 9}, entry(B)]]])),
    find={A.id: "none", B.id: "device"},
)
LEFT, RIGHT = within("0"), within("1")
left, right = page(map(entry, LEFT)), page(map(entry, RIGHT))
case("two pages", seal(head([["0", name(left)], ["1", name(right)]])), [left, right], find=everybody)
case("one page", seal(head([["", name(page(map(entry, DEVICES)))]])), [page(map(entry, DEVICES))], find=everybody)
quarters = [(p, page(map(entry, within(p)))) for p in ("00", "010", "011", "1")]
case("pages of different depths", seal(head([[p, name(text)] for p, text in quarters])), [t for _, t in quarters], find=everybody)
case("an empty page twice", seal(head([["0", name(left)], ["10", name("")], ["11", name("")]])), [left, ""], find={LEFT[0].id: "device", RIGHT[0].id: "none"})
case("pages, and entries in the head", seal(head([["0", [entry(key) for key in LEFT]], ["1", name(right)]])), [right], find=everybody)
case("sealed by the owner, with a next owner named", seal(head([["", [entry(A)]]])), owners=(OWNER, NEXT), find={A.id: "device"})
case("sealed by the next owner", seal(head([["", [entry(A)]]], owner=NEXT.key), NEXT), owners=(OWNER, NEXT), find={A.id: "device"})

SUCCESSION = ".".join([b64(dump({"old": OWNER.key, "new": NEXT.key, "target": OWNER.id, "iat": NOW}).encode()), "A" * 86, "B" * 86])
moved = {"owner": NEXT.key, "succession": SUCCESSION}
case("a statement of the former owner about the next", seal(head([["", [entry(A)]]], **moved), NEXT), owners=(OWNER, NEXT), find={A.id: "device"})
case("16 former owners", seal(head([["", [entry(A)]]], was=[Key(n).id for n in range(40, 56)])), find={A.id: "device"})
case("no former owner", seal(head([["", [entry(A)]]], was=[])), find={A.id: "device"})

def keys_of(*keys):
    """The keys of a target that has moved: each but the last has an end."""
    return [{"id": key.id, "key": key.key, **({} if i == len(keys) - 1 else {"until": NOW + i})} for i, key in enumerate(keys)]


case("a target that has moved to another key", seal(head([["", [entry(A, roles=["target"], keys=keys_of(A, NEXT))]]])), find={A.id: "device"})
case("a target with 16 keys", seal(head([["", [entry(A, keys=keys_of(*(Key(n) for n in range(40, 56))))]]])), find={A.id: "device"})

# Keys that replace others.
MONTH = 2592000


def rights(key, scopes=None, ends=None, name=None):
    return {key.id: {"name": name or key.id[3:7], "scopes": scopes, "ends": ends}}


def replaced(key, by, until=NOW + MONTH, **more):
    return entry(key, **{"roles": [], "next": by.id, "retiresAt": until, **more})


def waits(key, *former, **more):
    return entry(key, **{"roles": [], "was": [f.id for f in former], "pending": True, **more})


def rotated(title, entries, find, allowed=None):
    case(title, seal(head([["", sorted(entries, key=lambda e: e["id"])]])), find={key.id: found for key, found in find.items()}, rights=allowed)


def laptop(key, *was, **more):
    return entry(key, name="laptop", **{"was": [w.id for w in was], **more})


rotated("a next key that waits", [entry(A, scopes=["orders:read"], next=B.id), waits(B, A)], {A: "device", B: "none"}, rights(A, ["orders:read"]))
rotated("a next key that waits for a device that is gone", [waits(B, A)], {A: "none", B: "none"})
rotated("a named next key that is gone", [entry(A, next=B.id)], {A: "device", B: "none"}, rights(A))
rotated("a named next key that is another device", [entry(A, next=B.id, scopes=["a"]), entry(B, scopes=["b"])], {A: "device", B: "device"}, {**rights(A, ["a"]), **rights(B, ["b"])})
rotated(
    "a replaced key, which has the rights of the device, until it ends",
    [replaced(A, B), laptop(B, A, scopes=["orders:read"])],
    {A: "device", B: "device"},
    {**rights(A, ["orders:read"], NOW + MONTH, "laptop"), **rights(B, ["orders:read"], None, "laptop")},
)
rotated(
    "a replaced key of a device that ends before it",
    [replaced(A, B), laptop(B, A, expiresAt=NOW + 60)],
    {A: "device", B: "device"},
    {**rights(A, None, NOW + 60, "laptop"), **rights(B, None, NOW + 60, "laptop")},
)
rotated(
    "a key that was replaced twice, which ends with the first of both",
    [replaced(A, B, NOW + MONTH), replaced(B, C, NOW + 90000, was=[A.id]), laptop(C, A, B, scopes=["x"])],
    {A: "device", B: "device", C: "device"},
    {**rights(A, ["x"], NOW + 90000, "laptop"), **rights(B, ["x"], NOW + 90000, "laptop"), **rights(C, ["x"], None, "laptop")},
)
rotated("a replaced key whose next one is gone", [replaced(A, B)], {A: "none", B: "none"})
rotated("a replaced key whose next one waits again", [replaced(A, B), waits(B, A)], {A: "none", B: "none"})
rotated("a replaced key whose next one names another former one", [replaced(A, B), laptop(B, C)], {A: "none", B: "device"}, rights(B, None, None, "laptop"))
rotated("a replaced key whose next one has moved on without it", [replaced(A, B), laptop(B)], {A: "none", B: "device"})
rotated("two keys that have replaced each other", [replaced(A, B, was=[B.id]), replaced(B, A, was=[A.id])], {A: "none", B: "none"})
rotated("a replaced key that is still a target", [replaced(A, B, roles=["target"]), laptop(B, A)], {A: "device", B: "device"}, {**rights(A, None, NOW + MONTH, "laptop")})
rotated("a target whose next key as a caller is gone", [replaced(A, B, roles=["target"])], {A: "device", B: "none"})
rotated("a device that has had 16 keys", [entry(A, was=[Key(n).id for n in range(40, 56)])], {A: "device"})
rotated("a device whose key has named two next ones", [{**tombstone(A, NOW + MONTH), "conflict": "laptop"}, tombstone(B), tombstone(C)], {A: "none", B: "none", C: "none"})

# Invalid heads.
good = seal(head([["", [entry(A)]]]))
case("a changed byte", good.replace("api.example", "api.exbmple"), code=BROKEN)
case("a changed byte in an entry", good.replace('"controller"', '"controlleR"'), code=BROKEN)
case("a changed seal", good[:-10] + ("A" if good[-10] != "A" else "B") + good[-9:], code=BROKEN)
case("a seal with a high s", seal(head([["", [entry(A)]]]), high=True), code=BROKEN)
case("a seal under another label", seal(head([["", [entry(A)]]]), label=b"amesh allow list v1\n"), code=BROKEN)
case("a seal without a label", seal(head([["", [entry(A)]]]), label=b""), code=BROKEN)
case("sealed by a stranger", seal(head([["", [entry(A)]]]), STRANGER), code=BROKEN)
case("sealed by a stranger, which it names as its owner", seal(head([["", [entry(A)]]], owner=STRANGER.key), STRANGER), code=BROKEN)
case("sealed by the next owner, which the reader does not know", seal(head([["", [entry(A)]]], owner=NEXT.key), NEXT), code=BROKEN)
case("sealed by the next owner in the name of the first", seal(head([["", [entry(A)]]]), NEXT), owners=(OWNER, NEXT), code=BROKEN)
case("the list of another device", seal(head([["", [entry(A)]]], list=A.id)), code=BROKEN)
case("no line feed at its end", good[:-1], code=BROKEN)
case("two line feeds at its end", good + "\n", code=BROKEN)
case("a byte order mark", "\ufeff" + good, code=BROKEN)
case("a space at its beginning", seal(" " + dump(head([["", [entry(A)]]]))), code=BROKEN)
case("another order of members", seal(dict(reversed(head([["", [entry(A)]]]).items()))), code=BROKEN)
case("cut off", good[: len(good) // 2], code=BROKEN)
case("only a seal", good[-98:], code=BROKEN)
case("nothing", "", code=BROKEN)
case("not JSON", seal('{"revision":7,"version":2,"list":}'), code=BROKEN)
case("two values", seal('{"revision":7,"version":2,"a":1}{"b":1}'), code=BROKEN)
case("version 1", seal(head([["", []]], version=1)), code=BROKEN)
case("version 3", seal(head([["", []]], version=3)), code=BROKEN)
case("version 2 as text", seal(head([["", []]], version="2")), code=BROKEN)
case("revision 0", seal(head([["", []]], revision=0)), code=BROKEN)
case("a revision as text", seal(head([["", []]], revision="7")), code=BROKEN)
case("a revision with a fraction", seal(head([["", []]], revision=7.5)), code=BROKEN)
case("a revision beyond exact numbers", seal(head([["", []]], revision=2**60)), code=BROKEN)
case("an unknown member", seal(head([["", []]], limit=5)), code=BROKEN)
case("a member __proto__", seal(head([["", []]], __proto__={})), code=BROKEN)
for member in head([]):
    if member not in ("revision", "version"):
        case("no member " + member, seal({k: v for k, v in head([["", []]]).items() if k != member}), code=BROKEN)
        case("null as " + member, seal(head([["", []]], **{}) | {member: None}), code=BROKEN)
for title, changed in {
    "17 former owners": {"was": [Key(n).id for n in range(40, 57)]},
    "a former owner that is no ID": {"was": ["am_short"]},
    "former owners as text": {"was": OWNER.id},
    "null as was": {"was": None},
    "null as succession": {"succession": None},
    "a statement with one signature": {"succession": SUCCESSION.rpartition(".")[0]},
    "a statement with three signatures": {"succession": SUCCESSION + "." + "C" * 86},
    "a statement of 1,025 characters": {"succession": "A" * (1025 - 174) + SUCCESSION[-174:]},
    "a statement with a line feed": {"succession": SUCCESSION + "\n"},
}.items():
    case(title, seal(head([["", []]], **changed)), code=BROKEN)
for title, prefixes in {
    "no pages": [],
    "a gap at the beginning": ["1"],
    "a gap at the end": ["0"],
    "a gap in the middle": ["00", "1"],
    "a prefix twice": ["0", "0", "1"],
    "prefixes that overlap": ["0", "01", "1"],
    "a prefix and the empty prefix": ["", "1"],
    "prefixes out of order": ["1", "0"],
    "a prefix of other characters": ["0", "2"],
    "a prefix that is longer than an ID": ["0" * 97, "0" * 96 + "1"],
}.items():
    case(title, seal(head([[p, name("")] for p in prefixes])), [""], code=BROKEN)
case("a prefix that is a number", seal(head([[0, name("")], [1, name("")]])), [""], code=BROKEN)
case("a hash of another length", seal(head([["", "A" * 42]])), code=BROKEN)
case("a page of three parts", seal(head([["", name(""), 1]])), [""], code=BROKEN)
case("targets out of order", seal(head([["", [entry(A)]]], targets=[["b", A.id], ["a", A.id]])), code=BROKEN)
case("a target twice", seal(head([["", [entry(A)]]], targets=[["a", A.id], ["a", A.id]])), code=BROKEN)

# Invalid pages: only the devices on them are refused.
def two(text, expected, title, named=None):
    find = {key.id: expected for key in LEFT} | {key.id: "device" for key in RIGHT}
    hashed = named or name(text)
    case(title, seal(head([["0", hashed], ["1", name(right)]])), [(hashed, text), right] if text is not None else [right], find=find)


two(None, GONE, "a missing page", name(left))
two(left.replace("controller", "controlleR", 1), GONE, "a page with a changed byte", name(left))
two(left[:-1], GONE, "a page that is cut off", name(left))
two("", GONE, "a page that was emptied", name(left))
two(right, BROKEN, "the page of another prefix")
two(page(map(entry, LEFT + RIGHT[:1])), BROKEN, "an entry on the wrong page")
two(page([entry(key) for key in reversed(LEFT)]), BROKEN, "entries out of order")
two(page([entry(LEFT[0])] + [entry(key) for key in LEFT]), BROKEN, "an entry twice")
two(left[:-1], BROKEN, "no line feed at the end of a page")
two("\n" + left, BROKEN, "an empty line")
two("\ufeff" + left, BROKEN, "a byte order mark before a page")
two(left.replace('{"id"', '{ "id"', 1), BROKEN, "a line with a space before its ID")
two(page([{**entry(LEFT[0]), "id": "am_short"}] + [entry(key) for key in LEFT[1:]]), BROKEN, "an ID that is too short")
case("swapped pages", seal(head([["0", name(left)], ["1", name(right)]])), [(name(left), right), (name(right), left)], find={key.id: GONE for key in DEVICES})

# Invalid entries: only that device is refused.
def one(title, changed, expected=BROKEN):
    lines = [changed if isinstance(changed, str) else dump(changed)] + [dump(entry(key)) for key in LEFT[1:]]
    text = "".join(line + "\n" for line in lines)
    find = {key.id: "device" for key in DEVICES} | {LEFT[0].id: expected}
    case(title, seal(head([["0", name(text)], ["1", name(right)]])), [text, right], find=find)


first = entry(LEFT[0])
one("an entry with an unknown member", {**first, "limit": 5})
one("an entry with a member that was null", {**first, "expiresAt": None})
one("an entry without a name", {k: v for k, v in first.items() if k != "name"})
one("an entry without an algorithm", {k: v for k, v in first.items() if k != "alg"})
one("an entry without roles", {**first, "roles": []})
one("an entry with an unknown role", {**first, "roles": ["admin"]})
one("an entry with a key of 32 bytes", {**first, "key": b64(bytes(32))})
one("an entry with an uncompressed key", {**first, "key": b64(b"\x04" + bytes(64))})
one("an entry whose end is text", {**first, "expiresAt": "2027"})
one("an entry whose end is negative", {**first, "expiresAt": -1})
one("an entry whose scopes are one text", {**first, "scopes": "orders:read"})
one("an entry with proves set to true", {**first, "proves": True})
one("an entry with one proving key", {**first, "keys": keys_of(NEXT)})
one("an entry with 17 proving keys", {**first, "keys": keys_of(*(Key(n) for n in range(40, 57)))})
one("an entry whose present key has an end", {**first, "keys": [{**each, "until": NOW} for each in keys_of(A, NEXT)]})
one("an entry whose former key has no end", {**first, "keys": [*keys_of(A)[:1], *keys_of(NEXT)]})
one("an entry whose proving key has 32 bytes", {**first, "keys": [*keys_of(A, B)[:1], {"id": NEXT.id, "key": b64(bytes(32))}]})
one("an entry whose proving key has a further member", {**first, "keys": [*keys_of(A, B)[:1], {**keys_of(NEXT)[0], "alg": "ES256"}]})
one("an entry with 17 former IDs", {**first, "was": [A.id] * 17})
for title, changed in {
    "that waits with a role": {"was": [A.id], "pending": True},
    "that waits for nobody": {"roles": [], "pending": True},
    "that waits for an empty list": {"roles": [], "was": [], "pending": True},
    "that waits, and names a next key": {"roles": [], "was": [A.id], "pending": True, "next": B.id},
    "that waits, and was replaced": {"roles": [], "was": [A.id], "pending": True, "next": B.id, "retiresAt": NOW},
    "that waits by another value": {"roles": [], "was": [A.id], "pending": 1},
    "that does not wait": {"was": [A.id], "pending": False},
    "that was replaced by nothing": {"roles": [], "retiresAt": NOW},
    "that was replaced, and may call": {"next": B.id, "retiresAt": NOW},
    "that was replaced at a time as text": {"roles": [], "next": B.id, "retiresAt": str(NOW)},
    "that was replaced before all time": {"roles": [], "next": B.id, "retiresAt": -1},
    "that was replaced at a fraction of a second": {"roles": [], "next": B.id, "retiresAt": NOW + 0.5},
    "without roles that names a next key": {"roles": [], "next": B.id},
    "with a next key that is none": {"next": "laptop"},
    "with two next keys": {"next": [B.id, C.id]},
    "with a former ID that is none": {"was": ["laptop"]},
    "with former IDs as text": {"was": A.id},
}.items():
    one("an entry " + title, {**first, **changed})
grave = tombstone(LEFT[0])
one("a tombstone with a conflict that is no name", {**grave, "conflict": True})
one("a tombstone with a further member", {**grave, "name": "laptop"})
one("a tombstone without an end", {k: v for k, v in grave.items() if k != "until"})
one("a tombstone with a next key", {**grave, "next": B.id})
one("an entry with a lease of another form", {**first, "lease": {"grant": "x", "expiresAt": 1}})
one("an entry and a tombstone at once", {**first, "revokedAt": NOW, "until": NOW})
one("an entry with two IDs", dump(first)[:-1] + ',"id":"' + RIGHT[0].id + '"}')
one("an entry that is not JSON", dump(first)[:-1])
one("an entry that is not UTF-8 in JSON", dump(first).replace('"name":"', '"name":"\\ud800', 1), "device")

print(json.dumps({"about": "Valid and invalid allow lists of version 2, made by make-list.py with test keys only. `find` is the result for an ID; `rights` is what an ID may do as a caller; `code` is the error if the whole list is refused.", "cases": CASES}, indent=1, ensure_ascii=False))
