import { setHosts } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { UsageError } from '../errors';
import { answersTo, hostsText, openMachine, toHosts, trustAsTarget } from '../machine';

export const configHosts = defineCommand({
  meta: { name: 'hosts', description: 'Shows or sets the hosts that this machine answers to' },
  args: {
    hosts: { type: 'positional', required: false, valueHint: 'a,b', description: 'The whole new list' },
    clear: { type: 'boolean', description: 'Answer to localhost only' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    if (args.clear && args.hosts !== undefined) {
      throw new UsageError('Hosts and --clear are two different wishes.', { hint: 'Give one of them.' });
    }
    const wanted = args.clear ? [] : args.hosts === undefined ? null : toHosts(args.hosts, 'Hosts');
    if (wanted?.length === 0 && !args.clear) {
      throw new UsageError('There is no host in this.', { hint: 'To answer to localhost only: --clear' });
    }

    const { identity, trust } = await openMachine();
    const before = await trust.read();
    const after = wanted === null ? before : await trust.update((document) => setHosts(document, wanted));
    const effective = answersTo(after);
    const overruled =
      effective.from === 'AMESH_HOSTS'
        ? [`! AMESH_HOSTS is set in this shell, and counts before it: ${hostsText(effective.hosts)}`]
        : [];
    return {
      json: { hosts: after.hosts, changed: after.revision !== before.revision },
      data: after.hosts,
      notes: [
        ...(wanted === null ? describe(after.hosts) : done(after.hosts, after.revision !== before.revision)),
        ...overruled,
        ...(wanted === null || wanted.length === 0
          ? []
          : [`  Next, on each machine that calls it:  ${trustAsTarget(identity, after.hosts)}`]),
      ],
    };
  },
});

function describe(hosts: readonly string[]): string[] {
  return hosts.length > 0
    ? []
    : ['  Answers to localhost only. Callers use another name?  amesh config hosts api.example.com'];
}

function done(hosts: readonly string[], changed: boolean): string[] {
  if (!changed) return [`✓ Answers to ${hostsText(hosts)} already. Nothing was changed.`];
  return [`✓ Answers to ${hostsText(hosts)}. Running servers take it over within a second.`];
}
