import { type Told, targetsAt, tellTargets, withdrawRotation } from '@authmesh/sdk/admin';
import {
  type Device,
  type DeviceIdentity,
  type OwnRotation,
  readRotationFile,
} from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { namesOf, readFollowers } from '../allow-list/followers';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { inSteps } from '../errors/changes';
import { UsageError } from '../errors/errors';
import { EXIT } from '../errors/exit-codes';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { toldNotes, toUrls, URLS_ARG } from './rotate-urls';

export const rotateWithdraw = defineCommand({
  meta: {
    name: 'withdraw',
    description: 'Withdraws a rotation: the former key is the key of this machine again',
  },
  args: {
    url: { ...URLS_ARG, description: 'A URL of a target that learns now that the next key does not count' },
    next: {
      type: 'string',
      valueHint: 'am_…',
      description:
        'Withdraw a next key that this machine did not make, at the URLs: somebody else used its key',
    },
    force: { type: 'boolean', description: 'Give up targets that do not know that it was withdrawn' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const urls = toUrls(args._);
    const device = await openMachine();
    if (args.next !== undefined) return withdrawOther(device, args.next, urls);
    const list = await device.trust.read(); // read before the list belongs to the former key again
    const followers = await readFollowers(device.store, list);
    if (followers !== null)
      await confirm(
        `Go back to the former key (${followers.formerId}), and remove the next one (${followers.nextId})?`,
        args.yes,
      );
    const { force } = args;
    const { rotation, identity, told, left } = await inSteps((onChange) =>
      withdrawRotation(device, process.env, { urls, force, onChange }),
    );
    const nextId = rotation.next.deviceId;
    const names = namesOf(
      left.map((id) => ({ deviceId: id, friendlyName: list.entry(id)?.friendlyName ?? null })),
    );
    return {
      json: { deviceId: identity.deviceId, withdrawnId: nextId, told, left },
      notes: [
        ...toldNotes(told, 'withdraw'),
        ...(told.some(({ answer }) => answer === 'accepted' || answer === 'waiting')
          ? [`! It is in the list there as a device of its own. On the target:  amesh revoke ${nextId}`]
          : []),
        `✓ This machine uses its former key again (${identity.deviceId}). The key of ${nextId} is removed.`,
        ...(left.length === 0
          ? []
          : [
              `! ${names} may not know that yet. The next request to each tells it; until then this machine cannot rotate again.`,
            ]),
        '  Machines that were paired since then know only the key that is removed: pair them again.',
      ],
      ...(mayCount(told) && !force && { exitCode: EXIT.failure }),
    };
  },
});

/** Tells targets that a next key does not count, because somebody else has made it with the key of this machine. */
async function withdrawOther(device: Device, nextId: string, urls: readonly URL[]): Promise<Result> {
  if (!/^am_[\w-]{16}$/.test(nextId))
    throw new UsageError('--next is an ID: am_ and 16 characters, as the log of the target says.');
  if (urls.length === 0) throw new UsageError('Name a URL of each target that has the next key.');
  const addressed = targetsAt(await device.trust.read(), urls);
  const rotation = await readRotationFile(device.store).catch(() => null); // a damaged file must not stop this
  const told: Told[] = [];
  const ids = new Set<string>();
  await inSteps(async (onChange) => {
    for (const { url, target } of addressed) {
      const former = knownAs(device, rotation, target.deviceId);
      const asked = { former, next: { deviceId: nextId }, targets: {} };
      const answers = await tellTargets(device, asked, 'withdraw', [url], process.env, { onChange });
      told.push(...answers);
      if (mayCount(answers)) ids.add(former.deviceId);
    }
  });
  const notes = toldNotes(told, 'withdraw');
  const json = { deviceId: device.identity.deviceId, withdrawnId: nextId, told, left: leftOf(told) };
  if (ids.size > 0) {
    const commands = [...ids].map((id) => `amesh revoke ${id}`).join('  or  ');
    const note = `! ${nextId} may still count. On the target:  ${commands}`;
    return { json, notes: [...notes, note], exitCode: EXIT.failure };
  }
  const note = `✓ ${nextId} does not count there. Somebody else could use the key of this machine: see docs/keys.md.`;
  return { json, notes: [...notes, note] };
}

/**
 * The identity by which a target knows this machine: the former one, until the target has accepted the next key, and while that is
 * withdrawn.
 */
function knownAs({ identity }: Device, rotation: OwnRotation | null, targetId: string): DeviceIdentity {
  if (rotation === null || rotation.next.deviceId !== identity.deviceId) return identity;
  const told = rotation.targets[targetId];
  if (told === undefined) return identity; // a target that was paired since knows no other key
  return told.state === 'accepted' && rotation.withdrawnAt === undefined ? identity : rotation.former;
}

/** Whether a next key may still count at a target. Only `withdrawn` says that it does not. */
function mayCount(told: readonly Told[]): boolean {
  return told.some(({ answer }) => answer !== 'withdrawn');
}

function leftOf(told: readonly Told[]): string[] {
  return told.filter((each) => mayCount([each])).map(({ target }) => target);
}
