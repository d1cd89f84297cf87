import { toTrustLine } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { PROOFS_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine, ownHosts, trustAsController, trustAsTarget } from '../machine/machine';

export const trustExport = defineCommand({
  meta: {
    name: 'export',
    description: 'Prints the line with which other machines trust this one; it is not secret',
  },
  args: { ...PROOFS_ARG, ...SHARED_ARGS },

  async run({ args }): Promise<Result> {
    const machine = await openMachine();
    const identity = { ...machine.identity, proves: args.proofs };
    const { deviceId, friendlyName, publicKey } = identity;
    const { hosts } = await ownHosts(machine);
    const line = toTrustLine(identity);
    return {
      json: { line, deviceId, friendlyName, publicKey, hosts },
      data: [line],
      notes: [
        '  Next, on a machine that this one will call:',
        `    ${trustAsController(identity)}`,
        '  or, on a machine that will call this one:',
        `    ${trustAsTarget(identity, hosts)}`,
      ],
    };
  },
});
