// The helper of the key backend `secure-enclave`: it makes and uses a P-256 key in the Secure Enclave of this Mac.
//
// EXPERIMENTAL: nobody has compiled or run this file on a Mac yet. Its protocol is tested with another program in its
// place. Until somebody has, use Secretive through the backend `ssh-agent`: see docs/keys.md.
//
// `amesh init --backend secure-enclave` compiles it with swiftc. It reads one request a line from stdin and writes one
// answer a line to stdout, until stdin ends. Bytes are Base64 (RFC 4648 section 4).
//
//   create         -> ok KEY PUBLIC    makes a key: its data representation, and its compressed point of 33 bytes
//   open KEY       -> ok PUBLIC        takes this key for what follows, and tests it
//   sign MESSAGE   -> ok SIGNATURE     ECDSA with SHA-256 over the message: r and s, 64 bytes
//
//   error no-enclave | foreign-key | request | failed    in place of any of them

import CryptoKit
import Foundation
import Security

typealias Key = SecureEnclave.P256.Signing.PrivateKey

/// More than the longest request of amesh, 4 MiB of message in Base64.
let maxLine = 6 * 1024 * 1024

enum Refusal: String, Error {
    case noEnclave = "no-enclave"
    case foreignKey = "foreign-key"
    case request = "request"
    case failed = "failed"
}

/// A key that signs without asking anybody once somebody has logged in after a start of the Mac, also behind a locked screen.
func makeKey() throws -> Key {
    guard
        let access = SecAccessControlCreateWithFlags(
            nil, kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly, .privateKeyUsage, nil),
        let key = try? Key(accessControl: access)
    else { throw Refusal.failed }
    return key
}

/// Signs at once: only that shows whether this Secure Enclave has made the key.
func openKey(_ representation: Data) throws -> Key {
    guard
        let key = try? Key(dataRepresentation: representation),
        (try? key.signature(for: Data())) != nil
    else { throw Refusal.foreignKey }
    return key
}

/// The sign of y, and x. CryptoKit itself writes this form only since macOS 13.
func compressedPoint(_ key: Key) -> Data {
    let point = [UInt8](key.publicKey.rawRepresentation)
    var bytes: [UInt8] = [2 + (point[63] & 1)]
    bytes += point[0..<32]
    return Data(bytes)
}

func decode(_ text: String) throws -> Data {
    guard let bytes = Data(base64Encoded: text) else { throw Refusal.request }
    return bytes
}

func answer(_ words: [String], _ key: inout Key?) throws -> [Data] {
    guard SecureEnclave.isAvailable else { throw Refusal.noEnclave }
    if words == ["create"] {
        let made = try makeKey()
        return [made.dataRepresentation, compressedPoint(made)]
    }
    guard words.count == 2 else { throw Refusal.request }
    switch words[0] {
    case "open":
        let opened = try openKey(try decode(words[1]))
        key = opened
        return [compressedPoint(opened)]
    case "sign":
        guard let key = key else { throw Refusal.request }
        let message = try decode(words[1])
        guard let signature = try? key.signature(for: message) else { throw Refusal.failed }
        return [signature.rawRepresentation]
    default:
        throw Refusal.request
    }
}

func send(_ words: [String]) {
    FileHandle.standardOutput.write(Data((words.joined(separator: " ") + "\n").utf8))
}

var key: Key?
var pending = Data()
while true {
    let chunk = FileHandle.standardInput.availableData
    if chunk.isEmpty { exit(pending.isEmpty ? 0 : 1) }
    pending.append(chunk)
    while let end = pending.firstIndex(of: 10) {
        let line = String(decoding: pending[pending.startIndex..<end], as: UTF8.self)
        pending = Data(pending[pending.index(after: end)...])
        let words = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        do {
            send(["ok"] + (try answer(words, &key)).map { $0.base64EncodedString() })
        } catch {
            send(["error", (error as? Refusal ?? Refusal.failed).rawValue])
        }
    }
    if pending.count > maxLine { exit(1) }
}
