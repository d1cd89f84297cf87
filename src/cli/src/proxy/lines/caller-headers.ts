import type { AuthMeshIdentity } from '@authmesh/sdk/core';

/**
 * The header lines that tell the server behind the proxy who has called. All are ASCII. All except the last are always there, so
 * that a server never gets one from anywhere else.
 *
 * - `AuthMesh-Caller-Id`: the ID of the key that signed
 * - `AuthMesh-Caller-First-Id`: the first ID that the device had, which stays the same when its key is rotated
 * - `AuthMesh-Caller-Name`: its name, percent-encoded as UTF-8 except for `A-Z a-z 0-9 - . _ ~` (RFC 3986 section 2.3)
 * - `AuthMesh-Caller-Scopes`: its scopes, separated by spaces; empty if it has none
 * - `AuthMesh-Caller-Delegate`: only for a delegate: the name that its device gave it
 */
export function callerLines({
  deviceId,
  formerIds,
  friendlyName,
  scopes,
  delegate,
}: AuthMeshIdentity): string[] {
  const lines = [
    ...['AuthMesh-Caller-Id', deviceId],
    ...['AuthMesh-Caller-First-Id', formerIds?.[0] ?? deviceId],
    ...['AuthMesh-Caller-Name', percentEncoded(friendlyName)],
    ...['AuthMesh-Caller-Scopes', scopes.join(' ')],
  ];
  return delegate === undefined ? lines : [...lines, 'AuthMesh-Caller-Delegate', delegate.name];
}

/** A field value may only have visible ASCII (RFC 9110 section 5.5), but a name may have any character. */
export function percentEncoded(text: string): string {
  if (/^[\w.~-]*$/.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const character = String.fromCharCode(byte);
    encoded += /[\w.~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
