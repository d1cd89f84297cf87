import { readOlderList, resetTrust } from '@authmesh/sdk/admin';
import type { Device, PagedList } from '@authmesh/sdk/admin/list';
import { isAmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { assertWhole, countDevices, missingError, readDevices } from '../allow-list/devices';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { CommandError, UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { shellWord } from '../words/shell';

export const trustReset = defineCommand({
  meta: { name: 'reset', description: 'Replaces a broken allow list with an empty one' },
  args: {
    keep: {
      type: 'boolean',
      description: 'Keep the content of the stored list, if it is only too old or seen.json is damaged',
    },
    above: {
      type: 'string',
      valueHint: 'N',
      description: 'Go beyond revision N, which another instance has seen',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const device = await openMachine();
    const above = args.above === undefined ? undefined : toRevision(args.above);
    if (args.keep) return goOn(device, above, args.yes);
    // Read first: if the list changes between the two, it has changed since the question, too.
    const stored = await readOlderList(device, process.env).catch(() => null);
    const found = await look(device);
    const hosts = typeof found === 'string' ? [] : found.hosts;
    await confirm(`${describe(found)} Replace it with an empty one?`, args.yes);
    const check = args.yes ? undefined : (now: PagedList | null) => assertSame(stored, now);
    const { movedTo, revision } = await resetTrust(device.store.dir, process.env, { above, check });
    return {
      json: { movedTo, revision },
      notes: [
        '✓ Started an empty allow list.',
        movedTo === null ? '  There was no old one.' : `  A copy of the old one is in ${movedTo}`,
        '  This machine now trusts nobody: pair every machine again, and set the hosts again.',
        `  Next: each machine that calls this one   ${here('amesh trust add --role controller "LINE"')}`,
        `        each machine that this one calls   ${here('amesh trust add --role target --host HOST:PORT "LINE"')}`,
        `        the hosts, if there were any       ${here(`amesh config hosts ${shellWord(hosts.join(',') || 'api.example.com')}`)}`,
        '        LINE is what amesh trust export prints on the other machine.',
      ],
    };
  },
});

/** What to do if the pages are lost for good. */
function withoutBackup(): string {
  return ` Without a backup, start an empty list: ${here('amesh trust reset')}`;
}

/** What the reset would lose. If the list is intact, people may then decide against the reset. */
function describe(found: PagedList | string): string {
  if (typeof found === 'string') return found;
  const missing = missingError(readDevices(found).missing);
  const devices = devicesText(countDevices(found));
  return missing === undefined
    ? `The allow list is intact, with ${devices}.`
    : `${missing.message} The rest has ${devices}.`;
}

/** @throws UsageError */
function toRevision(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text) && Number(text) < 2 ** 47) return Number(text);
  throw new UsageError('--above is the number of a revision, such as 1048577.');
}

async function goOn(device: Device, above: number | undefined, yes: boolean | undefined): Promise<Result> {
  const found = await look(device);
  if (typeof found !== 'string') assertWhole(found, withoutBackup());
  if (above === undefined && typeof found !== 'string') {
    return {
      json: { changed: false },
      notes: [
        '✓ The allow list is intact. No changes were made.',
        '  If a server reports an older list, its folder was restored while it ran: restart the server.',
      ],
    };
  }
  let older = await readOlderList(device, process.env);
  assertWhole(older, withoutBackup());
  const { head } = older;
  await confirm(
    `Continue from revision ${head.revision} of ${momentText(head.updatedAt)}, with ${devicesText(countDevices(older))}? Devices that were revoked since then are trusted again.`,
    yes,
  );
  const check = (now: PagedList | null) => {
    if (!yes) assertSame(older, now);
    older = now ?? older;
  };
  const after = await resetTrust(device.store.dir, process.env, { keep: true, above, check });
  const { revision, updatedAt } = older.head;
  return {
    json: { changed: true, movedTo: after.movedTo, from: revision, revision: after.revision },
    notes: [
      `✓ Continued from the list of ${momentText(updatedAt)}, with ${devicesText(countDevices(older))}.`,
      ...(after.movedTo === null ? [] : [`  A copy of the old file is in ${after.movedTo}`]),
      '! Changes since then are lost: added devices are not trusted, and revoked devices are trusted again.',
      `  Next: check the list, and repeat the changes   ${here('amesh list')}`,
    ],
  };
}

/**
 * Checks that the list is the one that the user has seen; null for a list that cannot be read.
 *
 * @throws CommandError
 */
function assertSame(seen: PagedList | null, now: PagedList | null): void {
  if (seen?.mark === now?.mark) return;
  throw new CommandError(
    'store_conflict',
    'The allow list has changed since the question.',
    'Run the command again.',
  );
}

/** The list, or why it is broken. */
async function look({ trust }: Device): Promise<PagedList | string> {
  try {
    return await trust.read();
  } catch (error) {
    if (isAmeshError(error) && error.code === 'allow_list_integrity_failure') return error.detail;
    throw error;
  }
}

function devicesText(count: number): string {
  return count === 1 ? '1 device' : `${count} devices`;
}
