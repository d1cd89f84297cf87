import { besideDelegation } from '@authmesh/sdk/admin';
import { readVariable } from '@authmesh/sdk/admin/list';
import { type DelegatedSigner, delegatedSigner } from '@authmesh/sdk/core';
import { momentText } from '../words/duration';
import { printable } from '../words/printable';
import { shellWord } from '../words/shell';
import { type Finding, failed, ok, skipped } from './finding';

const VARIABLE = 'AMESH_DELEGATION';

export interface FoundDelegation extends Finding {
  /** Signs as the delegate; absent if a program with this environment does not call as a delegate. */
  readonly signer?: DelegatedSigner;
}

/** Checks AMESH_DELEGATION, with which a program calls as a delegate. @returns null if it is not set */
export async function checkDelegation(): Promise<FoundDelegation | null> {
  const { env } = process;
  const text = readVariable(env, VARIABLE, 'wrong');
  if (text === undefined) return null;
  const other = besideDelegation(env);
  if (other !== undefined)
    return failed(
      `${VARIABLE} and ${other} are both set, so a program fails at its first use: a delegate has no folder, list or key of its own.`,
      `unset ${other}   or, to use that one: unset ${VARIABLE}`,
    );
  const signer = await delegatedSigner(text).catch(() => null);
  if (signer === null)
    return failed(
      `${VARIABLE} is not a delegation.`,
      'Copy the whole text that amesh delegate printed: it begins with amesh_delegation_.',
    );
  const { name, deviceId, scopes, targets, expiresAt } = signer.delegation;
  const what = `${JSON.stringify(printable(name))} of ${deviceId} may call ${targets.join(', ')} with ${scopes.join(' ')}`;
  const end = momentText(expiresAt);
  if (expiresAt * 1000 > Date.now()) return { ...ok(`${what}, until ${end}.`), signer };
  const again = [
    ...['amesh', 'delegate', '--name', name],
    ...scopes.flatMap((scope) => ['--scope', scope]),
    ...targets.flatMap((target) => ['--target', target]),
  ];
  return {
    ...failed(`It ended ${end}: ${what}.`, `On ${deviceId}: ${again.map(shellWord).join(' ')}`),
    signer,
  };
}

/** The finding for something that a delegate does not use. */
export function notUsed(): Finding {
  return skipped(`Not used: with ${VARIABLE} a program calls as a delegate.`);
}
