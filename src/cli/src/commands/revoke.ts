import {
  type Device,
  type DeviceEntry,
  type ListDraft,
  lookUp,
  pendingTokens,
  revokeDevice,
} from '@authmesh/sdk/admin/list';
import { AmeshError, CODES, isAmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { confirmationsOf, refusalText } from '../allow-list/confirmations';
import { missingError, missingNotes, readDevices } from '../allow-list/devices';
import { revokeByDelegate } from '../allow-list/revoke-delegate';
import { comebackNotes, revokeByGrant } from '../allow-list/revoke-grant';
import { revokeUnused } from '../allow-list/revoke-unused';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { CommandError, UNCHANGED, UsageError } from '../errors/errors';
import { EXIT } from '../errors/exit-codes';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { durationFlag, UNUSED_RANGE } from '../words/duration';
import { here } from '../words/here';
import { SUMMARIES } from './summaries';

export const revoke = defineCommand({
  meta: { name: 'revoke', description: SUMMARIES.revoke },
  args: {
    device: {
      type: 'positional',
      required: false,
      valueHint: 'id|name',
      description: 'The device: see amesh list',
    },
    grant: {
      type: 'string',
      valueHint: 'id|name',
      description: 'Revoke a grant, and every device that it added',
    },
    delegate: {
      type: 'string',
      valueHint: 'id',
      description: 'Revoke one delegation, by the ID that amesh delegate printed',
    },
    unused: durationFlag(
      'Revoke every device that may call this machine but has not for this long, such as 90d',
      UNUSED_RANGE,
    ),
    'all-controllers': { type: 'boolean', description: 'Revoke every device that may call this machine' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const all = args['all-controllers'] === true;
    const wishes = [args.device, args.grant, args.delegate, args.unused, all || undefined];
    if (wishes.filter((wish) => wish !== undefined).length !== 1) {
      throw new UsageError('Which device? Give its name or ID, or --all-controllers.', {
        hint: `See: ${here('amesh list')}   For all devices that a grant added: --grant ID|NAME`,
      });
    }
    if (args.grant !== undefined) return revokeByGrant(args.grant, args.yes);
    if (args.delegate !== undefined) return revokeByDelegate(args.delegate, args.yes);
    if (args.unused !== undefined) return revokeUnused(args.unused, args.yes);
    if (all) return revokeControllers(args.yes);
    const { identity, trust, store } = await openMachine();
    const device = await find(trust, args.device as string);
    await confirm(`Revoke ${describe(device)}?`, args.yes);
    const { head, result: gone } = await trust.update((draft) => revokeEach(draft, [device]));
    const [revoked] = gone; // as it was then: it may have changed since the question
    if (revoked === undefined) throw alreadyGone(`${called(device)} was just revoked by somebody else.`);
    const confirmations = await confirmationsOf(trust, head.revision);
    return {
      json: { revoked: gone, ...(confirmations === undefined ? {} : { confirmations }) },
      notes: [
        ...revokedNotes(gone, refusalText(confirmations, store.dir, 'it')),
        ...(revoked.was === undefined
          ? []
          : [`  The keys that it had before are revoked, too: ${revoked.was.join(', ')}`]),
        ...comebackNotes(gone, head),
        ...elsewhere(revoked, identity.deviceId),
      ],
    };
  },
});

/** For emergencies: a damaged page must not protect the devices on the other pages. */
async function revokeControllers(yes: boolean | undefined): Promise<Result> {
  const { trust, store } = await openMachine();
  const read = async () => {
    const { devices, missing } = readDevices(await trust.read());
    return { devices: devices.filter(isController), missing };
  };
  const { devices, missing: missingBefore } = await read();
  if (devices.length === 0 && missingBefore.length === 0)
    return { json: { revoked: [] }, notes: ['✓ No device may call this machine. No changes were made.'] };
  if (devices.length > 0) await confirm(`Revoke ${devices.map(describe).join(', ')}?`, yes);
  const { head, result } = await trust.update(async (draft) => {
    const { devices, missing } = await read(); // including controllers that were added in the meantime
    return { gone: await revokeEach(draft, devices), missing };
  });
  const { gone, missing } = result;
  const error = missingError(missing, 'revoked');
  const confirmations = gone.length === 0 ? undefined : await confirmationsOf(trust, head.revision);
  return {
    json: {
      revoked: gone,
      ...(confirmations === undefined ? {} : { confirmations }),
      ...(error && { ok: false, error }),
    },
    notes: [
      ...revokedNotes(gone, refusalText(confirmations, store.dir, 'it')),
      ...comebackNotes(gone, head),
      ...missingNotes(missing, 'revoked'),
      ...(gone.length === 0 ? [UNCHANGED] : []),
    ],
    ...(error && { exitCode: EXIT.failure }),
  };
}

async function revokeEach(draft: ListDraft, devices: readonly DeviceEntry[]): Promise<DeviceEntry[]> {
  const gone: DeviceEntry[] = [];
  for (const { deviceId } of devices) {
    const known = await draft.device(deviceId);
    if (known === undefined) continue;
    await revokeDevice(draft, deviceId, Math.floor(Date.now() / 1000));
    gone.push(known);
  }
  return gone;
}

function revokedNotes(gone: readonly DeviceEntry[], where: string): string[] {
  return gone.map((each, i) => `✓ Revoked ${called(each)}.${i === gone.length - 1 ? ` ${where}` : ''}`);
}

const isController = ({ roles }: DeviceEntry) => roles.includes('controller');
const called = ({ friendlyName, deviceId }: DeviceEntry) => `"${friendlyName}" (${deviceId})`;
const describe = (device: DeviceEntry) => `${called(device)}, ${device.roles.join(' and ')}`;

async function find(trust: Device['trust'], idOrName: string): Promise<DeviceEntry> {
  const tombstone = await trust.preview((draft) => draft.tombstone(idOrName));
  if (tombstone !== undefined) {
    const when = new Date(tombstone.revokedAt * 1000).toISOString();
    throw alreadyGone(`${idOrName} is not in the allow list: it was revoked at ${when}.`);
  }
  try {
    return await lookUp(trust, idOrName);
  } catch (error) {
    // amesh list also shows machines that have not taken their token yet.
    const pending = pendingTokens(await trust.readHead());
    const token = pending.find(({ friendlyName }) => friendlyName === idOrName);
    if (token === undefined || !isAmeshError(error) || error.code !== 'unknown_name') throw error;
    throw new AmeshError(CODES.unknown_name, `No machine has taken the token for "${idOrName}" yet.`, {
      fix: 'To cancel it',
      command: ['amesh', 'tokens', 'cancel', token.id],
    });
  }
}

function alreadyGone(message: string): CommandError {
  return new CommandError('already_revoked', message, `See who is in the list: ${here('amesh list')}`);
}

/** Says what to do on other machines: each has its own list, which this machine cannot change. */
function elsewhere({ roles, deviceId }: DeviceEntry, ownId: string): string[] {
  return [
    ...(roles.includes('controller')
      ? [`  On other machines that it may call, run:  amesh revoke ${deviceId}`]
      : []),
    ...(roles.includes('target')
      ? [`  On that machine, if this one may still call it, run:  amesh revoke ${ownId}`]
      : []),
  ];
}
