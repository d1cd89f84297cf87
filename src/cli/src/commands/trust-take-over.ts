import { readFile, stat } from 'node:fs/promises';
import { addHandOver, readTakeOver, takeOverList } from '@authmesh/sdk/admin';
import { type Device, type ListHead, pendingTokens } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Confirmations, confirmationsOf, confirmationText } from '../allow-list/confirmations';
import { assertWhole, countDevices, countRole } from '../allow-list/devices';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { momentText } from '../words/duration';
import { here } from '../words/here';

/** A list of two million devices is shorter. */
const MAX_BYTES = 1_073_741_824;

export const trustTakeOver = defineCommand({
  meta: {
    name: 'take-over',
    description: "Moves a target's allow list to this machine's key, the second one in AMESH_OWNER_KEY",
  },
  args: {
    list: {
      type: 'positional',
      required: false,
      valueHint: 'file',
      description: 'The output of amesh list --export; default: the list in AMESH_STORE_URL or this folder',
    },
    'hand-over': {
      type: 'string',
      valueHint: 'line',
      description: 'The line that amesh trust hand-over printed on the machine of the present owner',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const device = await openMachine();
    const handOver = args['hand-over'];
    const from = args.list === undefined ? undefined : await readList(args.list);
    const { list, isDone } = await readTakeOver(device, process.env, { from });
    const { head } = list;
    if (isDone) return addTo(device, head, handOver);
    assertWhole(list);
    const pending = pendingTokens(head);
    const count = countDevices(list);
    const ends = pending.length === 0 ? '' : ` ${tokensText(pending.length)} will be cancelled.`;
    await confirm(
      `The list of ${head.list} has ${count === 1 ? '1 device' : `${count} devices`}, at revision ${head.revision} of ${momentText(head.updatedAt)}.${ends} Its present owner will not be able to change it any more, and this cannot be undone. Instances that do not have both keys in AMESH_OWNER_KEY will refuse every request. Take it over?`,
      args.yes,
    );
    const made = await takeOverList(device, process.env, { from, handOver });
    const cancelled = pendingTokens(made.former); // the list may have changed since the question
    const confirmations = await confirmationsOf(device.trust, made.revision);
    return {
      json: {
        changed: true,
        list: made.list,
        from: made.former.revision,
        revision: made.revision,
        cancelled: cancelled.map(({ id }) => id),
        movedTo: made.movedTo,
        handedOver: handOver !== undefined,
        ...(confirmations === undefined ? {} : { confirmations }),
      },
      notes: [
        `✓ This machine now seals the list of ${made.list}, at revision ${made.revision}.`,
        ...(made.movedTo === null ? [] : [`  A copy of the list that was here is in ${made.movedTo}`]),
        ...confirmed(confirmations),
        ...(cancelled.length === 0
          ? []
          : [
              `! ${tokensText(cancelled.length)} had not been taken, and will not be: make new ones with amesh provision.`,
            ]),
        ...(countRole(list, 'target') === 0
          ? []
          : [
              '! The targets in the list trust the former key. Pair them again if this machine is to call them.',
            ]),
        ...(handOver === undefined ? WITHOUT_HAND_OVER : [FOLLOWED]),
        ...nextSteps(device, made),
      ],
    };
  },
});

const FOLLOWED = '  Callers that ask for proofs follow this machine to its key with their next request.';
const WITHOUT_HAND_OVER = [
  '! Callers over plain http, and others that ask for proofs, do not know the key of this machine. If the former key is still',
  '  there: amesh trust hand-over on its machine, and then this command again with --hand-over. If not, pair them again.',
];

/** What the command does if this machine already seals the list. */
async function addTo(device: Device, before: ListHead, handOver: string | undefined): Promise<Result> {
  if (handOver === undefined) {
    return {
      json: { changed: false, revision: before.revision, list: before.list },
      notes: ['✓ This machine already seals the list. No changes were made.', ...nextSteps(device, before)],
    };
  }
  const { head, isChanged } = await addHandOver(device, handOver);
  const { revision, list } = head;
  return {
    json: { changed: isChanged, revision, list, handedOver: true },
    notes: [
      isChanged
        ? `✓ The list has the hand-over of its former owner, at revision ${revision}.`
        : '✓ The list already has a hand-over of its former owner. No changes were made.',
      FOLLOWED,
      ...nextSteps(device, head),
    ],
  };
}

function confirmed(confirmations: Confirmations | null | undefined): string[] {
  return confirmations === undefined ? [] : [`  ${confirmationText(confirmations)}`];
}

function tokensText(count: number): string {
  return count === 1 ? '1 provision token' : `${count} provision tokens`;
}

function nextSteps({ identity }: Device, { list, revision }: ListHead): string[] {
  return [
    '  Next: on each instance, one by one, and in this shell',
    `          AMESH_OWNER_KEY=${identity.publicKey}`,
    `          AMESH_DEVICE_ID=${list}`,
    '        Until then, an instance that starts without its memory would accept the lists of the former owner.',
    `        If that cannot be done soon, set AMESH_MIN_REVISION=${revision} there.`,
    `        then, to see that it works   ${here('amesh list')}`,
  ];
}

/** @throws UsageError if it is not a file, or longer than a list can be */
async function readList(path: string): Promise<Uint8Array> {
  try {
    // It may be a pipe, which has no size of its own.
    const { size } = await stat(path);
    const bytes = size > MAX_BYTES ? null : await readFile(path);
    if (bytes !== null && bytes.length <= MAX_BYTES) return bytes;
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}.`, {
      hint: 'Give the file that amesh list --export > list.txt wrote.',
    });
  }
  throw new UsageError(`${path} is larger than a list can be.`);
}
