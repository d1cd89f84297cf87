import { makeHandOver } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { toPublicKey } from '../machine/public-key';

export const trustHandOver = defineCommand({
  meta: {
    name: 'hand-over',
    description: 'Prints the line with which callers follow the list of this machine to its next owner',
  },
  args: {
    key: {
      type: 'positional',
      required: true,
      valueHint: 'key',
      description: 'The public key of the next owner, which amesh trust export prints there after amesh-p256',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const device = await openMachine();
    const line = await makeHandOver(device, await toPublicKey(args.key, 'KEY'));
    return {
      json: { handOver: line, deviceId: device.identity.deviceId },
      data: [line],
      notes: [
        '  It is not secret, and is valid for 30 days: only the next key can complete it.',
        "  Next, on the next owner's machine, with both keys in AMESH_OWNER_KEY:",
        '    amesh trust take-over --hand-over LINE',
      ],
    };
  },
});
