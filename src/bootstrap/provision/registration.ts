import { cryptoProvider } from '#crypto';
import type { Signer } from '../../core/crypto/provider';
import { deviceIdOf } from '../../core/devices/allow-list';
import { equalBytes, fromBase64Url, toBase64Url, toUtf8 } from '../../core/encoding';
import { hasExactly, parseObject } from '../../core/strict-json';
import { normalizeAuthority } from '../../core/wire/authority';
import { TOKEN_LABELS } from '../../core/wire/labels';
import { hkdf } from '../../pairing/ceremony/suite';
import type { Device } from '../../trust/device';
import type { DeviceEntry } from '../../trust/format/entry';
import type { IssuedToken } from '../../trust/format/tokens';
import { cleanName } from '../../trust/names';
import { findIssued, registerTarget } from '../../trust/tokens';
import { TOKEN_LIMITS } from '../tokens/token';

/** The response header in which a machine says that it took a token. */
export const REGISTRATION_HEADER = 'authmesh-registration';

const MAX_CHARACTERS = 8192;

/** The request that a registration answers; empty for a registration in a mailbox. */
export interface Answered {
  /** 22 base64url characters, or none. */
  readonly nonce: string;
  /** In normal form, or empty. */
  readonly authority: string;
}

/** For a registration in a mailbox, which does not belong to a request. */
export const UNASKED: Answered = Object.freeze({ nonce: '', authority: '' });

interface Statement extends Answered {
  /** The ID of the token. */
  readonly jti: string;
  /** The public key of the machine, 33 bytes in base64url. */
  readonly key: string;
  readonly name: string;
  readonly hosts: readonly string[];
}

const MEMBERS = ['authority', 'hosts', 'jti', 'key', 'name', 'nonce'];

/**
 * Writes the registration of a machine for the issuer of its token: who it is, signed with its key, and authenticated with
 * the token's secret. Three parts, separated by full stops: statement, signature, MAC.
 */
export async function writeRegistration(
  token: { readonly jti: string; readonly secret: string },
  machine: { readonly signer: Signer; readonly name: string; readonly hosts: readonly string[] },
  answered: Answered,
): Promise<string> {
  const statement: Statement = {
    jti: token.jti,
    key: toBase64Url(machine.signer.publicKey),
    name: cleanName(machine.name),
    hosts: machine.hosts.slice(0, TOKEN_LIMITS.hosts),
    ...answered,
  };
  const payload = toBase64Url(toUtf8(JSON.stringify(statement)));
  const signed = `${payload}.${toBase64Url(await machine.signer.sign(toUtf8(TOKEN_LABELS.registration + payload)))}`;
  return `${signed}.${toBase64Url(await macOf(token.secret, signed))}`;
}

/**
 * Records the machine that took a token of this device, if the registration proves it. Anything else is ignored, since
 * anybody can send it.
 *
 * @param onUnproven called for a registration of a token of this device that is not proven, or answers another request
 * @returns the machine's entry in the list; null if nothing was recorded
 * @throws AmeshError `token_used_twice`, `token_revoked`
 */
export async function takeRegistration(
  device: Device,
  text: string,
  answered: Answered,
  onUnproven: () => void = () => {},
): Promise<DeviceEntry | null> {
  const statement = text.length > MAX_CHARACTERS ? null : parse(text);
  if (statement === null) return null;
  const { jti, key, name, nonce, authority } = statement;
  const token = findIssued(await device.trust.readHead(), jti);
  if (token === undefined) return null;
  const isOfRequest = nonce === answered.nonce && authority === answered.authority;
  if (!isOfRequest || !(await isProven(text, token, key))) {
    onUnproven();
    return null;
  }
  const deviceId = await deviceIdOf(fromBase64Url(key) as Uint8Array, cryptoProvider);
  const machine = {
    deviceId,
    publicKey: key,
    friendlyName: cleanName(name),
    hosts: hostsOf(token, statement),
  };
  const { result } = await device.trust.update(async (draft) => {
    await registerTarget(draft, jti, machine, Math.floor(Date.now() / 1000));
    return (await draft.device(deviceId)) ?? null;
  });
  return result;
}

/** The hosts that the issuer chose; if it chose none, the hosts that the machine reports. */
function hostsOf(token: IssuedToken, { hosts, authority }: Statement): string[] {
  const named = token.hosts.length > 0 ? token.hosts : hosts;
  return [...new Set([...named, ...(authority === '' ? [] : [authority])])];
}

async function isProven(text: string, { secret }: IssuedToken, key: string): Promise<boolean> {
  const [payload = '', signature = '', mac = ''] = text.split('.');
  const given = fromBase64Url(mac) ?? new Uint8Array();
  if (!equalBytes(given, await macOf(secret, `${payload}.${signature}`))) return false;
  try {
    const publicKey = await cryptoProvider.importPublicKey(fromBase64Url(key) ?? new Uint8Array());
    return await publicKey.verify(
      fromBase64Url(signature) ?? new Uint8Array(),
      toUtf8(TOKEN_LABELS.registration + payload),
    );
  } catch {
    return false; // not a point on the curve
  }
}

async function macOf(secret: string, signed: string): Promise<Uint8Array> {
  const bytes = await keyOf(secret, TOKEN_LABELS.secret.macKey, 32);
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', bytes, algorithm, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, toUtf8(TOKEN_LABELS.secret.mac + signed)));
}

/** Derives a key for one labelled use from a token's secret. */
export function keyOf(secret: string, label: string, length: number): Promise<Uint8Array<ArrayBuffer>> {
  return hkdf(fromBase64Url(secret) ?? new Uint8Array(), new Uint8Array(), label, length);
}

function parse(text: string): Statement | null {
  const [, payload = ''] = /^([\w-]+)\.[\w-]{86}\.[\w-]{43}$/.exec(text) ?? [];
  const object = parseObject(fromBase64Url(payload) ?? new Uint8Array());
  if (!hasExactly(object, MEMBERS)) return null;
  const statement = object as unknown as Statement; // the names are right, the types are checked next
  const { jti, key, name, hosts, nonce, authority } = statement;
  const isRight =
    [jti, key, name, nonce, authority].every((part) => typeof part === 'string') &&
    Array.isArray(hosts) &&
    hosts.length <= TOKEN_LIMITS.hosts &&
    hosts.every((host) => typeof host === 'string' && normalizeAuthority(host) === host);
  return isRight ? statement : null;
}
