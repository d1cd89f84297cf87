import { type DeviceEntry, dismissController } from '@authmesh/sdk/admin/list';
import type { Result } from '../command-line/command';
import { UNCHANGED } from '../errors/errors';
import { EXIT } from '../errors/exit-codes';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { confirmationsOf, refusalText } from './confirmations';
import { missingError, missingNotes, readDevices, withSeen } from './devices';
import { type SeenDevice, toFilter } from './filters';
import { comebackNotes } from './revoke-grant';

/** How many devices the question names at most. */
const MAX_NAMED = 10;

/**
 * Revokes every device that may call this machine but has not called for a time. A device that is also a target stays one.
 * The times of calls are not sealed, so a person must agree, and only the devices in the question are revoked.
 */
export async function revokeUnused(unused: string, yes: boolean | undefined): Promise<Result> {
  const now = Math.floor(Date.now() / 1000);
  const isUnused = toFilter({ unused }, now);
  const { trust, store } = await openMachine();
  const list = await trust.read();
  const { devices: readable, missing } = readDevices(list);
  const all = await withSeen(readable, list, trust);
  const devices = all.filter((device) => isUnused?.(device));
  const unknown = unknownNotes(all);
  const error = missingError(missing, 'revoked');
  const failed = error && { ok: false, error };
  if (devices.length === 0) {
    const note = `✓ Every device that may call this machine has called within ${unused}, as far as that is known. No changes were made.`;
    return {
      json: { revoked: [], ...failed },
      notes: [
        ...(error ? [] : [note]),
        ...unknown,
        ...missingNotes(missing, 'revoked'),
        ...(error ? [UNCHANGED] : []),
      ],
      ...(error && { exitCode: EXIT.failure }),
    };
  }
  await confirm(`Revoke ${named(devices)}?`, yes);

  const { head, result: gone } = await trust.update(async (draft) => {
    const gone: DeviceEntry[] = [];
    for (const { deviceId } of devices) {
      const known = await draft.device(deviceId);
      if (!known?.roles.includes('controller')) continue;
      await dismissController(draft, deviceId, now);
      gone.push(known);
    }
    return gone;
  });
  const confirmations = await confirmationsOf(trust, head.revision);
  const where = refusalText(confirmations, store.dir, 'them');
  return {
    json: { revoked: gone, ...(confirmations === undefined ? {} : { confirmations }), ...failed },
    notes: [
      `✓ Revoked ${gone.length === 1 ? '1 device' : `${gone.length} devices`}. ${where}`,
      ...comebackNotes(gone, head),
      ...unknown,
      ...missingNotes(missing, 'revoked'),
    ],
    ...(error && { exitCode: EXIT.failure }),
  };
}

/** Names the devices without a record: nobody knows whether they have called, so they do not count as unused. */
function unknownNotes(all: readonly SeenDevice[]): string[] {
  const { length } = all.filter(
    ({ roles, unusedSince }) => roles.includes('controller') && unusedSince === null,
  );
  if (length === 0) return [];
  return [
    `! No record says when ${length === 1 ? '1 device' : `${length} devices`} last called, so ${length === 1 ? 'it does' : 'they do'} not count as unused.`,
  ];
}

function named(devices: readonly DeviceEntry[]): string {
  const names = devices
    .slice(0, MAX_NAMED)
    .map(({ friendlyName, deviceId }) => `"${friendlyName}" (${deviceId})`);
  const more = devices.length - names.length;
  return names.join(', ') + (more === 0 ? '' : ` and ${more} more`);
}
