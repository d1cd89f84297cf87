import { type AllowListDocument, type Device, readOlderList, resetTrust } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { shellWord } from '../words/shell';

export const trustReset = defineCommand({
  meta: { name: 'reset', description: 'Starts an empty allow list in place of a broken one' },
  args: {
    keep: {
      type: 'boolean',
      description: 'Go on from the list that lies there, where it is only too old or seen.json is damaged',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const device = await openMachine();
    if (args.keep) return goOn(device, args.yes);
    const found = await look(device);
    const hosts = typeof found === 'string' ? [] : found.hosts;
    await confirm(`${describe(found)} Start an empty one in its place?`, args.yes);
    const { movedTo, revision } = await resetTrust(device.store.dir, process.env);
    return {
      json: { movedTo, revision },
      notes: [
        '✓ Started an empty allow list.',
        movedTo === null ? '  There was no old one.' : `  A copy of the old one is in ${movedTo}`,
        '  Nobody is trusted now: every machine must be paired again, and hosts set again.',
        `  Next: each machine that calls this one   ${here('amesh trust add --role controller "LINE"')}`,
        `        each one that this one calls       ${here('amesh trust add --role target --host HOST:PORT "LINE"')}`,
        `        the hosts, if it had any           ${here(`amesh config hosts ${shellWord(hosts.join(',') || 'api.example.com')}`)}`,
        '        LINE is what amesh trust export prints on the other machine.',
      ],
    };
  },
});

/** What is about to be lost: a list that is fine deserves another answer than a broken one. */
function describe(found: AllowListDocument | string): string {
  if (typeof found === 'string') return found;
  return `The allow list is in order, with ${devicesText(found.devices)}.`;
}

async function goOn(device: Device, yes: boolean | undefined): Promise<Result> {
  if (typeof (await look(device)) !== 'string') {
    return {
      json: { changed: false },
      notes: [
        '✓ The allow list is in order. No changes were made.',
        '  If a server says that it is older: the folder was set back while that ran. Restart the server.',
      ],
    };
  }
  const { revision, updatedAt, devices } = await readOlderList(device, process.env);
  await confirm(
    `Go on from revision ${revision} of ${momentText(updatedAt)}, with ${devicesText(devices)}? Devices that were revoked since are trusted again.`,
    yes,
  );
  const after = await resetTrust(device.store.dir, process.env, { keep: true });
  return {
    json: { changed: true, movedTo: after.movedTo, from: revision, revision: after.revision },
    notes: [
      `✓ Went on from the list of ${momentText(updatedAt)}, with ${devicesText(after.devices)}.`,
      ...(after.movedTo === null ? [] : [`  A copy of it as it was is in ${after.movedTo}`]),
      '! Changes since then are undone: devices that were added are not trusted, and devices that were revoked are trusted again.',
      `  Next: check the list, and make the changes again   ${here('amesh list')}`,
    ],
  };
}

/** The list, or what is wrong with it. */
async function look({ trust }: Device): Promise<AllowListDocument | string> {
  try {
    return await trust.read();
  } catch (error) {
    if (isAmeshError(error) && error.code === 'allow_list_integrity_failure') return error.detail;
    throw error;
  }
}

function devicesText({ length }: readonly unknown[]): string {
  return length === 1 ? '1 device' : `${length} devices`;
}
