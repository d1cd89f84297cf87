import { DEFAULT_RELAY_URL } from '@authmesh/sdk/admin';
import { FileStore } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { machineDir } from '../machine/machine';
import { chooseRelay, readUrl } from '../relay/relay-choice';
import { changeSettings } from '../relay/settings';

export const configRelay = defineCommand({
  meta: { name: 'relay', description: 'Shows or sets the relay for pairing' },
  args: {
    url: {
      type: 'positional',
      required: false,
      description: 'The new relay, such as wss://relay.example.com/ws',
    },
    clear: { type: 'boolean', description: `Go back to ${DEFAULT_RELAY_URL}` },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    if (args.url !== undefined && args.clear) {
      throw new UsageError('A relay and --clear cannot be combined.', { hint: 'Use one of them.' });
    }
    const store = new FileStore(machineDir());
    await chooseRelay(undefined, store); // reports an existing error before saving
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
        ...(changed ? ['✓ Saved. The relay has no influence on whom this machine trusts.'] : []),
        ...(changed && from === 'AMESH_RELAY_URL'
          ? ['! AMESH_RELAY_URL is set in this shell and takes precedence.']
          : []),
      ],
    };
  },
});
