import { andThen } from '../and-then';
import type { MaybePromise, PublicKey, VerifyingCrypto } from '../crypto/provider';
import { type AllowList, deviceIdOf, isOwnId, type TrustedDevice } from '../devices/allow-list';
import type { KeyCache } from '../devices/key-cache';
import { toUtf8 } from '../encoding';
import { REQUEST_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { momentText } from '../moment';
import type { Credentials } from '../wire/credentials';
import { fieldValue, type RequestView } from '../wire/view';
import { readStatement, type Statement } from './read-statement';
import type { CheckedStatement, StatementCache } from './statement-cache';

/** What the requests of a verifier share. */
interface Shared {
  readonly crypto: VerifyingCrypto;
  readonly keys: KeyCache;
  readonly statements: StatementCache;
}

/** A request of a device that the list knows. */
interface Carrying {
  readonly list: AllowList;
  readonly device: TrustedDevice;
  readonly credentials: Pick<Credentials, 'created'>;
  readonly statement?: CarriedStatement | undefined;
}

/** The statement that a request carries: one that was checked before, or one of which only the form was checked. */
export type CarriedStatement = CheckedStatement | Statement;

const KEY = 'authmesh-key';

/** Check 2 for AuthMesh-Key: the form of the statement, and whether it is one of this device. */
export function readCarried(
  { statements }: Shared,
  { headers }: RequestView,
  deviceId: string,
): CarriedStatement | Fault | undefined {
  const text = fieldValue(headers, KEY);
  if (text === undefined) return undefined;
  const statement = statements.get(deviceId, text) ?? readStatement(text, 'request');
  if (statement === null) return invalid('is malformed, or is not about a key for requests');
  return statement.deviceId === deviceId ? statement : invalid(`belongs to ${statement.deviceId}`);
}

/** Keeps the statement of a request whose signature was right. */
export function keepStatement(
  { statements }: Shared,
  { headers }: RequestView,
  checked: CarriedStatement,
): void {
  const text = fieldValue(headers, KEY) as string;
  if ('key' in checked && statements.get(checked.deviceId, text) !== checked) statements.set(text, checked);
}

/** A working key acts for its device towards applications. It is not a device, and amesh itself deals with devices only. */
export function checkPurpose({ target, headers }: RequestView): Fault | null {
  if (fieldValue(headers, KEY) === undefined) return null;
  const path = target.replace(/%([\da-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  if (!/^\/+\.well-known\/+amesh(?![^/?])/i.test(path)) return null;
  return invalid('does not count here: only a device itself may call this path');
}

/**
 * All that the list and the clock decide about the statement of a request, if it has one.
 *
 * @param nowMs when the statement has to count, Unix milliseconds
 */
export function checkStatement(
  { statement, list, device: { keysSince = 0 }, credentials: { created } }: Carrying,
  nowMs: number,
): Fault | null {
  if (statement === undefined) return null;
  const { issuedAt, expiresAt, id, delegation } = statement;
  // No tolerance is needed: `issuedAt` was set back by more than clocks may differ, and `created` is close to this clock.
  if (created < issuedAt) return invalid(`is from the future: it counts from ${momentText(issuedAt * 1000)}`);
  if (created > expiresAt || !(nowMs <= expiresAt * 1000))
    return invalid(`expired at ${momentText(expiresAt * 1000)}`);
  if (issuedAt < keysSince)
    return invalid(
      `begins before the keys of this device were cut, or it was paired again, at ${momentText(keysSince * 1000)}`,
    );
  if (delegation !== undefined && !delegation.targets.some((id) => isOwnId(list, id)))
    return invalid('is for other targets');
  if (list.endedDelegations?.has(id))
    return new Fault(REQUEST_CODES.delegate_revoked, `${nameOf(statement)} was revoked.`);
  return 'key' in statement ? checkUnlisted(statement, list) : null;
}

/** Check 7: the key that must have signed the request. */
export function signingKey(request: {
  readonly context: Shared;
  readonly view: RequestView;
  readonly device: TrustedDevice;
  readonly list: AllowList;
  statement?: CarriedStatement | undefined;
}): MaybePromise<PublicKey | Fault> {
  const { context, device, statement } = request;
  if (statement === undefined) return context.keys.keyOf(device);
  if ('key' in statement && statement.deviceKey === device.publicKey) return statement.key;
  return andThen(checkSigned(context, device, statement), (checked) => {
    if (checked instanceof Fault) return checked;
    request.statement = checked;
    // So that a stranger who has seen a statement cannot have it checked again and again.
    context.statements.offer(fieldValue(request.view.headers, KEY) as string, checked);
    return checkUnlisted(checked, request.list) ?? checked.key;
  });
}

async function checkSigned(
  { keys, crypto }: Shared,
  device: TrustedDevice,
  statement: Statement,
): Promise<CheckedStatement | Fault> {
  const { publicKey, input, signature } = statement;
  const deviceKey = await keys.keyOf(device);
  if ((await deviceKey.verify(signature, toUtf8(input))) !== true)
    return invalid('was changed, or was not signed by the key of this device');
  return {
    ...statement,
    deviceKey: device.publicKey,
    key: await crypto.importPublicKey(publicKey),
    keyId: await deviceIdOf(publicKey, crypto),
  };
}

/** A key is a device key or a working key, never both, so that what it signs has one meaning. */
function checkUnlisted(statement: CheckedStatement, list: AllowList): Fault | null {
  if (statement.unlistedIn?.deref() === list) return null;
  const { keyId } = statement;
  if (isOwnId(list, keyId) || list.find(keyId) !== undefined)
    return invalid('names the key of a device as its working key');
  statement.unlistedIn = new WeakRef(list);
  return null;
}

function invalid(how: string): Fault {
  return new Fault(REQUEST_CODES.key_statement_invalid, `The statement in AuthMesh-Key ${how}.`);
}

/** The caller, in a sentence of the log. */
function nameOf({ deviceId, delegation }: CarriedStatement): string {
  return delegation === undefined
    ? `The working key of ${deviceId}`
    : `The delegate ${delegation.name} of ${deviceId}`;
}
