import { DEFAULT_RELAY_URL, FileStore } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { machineDir } from '../machine/machine';
import { chooseRelay, readUrl } from '../relay/relay-choice';
import { changeSettings } from '../relay/settings';

export const configRelay = defineCommand({
  meta: { name: 'relay', description: 'Shows or sets the relay over which this machine pairs' },
  args: {
    url: {
      type: 'positional',
      required: false,
      description: 'The relay from now on, such as wss://relay.example.com/ws',
    },
    clear: { type: 'boolean', description: `Use ${DEFAULT_RELAY_URL} again` },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    if (args.url !== undefined && args.clear) {
      throw new UsageError('A relay and --clear are different wishes.', { hint: 'Give one of them.' });
    }
    const store = new FileStore(machineDir());
    await chooseRelay(undefined, store); // what is wrong already is said before anything is saved
    const changed = args.url !== undefined || args.clear === true;
    if (changed) {
      const relay = args.url === undefined ? undefined : readUrl(args.url, 'The relay');
      await changeSettings(store, ({ relay: _, ...others }) =>
        relay === undefined ? others : { ...others, relay },
      );
    }
    const { url, from } = await chooseRelay(undefined, store);
    return {
      json: { relay: url, relayFrom: from, changed },
      data: [url],
      notes: [
        ...(changed ? ['✓ Saved. The relay decides nothing about whom this machine trusts.'] : []),
        ...(changed && from === 'AMESH_RELAY_URL'
          ? ['! AMESH_RELAY_URL is set in this shell, and counts before it.']
          : []),
      ],
    };
  },
});
