import { isLoopback, portOf, setHosts } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { UsageError } from '../errors';
import { here } from '../here';
import { answersTo, hostsText, loopbackNotes, openMachine, toHosts, trustAsTarget } from '../machine';
import { shellWord } from '../shell';

export const configHosts = defineCommand({
  meta: { name: 'hosts', description: 'Shows or sets the hosts that this machine answers to' },
  args: {
    hosts: { type: 'positional', required: false, valueHint: 'a,b', description: 'The whole new list' },
    add: { type: 'string', valueHint: 'a,b', description: 'Hosts beside those of the list' },
    clear: { type: 'boolean', description: 'Answer to localhost only' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const typed = args.hosts ?? args.add;
    if ([args.hosts, args.add, args.clear || undefined].filter((wish) => wish !== undefined).length > 1) {
      throw new UsageError('Hosts, --add and --clear are different wishes.', { hint: 'Give one of them.' });
    }
    const wanted = args.clear ? [] : typed === undefined ? null : toHosts(typed, 'Hosts');
    if (wanted?.length === 0 && !args.clear) {
      throw new UsageError('There is no host in this.', {
        hint: `To answer to localhost only: ${here('amesh config hosts --clear')}`,
      });
    }

    const { identity, trust } = await openMachine();
    let before = await trust.read();
    const after =
      wanted === null
        ? before
        : await trust.update((document) => {
            before = document;
            return setHosts(document, args.add === undefined ? wanted : [...document.hosts, ...wanted]);
          });
    const changed = after.revision !== before.revision;
    const effective = answersTo(after);
    const overruled =
      effective.from === 'AMESH_HOSTS'
        ? [`! AMESH_HOSTS is set in this shell, and counts before it: ${hostsText(effective.hosts)}`]
        : [];
    return {
      json: { hosts: after.hosts, changed },
      data: after.hosts,
      notes: [
        ...(wanted === null ? describe(after.hosts) : done(after.hosts, changed)),
        ...(changed ? dropped(before.hosts, after.hosts) : []),
        ...loopbackNotes(typed ?? ''),
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
    : [
        `  Answers to localhost only. Callers use another name?  ${here('amesh config hosts --add api.example.com')}`,
      ];
}

function done(hosts: readonly string[], changed: boolean): string[] {
  if (!changed) return [`✓ Answers to ${hostsText(hosts)} already. No changes were made.`];
  return [`✓ Answers to ${hostsText(hosts)}. Running servers take it over within a second.`];
}

/** The names that have just stopped counting, and the command that keeps them. */
function dropped(before: readonly string[], after: readonly string[]): string[] {
  if (before.length > 0) {
    // Without a list loopback names count anyway, with the port of the server.
    const gone = before.filter((host) => !after.includes(host) && !(after.length === 0 && isLoopback(host)));
    return gone.length === 0 ? [] : noLonger(gone.join(', '), [...new Set([...after, ...before])]);
  }
  if (after.some(isLoopback)) return []; // whoever names one has thought of them
  const ports = new Set(after.map(portOf).filter((port) => port !== null));
  const [port] = ports.size === 1 ? ports : ['PORT'];
  return noLonger('localhost and other loopback names', [...after, `localhost:${port}`]);
}

function noLonger(names: string, all: readonly string[]): string[] {
  return [
    `! No longer answers to: ${names}`,
    `  To keep them: ${here(`amesh config hosts ${shellWord(all.join(','))}`)}`,
  ];
}
