import {
  type Device,
  findIssued,
  type IssuedToken,
  issueProvision,
  takeRegistration,
  UNASKED,
  waitForRegistration,
} from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { CommandError } from '../errors/errors';
import { hostsText, loopbackNotes, openMachine, toHosts } from '../machine/machine';
import { chooseRelay } from '../relay/relay-choice';
import { interruptible } from '../terminal/interrupt';
import { type OutputOptions, printLines } from '../terminal/output';
import { Teller } from '../terminal/teller';
import { durationText, momentText, toSeconds } from '../words/duration';
import { here } from '../words/here';
import { nameForCommand } from '../words/shell';

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
    wait: {
      type: 'boolean',
      description: 'Wait until the machine says, over the relay, that it has taken it',
    },
    relay: {
      type: 'string',
      valueHint: 'url',
      description: 'A relay over which it tells that it has taken the token',
    },
    ...SHARED_ARGS,
  },

  async run({ args, data }): Promise<Result> {
    const options = data as OutputOptions;
    const lifetimeSeconds = toSeconds(args.ttl ?? '1h', '--ttl', 1, 86_400);
    const hosts = toHosts(args.host ?? '', '--host');
    const device = await openMachine();
    const isWanted = args.relay !== undefined || args.wait === true;
    const relay = isWanted ? (await chooseRelay(args.relay, device.store)).url : undefined;
    const { token, entry } = await issueProvision(device, {
      friendlyName: args.name,
      lifetimeSeconds,
      hosts,
      relay,
    });
    const { id, friendlyName, expiresAt } = entry;
    const result = {
      json: { token, id, friendlyName, hosts, expiresAt },
      data: [token],
      notes: [
        `✓ A token for "${friendlyName}", good for ${durationText(lifetimeSeconds)} (until ${momentText(expiresAt)}) and one machine.`,
        `  There, set AMESH_BOOTSTRAP_TOKEN to it: amesh.verify() takes it and trusts this machine (${device.identity.deviceId}).`,
        '  Anybody else who gets it can pose as that machine: hand it over as a secret.',
        ...(hosts.length === 0
          ? [
              '! It names no host, so that machine answers to localhost only. Called by another name?  --host api.example.com',
            ]
          : []),
        ...loopbackNotes(args.host ?? ''),
        `  To see whether it was taken:  ${here('amesh list')}   To give it up:  ${here(`amesh tokens cancel ${id}`)}`,
      ],
    };
    return args.wait && relay !== undefined ? waitFor(device, entry, relay, result, options) : result;
  },
});

/** Says the token first: the machine cannot take it before. */
async function waitFor(
  device: Device,
  entry: IssuedToken,
  relay: string,
  { json, data, notes }: Required<Omit<Result, 'exitCode'>>,
  options: OutputOptions,
): Promise<Result> {
  const teller = new Teller(options);
  teller.event({ event: 'token', ...json }, notes);
  if (!options.json) printLines(process.stdout, data);
  teller.wait(() => `Waiting for "${entry.friendlyName}"…   Ctrl+C ends the waiting, the token stays good`);
  const takenBy = async () => findIssued(await device.trust.read(), entry.id)?.takenBy ?? null;
  try {
    const text = await interruptible(
      (signal) =>
        waitForRegistration({
          relay,
          secret: entry.secret,
          untilMs: entry.expiresAt * 1000,
          signal,
          isKnown: async () => (await takenBy()) !== null,
        }),
      `Interrupted. The token stays good; to give it up: ${here(`amesh tokens cancel ${entry.id}`)}`,
    );
    if (text !== null) await takeRegistration(device, text, UNASKED);
    const key = await takenBy();
    const machine = (await device.trust.read()).devices.find(({ publicKey }) => publicKey === key);
    if (machine === undefined) {
      throw new CommandError(
        'token_not_taken',
        'No machine has said that it has taken the token.',
        `It may still do so with its first answer: ${here('amesh list')}`,
        false, // the token is pending
      );
    }
    const { friendlyName, deviceId, hosts } = machine;
    return {
      json: { device: machine },
      notes: [
        `✓ "${friendlyName}" (${deviceId}) has taken the token. It is called at ${hostsText(hosts)}.   Undo: ${here(`amesh revoke ${nameForCommand(machine)}`)}`,
      ],
    };
  } catch (error) {
    throw afterwards(error);
  } finally {
    teller.stop();
  }
}

/** What goes wrong at the relay comes after the token was made, and takes nothing of it back. */
function afterwards(error: unknown): unknown {
  if (!isAmeshError(error) || !['relay_unreachable', 'relay_busy'].includes(error.code)) return error;
  return new CommandError(
    error.code,
    error.detail,
    `The token counts all the same; the first answer of its machine tells of it, too: ${here('amesh list')}`,
    false,
  );
}
