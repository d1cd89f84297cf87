import {
  addDevice,
  type DeviceEntry,
  type DeviceIdentity,
  fromTrustLine,
  namesakesOf,
} from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { endNotes } from '../allow-list/ends';
import { nameIn, namesakesNotes, namesakesText } from '../allow-list/namesakes';
import { SCOPE_ARGS, scopesOf, scopesText } from '../allow-list/scopes';
import { PROOFS_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { afterwards } from '../errors/changes';
import { UsageError } from '../errors/errors';
import {
  answersTo,
  loopbackNotes,
  openMachine,
  toHosts,
  trustAsController,
  trustAsTarget,
} from '../machine/machine';
import { confirm, isAttended, readText } from '../terminal/prompt';
import { here } from '../words/here';
import { shellWord } from '../words/shell';

export const trustAdd = defineCommand({
  meta: {
    name: 'add',
    description: 'Trusts another machine, by the line that amesh trust export prints there',
  },
  args: {
    role: {
      type: 'enum',
      options: ['controller', 'target'],
      required: true,
      description: 'controller: that machine may call this one; target: this machine may call it',
    },
    host: {
      type: 'string',
      valueHint: 'a,b',
      description: 'For a target: the hosts by which callers reach it',
    },
    ...SCOPE_ARGS,
    ...PROOFS_ARG,
    line: {
      type: 'positional',
      required: false,
      valueHint: '"line"',
      description: 'amesh-p256 <key> <name>, in quotes; default or -: read from stdin',
    },
    ...SHARED_ARGS,
  },

  async run({ args, rawArgs, cmd }): Promise<Result> {
    const { role } = args;
    if (role === 'controller' && args.host !== undefined) {
      throw new UsageError('--host is for a target; a controller only calls.', {
        hint: `To see the hosts for which this machine accepts requests: ${here('amesh config hosts')}`,
      });
    }
    if (role === 'controller' && !args.proofs)
      throw new UsageError('--no-proofs is for a target; a controller only calls.');
    const scopes = scopesOf({ rawArgs, cmd });
    if (role === 'target' && scopes.length > 0) {
      throw new UsageError('--scope is for a controller; a target only receives requests.', {
        hint: 'What this machine may do there is decided there: amesh allow',
      });
    }
    const hosts = toHosts(args.host ?? '', '--host');
    const { identity, trust } = await openMachine(); // opened first, so that nobody is asked for a line without an identity
    const peer = await fromTrustLine(await givenLine(args.line, role, args.host));

    const namesakes = await namesakesOf(trust, peer);
    if (namesakes.length > 0 && isAttended())
      await confirm(`${namesakesText(namesakes)} Add another one with this name?`, args.yes);
    const now = Math.floor(Date.now() / 1000);
    const {
      head,
      result,
      isChanged: changed,
    } = await trust.update(async (draft) => {
      const proves = role === 'target' ? args.proofs && peer.proves !== false : undefined;
      await addDevice(draft, { ...peer, role, hosts, scopes, proves, isTrustedAnew: true }, now);
      return draft.device(peer.deviceId);
    });
    const device = result as DeviceEntry;
    return {
      json: { device, changed },
      notes: [
        ...outcome(device, role, changed, nameIn(await afterwards(trust.read()), device)),
        ...(device.friendlyName === peer.friendlyName
          ? []
          : [`  It calls itself "${peer.friendlyName}"; in this list its name is "${device.friendlyName}".`]),
        ...(role === 'controller' && device.scopes !== undefined
          ? [`  It may do: ${scopesText(device.scopes)}.`]
          : []),
        ...(role === 'controller' ? endNotes(device, head) : []),
        ...(device.proves === false ? ['  It cannot prove its answers.'] : []),
        ...namesakesNotes(namesakes, device),
        ...loopbackNotes(args.host ?? ''),
        ...next(device, role, identity, answersTo(head).hosts),
      ],
    };
  },
});

async function givenLine(line: string | undefined, role: string, host: string | undefined): Promise<string> {
  if (line !== undefined && line !== '-') return line;
  const text = await readText('Line of the other machine:');
  if (text.trim() !== '') return text;
  throw new UsageError('No line was given.', {
    hint: `Run amesh trust export on the other machine, and pass its line in quotes: ${here(`amesh trust add --role ${role}${host === undefined ? '' : ` --host ${shellWord(host)}`} "LINE"`)}`,
  });
}

function outcome(device: DeviceEntry, role: string, changed: boolean, word: string): string[] {
  const called = `"${device.friendlyName}" (${device.deviceId})`;
  const may =
    role === 'controller'
      ? `${called} may ${changed ? 'now' : 'already'} call this machine`
      : `This machine may ${changed ? 'now' : 'already'} send requests to ${called}${device.hosts.length > 0 ? `, at ${device.hosts.join(', ')}` : ''}`;
  if (!changed) return [`✓ ${may}. No changes were made.`];
  const both = device.roles.length > 1 ? ' (removes both roles)' : '';
  return [`✓ ${may}.   Undo: ${here(`amesh revoke ${word}`)}${both}`];
}

function next(device: DeviceEntry, role: string, own: DeviceIdentity, hosts: readonly string[]): string[] {
  const there = `on "${device.friendlyName}"`;
  if (role === 'controller') return [`  Next, ${there}:`, `    ${trustAsTarget(own, hosts)}`];
  return [
    ...(device.hosts.length > 0 ? [] : withoutHost(device)),
    `  If you have not done it yet, ${there}:`,
    `    ${trustAsController(own)}`,
  ];
}

/** Often the mistake is the role, not a missing host. */
function withoutHost(device: DeviceEntry): string[] {
  const called = `"${device.friendlyName}"`;
  return [
    `! Without --host, requests to ${called} do not name it as their target. Add its host, so that they are valid for that machine only.`,
    `  To add it: ${here(trustAsTarget(device, []))}`,
    ...(device.roles.includes('controller')
      ? []
      : [
          `! If ${called} calls this machine, it needs the other role:`,
          `  ${here(trustAsController(device))}`,
        ]),
  ];
}
