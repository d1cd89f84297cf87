import { issueGrant, TOKEN_LIMITS } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { SCOPE_ARGS, scopesOf, scopesText } from '../allow-list/scopes';
import { PROOFS_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { asUsage } from '../machine/as-usage';
import { answersTo, hostsText, loopbackNotes, openMachine, toHosts } from '../machine/machine';
import { durationFlag, durationText, momentText, toSeconds, UP_TO_A_DAY } from '../words/duration';
import { assertFew, SHORTER } from '../words/few';
import { here } from '../words/here';
import { SUMMARIES } from './summaries';

const DAY = 86_400;
const MOST_HOSTS = TOKEN_LIMITS.hosts;
const LEASES = { least: 60, most: 365 * DAY };

export const grant = defineCommand({
  meta: {
    name: 'grant',
    description: SUMMARIES.grant,
  },
  args: {
    name: {
      type: 'string',
      required: true,
      valueHint: 'pattern',
      description: "The names that callers may have, such as 'worker-*'",
    },
    uses: { type: 'string', valueHint: 'n', description: 'How many callers may enrol; default 1' },
    ttl: durationFlag('How long callers may enrol', UP_TO_A_DAY, '1h'),
    lease: durationFlag('How long an unused entry lasts', LEASES, '24h'),
    'max-lease': durationFlag('How long an entry lasts at most', LEASES, '30d'),
    host: {
      type: 'string',
      valueHint: 'a,b',
      description:
        'The hosts by which callers reach this machine; default: the hosts for which it accepts requests',
    },
    ...SCOPE_ARGS,
    ...PROOFS_ARG,
    ...SHARED_ARGS,
  },

  async run({ args, rawArgs, cmd }): Promise<Result> {
    const lifetimeSeconds = toSeconds(args.ttl ?? '1h', '--ttl', UP_TO_A_DAY);
    const leaseSeconds = toSeconds(args.lease ?? '24h', '--lease', LEASES);
    const longest = args['max-lease'] ?? durationText(Math.max(30 * DAY, leaseSeconds));
    const maxLeaseSeconds = toSeconds(longest, '--max-lease', { ...LEASES, least: leaseSeconds });
    const uses = toUses(args.uses ?? '1');
    const scopes = scopesOf({ rawArgs, cmd });
    if (args.name.split('*').length > 2) throw new UsageError('--name must have at most one *.');
    const given = args.host === undefined ? undefined : toHosts(args.host, '--host');
    assertFew(
      given ?? [],
      MOST_HOSTS,
      `--host: a token can have at most ${MOST_HOSTS} hosts.`,
      'Make a second grant for the others.',
    );
    const device = await openMachine();
    const hosts = given ?? [...answersTo(await device.trust.read()).hosts];
    assertFew(
      hosts,
      MOST_HOSTS,
      `This machine has ${hosts.length} hosts, and a token can have at most ${MOST_HOSTS}.`,
      'Choose those by which callers reach it: --host a,b',
    );
    const issuing = issueGrant(device, {
      names: args.name,
      uses,
      lifetimeSeconds,
      leaseSeconds,
      maxLeaseSeconds,
      hosts,
      scopes,
      proves: args.proofs,
    });
    const { token, grant } = await asUsage(issuing, SHORTER);
    const { id, names, expiresAt } = grant;
    return {
      json: { token, id, names, uses, leaseSeconds, maxLeaseSeconds, expiresAt, hosts, scopes },
      data: [token],
      notes: [
        `✓ A grant for ${uses === 1 ? 'one caller' : `${uses} callers`} called "${names}", open for ${durationText(lifetimeSeconds)} (until ${momentText(expiresAt)}).`,
        `  Each caller stays for ${durationText(leaseSeconds)} after its last request, but at most ${durationText(maxLeaseSeconds)}. It calls ${hostsText(hosts)}.`,
        ...(scopes.length === 0 ? [] : [`  Each caller may do: ${scopesText(scopes)}.`]),
        '  On the caller, set AMESH_BOOTSTRAP_TOKEN to the token: amesh.fetch enrols the machine with its first request.',
        '  Here, the server must run amesh.verify({ enroll: true }) for the path /.well-known/amesh/enroll.',
        '  Anybody who gets the token can call this machine: treat it as a secret.',
        ...loopbackNotes(args.host ?? ''),
        `  To see who enrolled:  ${here('amesh tokens')}   To revoke them all:  ${here(`amesh revoke --grant ${id}`)}`,
      ],
    };
  },
});

function toUses(text: string): number {
  if (/^[1-9]\d{0,4}$|^100000$/.test(text)) return Number(text);
  throw new UsageError('--uses must be a whole number from 1 to 100000.');
}
