import { fromBase64Url } from '../encoding';
import { REQUEST_CODES } from '../errors/codes';
import { Fault, malformed } from '../errors/fault';
import { type Credentials, isDeviceId, isNonce } from './credentials';

const SCHEME = /^authmesh +/i;
const VERSION = /(?:^|[ ,])v="([^"]*)"/;

/** The longest AuthMesh header, in characters. A valid one has 188. */
const MAX_LENGTH = 1024;

interface Fields {
  v?: string;
  id?: string;
  ts?: string;
  nonce?: string;
  sig?: string;
}

/**
 * Reads `Authorization: AuthMesh v="2",id="…",ts="…",nonce="…",sig="…"`: fields in any order, each exactly once and
 * no others, separated by a comma and optional spaces.
 */
export function readAuthMeshHeader(value: string): Credentials | Fault {
  const own = readOwn(value);
  if (own !== null) return own;
  if (value.length > MAX_LENGTH)
    return malformed(`The AuthMesh header is longer than ${MAX_LENGTH} characters.`);
  const text = value.replace(SCHEME, '');
  const fields = readFields(text);
  const read = fields instanceof Fault ? fields : readValues(fields);
  if (!(read instanceof Fault)) return read;
  // Another version has other fields: report the version, not what is wrong with them.
  const version = VERSION.exec(text)?.[1];
  return version !== undefined && version !== '2' ? new Fault(REQUEST_CODES.unsupported_version) : read;
}

const OWN =
  /^AuthMesh v="2",id="(am_[\w-]{16})",ts="(0|[1-9]\d{0,11})",nonce="([\w-]{22})",sig="([\w-]{86})"$/;

/** Reads exactly the text that our own client writes, in a fraction of the time; null for any other text. */
function readOwn(value: string): Credentials | null {
  const [, deviceId = '', ts, nonce = '', sig = ''] = OWN.exec(value) ?? [];
  const signature = fromBase64Url(sig);
  if (signature?.length !== 64) return null;
  const created = Number(ts);
  return { form: 'authmesh', deviceId, created, nonce, signature, covered: null, parameters: null };
}

function readFields(text: string): Fields | Fault {
  const fields: Fields = {};
  // No valid value contains a comma, so a split at another comma is malformed anyway.
  for (const part of text.split(',')) {
    const field = part.replace(/^ +/, '');
    const middle = field.indexOf('="');
    const end = field.length - 1;
    if (middle === -1 || end < middle + 2 || field.charCodeAt(end) !== 0x22) {
      return malformed('The AuthMesh header has a stray character.');
    }
    const name = field.slice(0, middle);
    if (name !== 'v' && name !== 'id' && name !== 'ts' && name !== 'nonce' && name !== 'sig') {
      return malformed('The AuthMesh header has an unknown field.');
    }
    if (fields[name] !== undefined) return malformed('The AuthMesh header has a duplicate field.');
    fields[name] = field.slice(middle + 2, end);
  }
  return fields;
}

function readValues({ v, id, ts, nonce, sig }: Fields): Credentials | Fault {
  if (v === undefined || id === undefined || ts === undefined || nonce === undefined || sig === undefined) {
    return malformed('The AuthMesh header lacks a field.');
  }
  if (v !== '2') return new Fault(REQUEST_CODES.unsupported_version);
  if (!isDeviceId(id)) return malformed('The id in the AuthMesh header is not a device ID.');
  if (!/^(?:0|[1-9]\d{0,11})$/.test(ts))
    return malformed('The ts in the AuthMesh header is not Unix seconds.');
  if (!isNonce(nonce)) return malformed('The nonce in the AuthMesh header is not 16 bytes.');
  const signature = sig.length === 86 ? fromBase64Url(sig) : null;
  if (signature === null) return malformed('The sig in the AuthMesh header is not 64 bytes.');
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
