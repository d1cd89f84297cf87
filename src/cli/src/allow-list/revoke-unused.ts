import {
  type Device,
  type DeviceEntry,
  dismissController,
  type ListDraft,
  type MissingPart,
} from '@authmesh/sdk/admin/list';
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
  toFilter({ unused }, 0); // so that a wrong time needs no identity
  const { trust, store } = await openMachine();
  const before = await look(trust, unused);
  if (before.unused.length === 0) {
    const error = missingError(before.missing, 'revoked');
    const note = `✓ Every device that may call this machine has called within ${unused}, as far as that is known. No changes were made.`;
    return {
      json: { revoked: [], ...(error && { ok: false, error }) },
      notes: [
        ...(error ? [] : [note]),
        ...unknownNotes(before.all),
        ...missingNotes(before.missing, 'revoked'),
        ...(error ? [UNCHANGED] : []),
      ],
      ...(error && { exitCode: EXIT.failure }),
    };
  }
  await confirm(`Revoke ${named(before.unused)}?`, yes);

  // The question may have waited for long: devices may have called since then, and tokens may have been issued.
  const { head, result } = await trust.update(async (draft) => {
    const now = await look(trust, unused);
    return { ...now, ...(await revokeEach(draft, before.unused, now)) };
  });
  const { gone, called, all, missing } = result;
  const error = missingError(missing, 'revoked');
  const confirmations = gone.length === 0 ? undefined : await confirmationsOf(trust, head.revision);
  const where = refusalText(confirmations, store.dir, 'them');
  return {
    json: {
      revoked: gone,
      ...(called.length > 0 && { called }),
      ...(confirmations === undefined ? {} : { confirmations }),
      ...(error && { ok: false, error }),
    },
    notes: [
      ...(gone.length === 0
        ? []
        : [`✓ Revoked ${gone.length === 1 ? '1 device' : `${gone.length} devices`}. ${where}`]),
      ...calledNotes(called),
      ...comebackNotes(gone, head),
      ...unknownNotes(all),
      ...missingNotes(missing, 'revoked'),
      ...(gone.length === 0 ? [UNCHANGED] : []),
    ],
    ...(error && { exitCode: EXIT.failure }),
  };
}

/** What the list and the record of calls say at one moment. */
interface Look {
  /** Unix seconds. */
  readonly seconds: number;
  /** The readable devices. */
  readonly all: readonly SeenDevice[];
  /** Those that may call, but have not for the time in question. */
  readonly unused: readonly SeenDevice[];
  readonly missing: readonly MissingPart[];
}

async function look(trust: Device['trust'], unused: string): Promise<Look> {
  const seconds = Math.floor(Date.now() / 1000);
  const isUnused = toFilter({ unused }, seconds);
  const list = await trust.read();
  const { devices, missing } = readDevices(list);
  const all = await withSeen(devices, list, trust);
  return { seconds, all, unused: all.filter((device) => isUnused?.(device)), missing };
}

/** @returns the devices that were revoked, and those that were not because they have called since the question */
async function revokeEach(draft: ListDraft, asked: readonly SeenDevice[], { seconds, all, unused }: Look) {
  const still = new Set(unused.map(({ deviceId }) => deviceId));
  const recorded = new Set(
    all.flatMap(({ deviceId, unusedSince }) => (unusedSince === null ? [] : [deviceId])),
  );
  const gone: DeviceEntry[] = [];
  const called: DeviceEntry[] = [];
  for (const { deviceId } of asked) {
    const known = await draft.device(deviceId);
    const isCaller = known?.roles.includes('controller') || known?.retiresAt !== undefined;
    if (known === undefined || !isCaller) continue; // somebody else was faster
    if (still.has(deviceId)) {
      await dismissController(draft, deviceId, seconds);
      gone.push(known);
    } else if (recorded.has(deviceId)) called.push(known);
  }
  return { gone, called };
}

/** Names the devices that were not revoked because they called after the question. */
function calledNotes(called: readonly DeviceEntry[]): string[] {
  if (called.length === 0) return [];
  const were = called.length === 1 ? 'it was' : 'they were';
  return [`! ${named(called)} called in the meantime, so ${were} not revoked.`];
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
