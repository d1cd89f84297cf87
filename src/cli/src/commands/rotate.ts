import { type Rotating, rotateKey, targetsAt, tellTargets } from '@authmesh/sdk/admin';
import { type Device, findBackend, type ListHead } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Followers, followedText, followerRows, followersOf, namesOf } from '../allow-list/followers';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { inSteps } from '../errors/changes';
import { UsageError } from '../errors/errors';
import { assertForAgent } from '../machine/for-agent';
import { machineDir, openMachine } from '../machine/machine';
import { askYesNo, isAttended } from '../terminal/prompt';
import { here } from '../words/here';
import { likelyUrl } from '../words/likely-url';
import { table } from '../words/table';
import { compromised } from './rotate-compromised';
import { toldNotes, toUrls, URLS_ARG } from './rotate-urls';
import { SUMMARIES } from './summaries';

export const rotate = defineCommand({
  meta: {
    name: 'rotate',
    description: SUMMARIES.rotate,
  },
  args: {
    url: {
      ...URLS_ARG,
      description: 'A URL of a target that verify() protects: a signed GET announces the next key to it',
    },
    backend: {
      type: 'string',
      valueHint: 'name',
      description: 'Where the next key is stored: see amesh keys; default: where the present one is',
    },
    key: {
      type: 'string',
      valueHint: 'fingerprint|comment',
      description: 'The key of an SSH agent, if several fit',
    },
    socket: { type: 'string', valueHint: 'path', description: 'The socket of the SSH agent, kept for later' },
    compromised: {
      type: 'boolean',
      description: 'Change nothing, and print what to do if somebody else may have the key',
    },
    ...SHARED_ARGS,
  },
  subCommands: {
    accept: () => import('./rotate-accept').then(({ rotateAccept }) => rotateAccept),
    refuse: () => import('./rotate-refuse').then(({ rotateRefuse }) => rotateRefuse),
    withdraw: () => import('./rotate-withdraw').then(({ rotateWithdraw }) => rotateWithdraw),
    finish: () => import('./rotate-finish').then(({ rotateFinish }) => rotateFinish),
  },

  async run({ args }): Promise<Result> {
    const urls = toUrls(args._);
    if (args.compromised) {
      if (urls.length > 0) throw new UsageError('--compromised sends nothing, so it takes no URL.');
      return compromised();
    }
    const { backend, key, socket } = args;
    if (key !== undefined || socket !== undefined)
      assertForAgent(backend ?? (await openMachine()).identity.key.backend, args);
    if (urls.length > 0) targetsAt(await (await openMachine()).trust.read(), urls); // before the key is replaced
    return inSteps(async (onChange) => {
      const rotating = await rotateKey(machineDir(), process.env, {
        backend,
        agentKey: key,
        agentSocket: socket,
        haveInstancesBoth: (owners) => askForInstances(owners, args.yes),
        onChange,
      });
      onChange();
      return report(
        rotating,
        urls,
        [backend, key, socket].some((flag) => flag !== undefined),
      );
    });
  },
});

/**
 * Tells targets, and says how far the rotation is.
 *
 * @param choosesKey whether the user has chosen the next key
 */
async function report(rotating: Rotating, urls: readonly URL[], choosesKey: boolean): Promise<Result> {
  const { rotation, isNew, isSwapped, waitsForOwners, cancelled } = rotating;
  const device = await openMachine();
  const told =
    waitsForOwners === null ? await tellTargets(device, rotation, 'rotate', urls, process.env) : [];
  const list = await device.trust.read();
  const now = (await readAgain(device, rotating)) ?? rotation;
  const followers = followersOf(now, list, rotating.identity.deviceId);
  const { formerId, nextId, startedAt, targets } = followers;
  return {
    json: {
      deviceId: rotating.identity.deviceId,
      formerId,
      nextId,
      startedAt,
      isNew,
      isSwapped,
      waitsForOwners,
      list: list.head.list,
      cancelled,
      targets,
      told,
    },
    data: table(followerRows(followers)),
    notes: [
      ...(await begunNotes(device, rotating)),
      ...(isNew || !choosesKey
        ? []
        : [`  A rotation was under way, and continues with ${nextId}: no other key was made.`]),
      ...(waitsForOwners === null ? [] : ownersNotes(waitsForOwners, list.head)),
      ...toldNotes(told),
      ...(waitsForOwners === null ? nextNotes(followers) : []),
    ],
  };
}

