import { findBackend } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { hostsText, openMachine, ownHosts } from '../machine/machine';
import { proofsText } from '../machine/proofs';
import { table } from '../words/table';
import { SUMMARIES } from './summaries';

export const whoami = defineCommand({
  meta: { name: 'whoami', description: SUMMARIES.whoami },
  args: SHARED_ARGS,

  async run(): Promise<Result> {
    const machine = await openMachine();
    const { identity, store } = machine;
    const context = { dir: store.dir, env: process.env };
    const { hosts, from } = await ownHosts(machine);
    const { deviceId, friendlyName, publicKey, createdAt, key } = identity;
    return {
      json: {
        deviceId,
        friendlyName,
        publicKey,
        createdAt,
        backend: key.backend,
        dir: store.dir,
        hosts,
        hostsFrom: from,
      },
      data: table([
        ['name', friendlyName],
        ['id', deviceId],
        ['key', await findBackend(key.backend).describe(context, key.ref)],
        ['proofs', proofsText(identity)],
        ['folder', store.dir],
        ['hosts', hostsText(hosts)],
      ]),
    };
  },
});
