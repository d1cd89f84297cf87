import { type ListHead, setHosts } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { droppedHosts, type LostLocalhost, losesLocalhost } from '../allow-list/dropped-hosts';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { DeclinedError, UsageError } from '../errors/errors';
import { answersTo, hostsText, loopbackNotes, openMachine, toHosts, trustAsTarget } from '../machine/machine';
import { askYesNo, isAttended } from '../terminal/prompt';
import { here } from '../words/here';

export const configHosts = defineCommand({
  meta: { name: 'hosts', description: 'Shows or sets the hosts for which this machine accepts requests' },
  args: {
    hosts: { type: 'positional', required: false, valueHint: 'a,b', description: 'The complete new list' },
    add: { type: 'string', valueHint: 'a,b', description: 'Hosts to add to the list' },
    remove: { type: 'string', valueHint: 'a,b', description: 'Hosts to remove from the list' },
    clear: { type: 'boolean', description: 'Empty the list: accept requests for localhost only' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const typed = args.hosts ?? args.add ?? args.remove;
    const wishes = [args.hosts, args.add, args.remove, args.clear || undefined];
    if (wishes.filter((wish) => wish !== undefined).length > 1) {
      throw new UsageError('Hosts, --add, --remove and --clear cannot be combined.', {
        hint: 'Use one of them.',
      });
    }
    const wanted = args.clear ? [] : typed === undefined ? null : toHosts(typed, 'Hosts');
    if (wanted?.length === 0 && !args.clear) {
      throw new UsageError('No host is given.', {
        hint: `To accept requests for localhost only: ${here('amesh config hosts --clear')}`,
      });
    }

    const { identity, trust } = await openMachine();
    let before: ListHead = await trust.readHead();
    if (wanted !== null && args.remove === undefined && !args.yes)
      await askBefore(await losesLocalhost(trust, before.hosts, wanted));
    const after =
      wanted === null
        ? before
        : (
            await trust.update((draft) => {
              before = draft.before;
              const { hosts } = draft.before;
              if (args.add !== undefined) return setHosts(draft, [...hosts, ...wanted]);
              setHosts(draft, args.remove === undefined ? wanted : without(hosts, wanted));
            })
          ).head;
    const changed = after.revision !== before.revision;
    const effective = answersTo(after);
    const overruled =
      effective.from === 'AMESH_HOSTS'
        ? [`! AMESH_HOSTS is set in this shell and takes precedence: ${hostsText(effective.hosts)}`]
        : [];
    return {
      json: { hosts: after.hosts, changed },
      data: after.hosts,
      notes: [
        ...(wanted === null ? describe(after.hosts) : done(after.hosts, changed)),
        ...(changed && args.remove === undefined ? droppedHosts(before.hosts, after.hosts) : []),
        ...loopbackNotes(args.hosts ?? args.add ?? ''),
        ...overruled,
        ...(wanted === null || after.hosts.length === 0
          ? []
          : [`  Next, on each machine that calls it:  ${trustAsTarget(identity, after.hosts)}`]),
      ],
    };
  },
});

/** @throws DeclinedError; UsageError without a terminal */
async function askBefore(loss: LostLocalhost | null): Promise<void> {
  if (loss === null) return;
  const keep = `To keep localhost: ${loss.keep}`;
  if (!isAttended()) throw new UsageError(loss.message, { hint: `${keep}   To drop it: --yes` });
  process.stderr.write(`! ${loss.message}\n  ${keep}\n`);
  if (!(await askYesNo('Drop localhost?'))) throw new DeclinedError();
}

/** @throws UsageError for a host that is not in the list: after a typo, the intended host would silently stay */
function without(hosts: readonly string[], wanted: readonly string[]): string[] {
  const missing = wanted.find((host) => !hosts.includes(host));
  if (missing !== undefined) {
    throw new UsageError(
      `This machine does not accept requests for ${missing}, so there is nothing to remove.`,
      {
        hint: `It accepts requests for ${hostsText(hosts)}.`,
      },
    );
  }
  return hosts.filter((host) => !wanted.includes(host));
}

function describe(hosts: readonly string[]): string[] {
  return hosts.length > 0
    ? []
    : [
        `  Accepts requests for localhost only. Callers use another name?  ${here('amesh config hosts --add api.example.com')}`,
      ];
}

function done(hosts: readonly string[], changed: boolean): string[] {
  if (!changed) return [`✓ Already accepts requests for ${hostsText(hosts)}. No changes were made.`];
  return [`✓ Accepts requests for ${hostsText(hosts)}. Running servers apply this within a second.`];
}
