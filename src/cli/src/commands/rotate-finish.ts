import { finishRotation } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { namesOf, readFollowers } from '../allow-list/followers';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { inSteps } from '../errors/changes';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { toldNotes, toUrls, URLS_ARG } from './rotate-urls';

export const rotateFinish = defineCommand({
  meta: { name: 'finish', description: 'Ends a rotation: removes the former key of this machine' },
  args: {
    url: { ...URLS_ARG, description: 'A URL of a target that learns now that the former key ends' },
    force: {
      type: 'boolean',
      description:
        'Give up targets that have not accepted the next key: they refuse this machine from then on',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const urls = toUrls(args._);
    const device = await openMachine();
    const entries = await device.trust.read();
    const followers = args.force ? await readFollowers(device.store, entries) : null;
    const lost = followers?.targets.filter(({ hasFollowed }) => !hasFollowed) ?? [];
    if (followers !== null && lost.length > 0) {
      const have = lost.length === 1 ? 'has' : 'have';
      await confirm(
        `Remove the former key (${followers.formerId})? ${namesOf(lost)} ${have} not accepted ${followers.nextId}, and will refuse this machine.`,
        args.yes,
      );
    }
    const { list } = entries.head;
    const { force } = args;
    const { rotation, told, left } = await inSteps((onChange) =>
      finishRotation(device, process.env, { force, urls, onChange }),
    );
    const inAgent = rotation.former.key.backend === 'ssh-agent';
    return {
      json: { deviceId: rotation.next.deviceId, formerId: rotation.former.deviceId, list, told, left },
      notes: [
        ...toldNotes(told),
        `✓ The former key (${rotation.former.deviceId}) is ${inAgent ? 'not used any more, and stays in the SSH agent' : 'removed'}: this machine signs with ${rotation.next.deviceId} alone.`,
        ...left.map(
          (id) =>
            `! ${namesOf([{ deviceId: id, friendlyName: entries.entry(id)?.friendlyName ?? null }])} has not accepted the next key: pair with it again.`,
        ),
        '  Each target accepts the former key until 30 days after it accepted the next one, unless it learns earlier that this key has ended.',
        ...instanceNotes(rotation.next.publicKey, list),
      ],
    };
  },
});

/** What the instances that read the list of this machine need from now on. */
function instanceNotes(owner: string, list: string): string[] {
  const { AMESH_STORE_URL, AMESH_OWNER_KEY } = process.env;
  if (!AMESH_STORE_URL && !AMESH_OWNER_KEY) return [];
  return [
    '  Instances that read the list, and this shell if AMESH_OWNER_KEY is set here, need only the next key from now on:',
    `    AMESH_OWNER_KEY=${owner}`,
    `    AMESH_DEVICE_ID=${list}`,
    '  Those with an answer key get one of the next key now:  amesh answer-key',
  ];
}
