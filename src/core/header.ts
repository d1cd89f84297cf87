import { type Credentials, isDeviceId, isNonce } from './credentials';
import { fromBase64Url } from './encoding';
import { Fault, malformed } from './fault';

const SCHEME = /^authmesh +/i;
const FIELD = /([a-z]{1,8})="([^"\\]*)"(?:, *|$)/y;
const VERSION = /(?:^|[ ,])v="([^"]*)"/;
const NAMES = ['v', 'id', 'ts', 'nonce', 'sig'] as const;

/** The most characters that a header of ours may have. A right one has 188. */
const MAX_LENGTH = 1024;

/**
 * Reads `Authorization: AuthMesh v="2",id="…",ts="…",nonce="…",sig="…"`: fields in any order, each exactly once and
 * no other, separated by a comma and optional spaces.
 */
export function readAuthMeshHeader(value: string): Credentials | Fault {
  if (value.length > MAX_LENGTH)
    return malformed(`The AuthMesh header is longer than ${MAX_LENGTH} characters.`);
  const text = value.replace(SCHEME, '');

  // Before everything else, so that another version is told so and not that it is malformed.
  const version = VERSION.exec(text)?.[1];
  if (version !== undefined && version !== '2') return new Fault('unsupported_version');

  const found: Partial<Record<string, string>> = Object.create(null);
  FIELD.lastIndex = 0;
  let end = 0;
  for (let count = 0; end < text.length; count++) {
    const field = FIELD.exec(text);
    if (field === null || count === NAMES.length)
      return malformed('The AuthMesh header has a stray field or character.');
    const name = field[1] as string;
    if (found[name] !== undefined) return malformed('The AuthMesh header has a field twice.');
    found[name] = field[2] as string;
    end = FIELD.lastIndex;
  }
  if (/, *$/.test(text)) return malformed('The AuthMesh header ends with a comma.');

  const { v, id, ts, nonce, sig } = found;
  if (v === undefined || id === undefined || ts === undefined || nonce === undefined || sig === undefined) {
    return malformed('The AuthMesh header lacks a field.');
  }
  if (!isDeviceId(id)) return malformed('The id in the AuthMesh header is no device id.');
  if (!/^(?:0|[1-9]\d{0,11})$/.test(ts))
    return malformed('The ts in the AuthMesh header is not in Unix seconds.');
  if (!isNonce(nonce)) return malformed('The nonce in the AuthMesh header is not of 16 bytes.');
  const signature = sig.length === 86 ? fromBase64Url(sig) : null;
  if (signature === null) return malformed('The sig in the AuthMesh header is not of 64 bytes.');
  return {
    form: 'authmesh',
    deviceId: id,
    created: Number(ts),
    nonce,
    signature,
    covered: null,
    parameters: null,
  };
}

/** Writes what {@link readAuthMeshHeader} reads. */
export function writeAuthMeshHeader(
  deviceId: string,
  created: number,
  nonce: string,
  signature: string,
): string {
  return `AuthMesh v="2",id="${deviceId}",ts="${created}",nonce="${nonce}",sig="${signature}"`;
}
