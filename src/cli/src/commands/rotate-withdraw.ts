import { type Told, tellTargets, withdrawRotation } from '@authmesh/sdk/admin';
import type { Device } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { namesOf } from '../allow-list/followers';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { inSteps } from '../errors/changes';
import { UsageError } from '../errors/errors';
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
    await confirm('Go back to the former key, and remove the next one?', args.yes);
    const list = await device.trust.read(); // read before the list belongs to the former key again
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
        `✓ This machine uses its former key again (${identity.deviceId}). The key of ${nextId} is removed.`,
        ...(left.length === 0
          ? []
          : [
              `! ${names} may not know that yet. The next request to each tells it; until then this machine cannot rotate again.`,
            ]),
        '  Machines that were paired since then know only the key that is removed: pair them again.',
      ],
    };
  },
});

/** Tells targets that a next key does not count, because somebody else has made it with the key of this machine. */
async function withdrawOther(device: Device, nextId: string, urls: readonly URL[]): Promise<Result> {
  if (!/^am_[\w-]{16}$/.test(nextId))
    throw new UsageError('--next is an ID: am_ and 16 characters, as the log of the target says.');
  if (urls.length === 0) throw new UsageError('Name a URL of each target that has the next key.');
  const { identity } = device;
  const rotation = { former: identity, next: { deviceId: nextId }, targets: {} };
  const told = await inSteps((onChange) =>
    tellTargets(device, rotation, 'withdraw', urls, process.env, { onChange }),
  );
  const isDone = told.every(({ answer }) => answer === 'refused');
  return {
    json: { deviceId: identity.deviceId, withdrawnId: nextId, told, left: leftOf(told) },
    notes: [
      ...toldNotes(told, 'withdraw'),
      isDone
        ? `✓ ${nextId} does not count there. Somebody else could use the key of this machine: see docs/keys.md.`
        : `! ${nextId} may still count. On the target:  amesh revoke ${identity.deviceId}`,
    ],
  };
}

function leftOf(told: readonly Told[]): string[] {
  return told.filter(({ answer }) => answer !== 'refused').map(({ target }) => target);
}