/**
 * Whether each instance has both keys. The next key is made already, so a no is no reason to stop: the command says what they need.
 * Without a terminal nobody can be asked.
 */
async function askForInstances(owners: string, yes: boolean | undefined): Promise<boolean> {
  if (yes) return true;
  const question = `From now on the next key seals the list. Instances that do not have AMESH_OWNER_KEY=${owners} will refuse every request. Do all of them have it?`;
  return isAttended() && askYesNo(question);
}

async function readAgain({ store }: Device, { rotation }: Rotating) {
  const { readRotationFile } = await import('@authmesh/sdk/admin/list');
  const now = await readRotationFile(store);
  return now?.own === rotation.own ? now : null;
}

async function begunNotes({ store }: Device, rotating: Rotating): Promise<string[]> {
  const { rotation, isNew, isSwapped, cancelled } = rotating;
  const { backend, ref } = rotation.next.key;
  return [
    ...(isNew
      ? [
          `✓ Next key  ${rotation.next.deviceId}`,
          `✓ Key       ${await findBackend(backend).describe({ dir: store.dir, env: process.env }, ref)}`,
        ]
      : []),
    ...(isSwapped
      ? [
          '✓ This machine uses the next key. Running programs notice that within a second: no restart is needed.',
          '  The former key signs for each target that does not know the next one yet.',
          ...(rotation.next.key.backend === rotation.former.key.backend
            ? []
            : [
                '  A program that cannot use the next key logs that, and continues with the former one: read the logs before amesh rotate finish.',
              ]),
        ]
      : []),
    ...(cancelled.length === 0
      ? []
      : [
          `! Cancelled ${cancelled.length === 1 ? 'a provision token that no machine had taken: its machine' : `${cancelled.length} provision tokens that no machine had taken: their machines`} would trust the former key. Make new ones: amesh provision`,
        ]),
  ];
}

function ownersNotes(owners: string, { list }: Pick<ListHead, 'list'>): string[] {
  return [
    '! Other instances read the list of this machine, and know its key. Nothing has changed for them yet.',
    '  Set on each of them, and in this shell if AMESH_OWNER_KEY is set here',
    `    AMESH_OWNER_KEY=${owners}`,
    `    AMESH_DEVICE_ID=${list}`,
    `  Then run again:  ${here('amesh rotate --yes')}`,
  ];
}

function nextNotes(followers: Followers): string[] {
  const { nextId, targets } = followers;
  const isDone = targets.every(({ hasFollowed }) => hasFollowed);
  const refused = targets.filter(({ state }) => state === 'refused');
  return [
    `  ${followedText(followers)}.${isDone ? '' : ' Each learns of it with the next request that this machine sends to it.'}`,
    ...(targets.some(({ state }) => state === 'waiting')
      ? [`  Where the next key is waiting, an administrator accepts it there:  amesh rotate accept ${nextId}`]
      : []),
    ...(refused.length === 0 ? [] : [`! ${namesOf(refused)} refused it: see the log there.`]),
    isDone
      ? `  To remove the former key:  ${here('amesh rotate finish')}`
      : `  To announce it to one now:  ${here(`amesh rotate ${urlOf(targets)}`)}   To withdraw it:  ${here('amesh rotate withdraw')}`,
  ];
}

/** A URL of the first target that does not know the next key. Its path is only an example: any protected path works. */
function urlOf(targets: Followers['targets']): string {
  const [host] = targets.flatMap(({ hasFollowed, hosts }) => (hasFollowed ? [] : hosts));
  return `${host === undefined ? 'https://HOST/' : likelyUrl(host)}PATH`;
}
