import { issueProvision } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { durationText, momentText, toSeconds } from '../duration';
import { here } from '../here';
import { loopbackNotes, openMachine, toHosts } from '../machine';
import { readUrl } from '../relay-choice';

export const provision = defineCommand({
  meta: {
    name: 'provision',
    description: 'Makes a token for a machine without a terminal, which this one is to call',
  },
  args: {
    name: { type: 'string', required: true, description: 'What the machine is to be called' },
    ttl: {
      type: 'string',
      valueHint: 'time',
      description: 'How long the token may be taken; default 1h, at most 24h',
    },
    host: {
      type: 'string',
      valueHint: 'a,b',
      description: 'The hosts under which this machine calls it; default localhost',
    },
    relay: {
      type: 'string',
      valueHint: 'url',
      description: 'A relay over which it tells that it has taken the token',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const lifetimeSeconds = toSeconds(args.ttl ?? '1h', '--ttl', 1, 86_400);
    const hosts = toHosts(args.host ?? '', '--host');
    const relay = args.relay === undefined ? undefined : readUrl(args.relay, '--relay');
    const device = await openMachine();
    const { token, entry } = await issueProvision(device, {
      friendlyName: args.name,
      lifetimeSeconds,
      hosts,
      relay,
    });
    const { id, friendlyName, expiresAt } = entry;
    return {
      json: { token, id, name: friendlyName, hosts, expiresAt },
      data: [token],
      notes: [
        `✓ A token for "${friendlyName}", good for ${durationText(lifetimeSeconds)} (until ${momentText(expiresAt)}) and one machine.`,
        `  There, set AMESH_BOOTSTRAP_TOKEN to it: amesh.verify() takes it and trusts this machine (${device.identity.deviceId}).`,
        '  Whoever else gets hold of it can pose as that machine: hand it over as a secret.',
        ...(hosts.length === 0
          ? [
              '! It names no host, so that machine answers to localhost only. Called by another name?  --host api.example.com',
            ]
          : []),
        ...loopbackNotes(args.host ?? ''),
        `  Until it is heard of:  ${here('amesh list')}   To give it up:  ${here(`amesh tokens cancel ${id}`)}`,
      ],
    };
  },
});
