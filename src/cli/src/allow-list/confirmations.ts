import { setTimeout as sleep } from 'node:timers/promises';
import type { Device } from '@authmesh/sdk/admin/list';

/** Instances learn of a change immediately, or read it within a second. */
const WAIT_MS = 1500;

/** How many of the instances that share a list have confirmed a revision. */
export interface Confirmations {
  readonly confirmed: number;
  readonly instances: number;
}

/**
 * Waits briefly for all instances to confirm a revision.
 *
 * @returns undefined if the list is in a folder; null if its store did not answer
 */
export async function confirmationsOf(
  trust: Device['trust'],
  revision: number,
): Promise<Confirmations | null | undefined> {
  for (const endsAt = performance.now() + WAIT_MS; ; ) {
    try {
      const found = await trust.confirmations(revision);
      if (found === null) return undefined;
      if (found.confirmed === found.instances || performance.now() > endsAt) return found;
    } catch {
      return null; // the change itself succeeded
    }
    await sleep(20);
  }
}

/**
 * When a revocation takes effect.
 *
 * @param dir the folder of this machine
 * @param whom `it` or `them`
 */
export function refusalText(
  confirmations: Confirmations | null | undefined,
  dir: string,
  whom: 'it' | 'them',
): string {
  return confirmations === undefined
    ? `Servers on this machine that use ${dir} refuse ${whom} within a second.`
    : confirmationText(confirmations);
}

/** When another change takes effect. */
export function knownText(confirmations: Confirmations | null | undefined, dir: string): string {
  return confirmations === undefined
    ? `Servers on this machine that use ${dir} know that within a second.`
    : confirmationText(confirmations);
}

export function confirmationText(confirmations: Confirmations | null): string {
  if (confirmations === null) {
    return 'The store does not say which instances have the new list. An instance that cannot read the store soon refuses every request.';
  }
  const { confirmed, instances } = confirmations;
  if (instances === 0) return 'No instance uses this list at the moment.';
  if (confirmed === instances) return `Confirmed by ${all(instances)}.`;
  return `Confirmed by ${confirmed} of ${instances} instances. An instance that cannot read the store soon refuses every request.`;
}

function all(instances: number): string {
  return instances === 1 ? 'the one instance' : `all ${instances} instances`;
}
