import { withdrawRotation } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { toldNotes, toUrls, URLS_ARG } from './rotate-urls';

export const rotateWithdraw = defineCommand({
  meta: {
    name: 'withdraw',
    description: 'Takes a rotation back: the former key is the key of this machine again',
  },
  args: {
    url: { ...URLS_ARG, description: 'Where to tell a target that the next key does not count' },
    force: { type: 'boolean', description: 'Give up targets that do not know that it was taken back' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const urls = toUrls(args._);
    const device = await openMachine();
    await confirm('Go back to the former key, and remove the next one?', args.yes);
    const { rotation, identity, told, left } = await withdrawRotation(device, process.env, {
      urls,
      force: args.force,
    });
    const nextId = rotation.next.deviceId;
    return {
      json: { deviceId: identity.deviceId, withdrawnId: nextId, told, left },
      notes: [
        ...toldNotes(told),
        `✓ This machine uses its former key again (${identity.deviceId}). The key of ${nextId} is removed.`,
        ...(left.length === 0
          ? []
          : [
              `! ${left.join(', ')} may not know that yet. The next request to each tells it; until then this machine cannot rotate again.`,
            ]),
        '  Machines that were paired since then know only the key that is removed: pair them again.',
      ],
    };
  },
});
