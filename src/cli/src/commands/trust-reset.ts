import { type Device, resetTrust } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { here } from '../here';
import { openMachine } from '../machine';
import { confirm } from '../prompt';

export const trustReset = defineCommand({
  meta: { name: 'reset', description: 'Moves a broken allow list aside and starts an empty one' },
  args: SHARED_ARGS,

  async run({ args }): Promise<Result> {
    const device = await openMachine();
    await confirm(`${await describe(device)} Move it aside and start an empty one?`, args.yes);
    const { movedTo, revision } = await resetTrust(device.store.dir, process.env);
    return {
      json: { movedTo, revision },
      notes: [
        '✓ Started an empty allow list.',
        movedTo === null ? '  There was no old one.' : `  The old one is in ${movedTo}`,
        '  Nobody is trusted now: every machine must be paired again, and hosts set again.',
        `  Next: each machine that calls this one   ${here('amesh trust add --role controller "LINE"')}`,
        `        each one that this one calls       ${here('amesh trust add --role target --host HOST:PORT "LINE"')}`,
        `        the hosts, if it had any           ${here('amesh config hosts api.example.com')}`,
        '        LINE is what amesh trust export prints on the other machine.',
      ],
    };
  },
});

/** What is about to be lost: a list that is fine deserves another answer than a broken one. */
async function describe({ trust }: Device): Promise<string> {
  try {
    const { devices } = await trust.read();
    return `The allow list is in order, with ${devices.length === 1 ? '1 device' : `${devices.length} devices`}.`;
  } catch (error) {
    if (isAmeshError(error) && error.code === 'allow_list_integrity_failure')
      return error.message.slice(0, -error.fix.length).trim();
    throw error;
  }
}
