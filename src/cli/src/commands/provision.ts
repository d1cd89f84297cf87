import {
  issueProvision,
  TOKEN_LIMITS,
  takeRegistration,
  UNASKED,
  waitForRegistration,
} from '@authmesh/sdk/admin';
import { type Device, findIssued, type IssuedToken } from '@authmesh/sdk/admin/list';
import { isAmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { readDevices } from '../allow-list/devices';
import { nameIn } from '../allow-list/namesakes';
import { SCOPE_ARGS, scopesOf, scopesText } from '../allow-list/scopes';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { asLate } from '../errors/changes';
import { CommandError } from '../errors/errors';
import { asUsage } from '../machine/as-usage';
import { hostsText, loopbackNotes, openMachine, toHosts } from '../machine/machine';
import { chooseRelay } from '../relay/relay-choice';
import { interruptible } from '../terminal/interrupt';
import { type OutputOptions, printLines } from '../terminal/output';
import { Teller } from '../terminal/teller';
import { durationFlag, durationText, momentText, toSeconds, UP_TO_A_DAY } from '../words/duration';
import { assertFew, SHORTER } from '../words/few';
import { here } from '../words/here';
import { SUMMARIES } from './summaries';

const MOST = TOKEN_LIMITS;

export const provision = defineCommand({
  meta: {
    name: 'provision',
    description: SUMMARIES.provision,
  },
  args: {
    name: { type: 'string', required: true, description: 'The name for that machine' },
    ttl: durationFlag('How long the token is valid', UP_TO_A_DAY, '1h'),
    host: {
      type: 'string',
      valueHint: 'a,b',
      description: 'The hosts by which this machine will call it; default localhost',
    },
    wait: {
      type: 'boolean',
      description: 'Wait until the machine confirms over the relay that it took the token',
    },
    relay: {
      type: 'string',
      valueHint: 'url',
      description: 'The relay over which the machine confirms that it took the token',
    },
    scope: {
      ...SCOPE_ARGS.scope,
      description:
        'What this machine may do there, such as orders:read; may be given several times. Default nothing that requires a scope',
    },
    ...SHARED_ARGS,
  },

  async run({ args, data, rawArgs, cmd }): Promise<Result> {
    const options = data as OutputOptions;
    const lifetimeSeconds = toSeconds(args.ttl ?? '1h', '--ttl', UP_TO_A_DAY);
    const hosts = toHosts(args.host ?? '', '--host');
    const scopes = scopesOf({ rawArgs, cmd });
    assertFew(
      hosts,
      MOST.hosts,
      `--host: a token can have at most ${MOST.hosts} hosts.`,
      'Set the others on that machine: amesh config hosts --add',
    );
    assertFew(
      scopes,
      MOST.scopes,
      `--scope: a token can have at most ${MOST.scopes} scopes.`,
      "Use a wildcard, such as 'orders:*', or allow the others on that machine: amesh allow",
    );
    const device = await openMachine();
    const isWanted = args.relay !== undefined || args.wait === true;
    const relay = isWanted ? (await chooseRelay(args.relay, device.store)).url : undefined;
    const issuing = issueProvision(device, {
      friendlyName: args.name,
      lifetimeSeconds,
      hosts,
      scopes,
      relay,
    });
    const { token, entry } = await asUsage(issuing, SHORTER);
    const { id, friendlyName, expiresAt } = entry;
    const result = {
      json: { token, id, friendlyName, hosts, scopes, expiresAt },
      data: [token],
      notes: [
        `✓ A token for "${friendlyName}", valid for ${durationText(lifetimeSeconds)} (until ${momentText(expiresAt)}) and for one machine.`,
        `  On that machine, set AMESH_BOOTSTRAP_TOKEN to the token: amesh.verify() takes it and trusts this machine (${device.identity.deviceId}).`,
        ...(scopes.length === 0 ? [] : [`  This machine may then do there: ${scopesText(scopes)}.`]),
        '  Anybody else who gets the token can pose as that machine: treat it as a secret.',
        ...(hosts.length === 0
          ? [
              '! The token has no host, so that machine accepts requests for localhost only. If it is called by another name:  --host api.example.com',
            ]
          : []),
        ...loopbackNotes(args.host ?? ''),
        `  To see whether it was taken:  ${here('amesh list')}   To cancel it:  ${here(`amesh tokens cancel ${id}`)}`,
      ],
    };
    return args.wait && relay !== undefined ? waitFor(device, entry, relay, result, options) : result;
  },
});

/** Prints the token before it waits: the machine cannot take it earlier. */
async function waitFor(
  device: Device,
  entry: IssuedToken,
  relay: string,
  { json, data, notes }: Required<Pick<Result, 'json' | 'data' | 'notes'>>,
  options: OutputOptions,
): Promise<Result> {
  const teller = new Teller(options);
  teller.event({ event: 'token', ...json }, notes);
  if (!options.json) printLines(process.stdout, data);
  teller.wait(() => `Waiting for "${entry.friendlyName}"…   Ctrl+C stops waiting; the token stays valid`);
  const takenBy = async () => findIssued(await device.trust.readHead(), entry.id)?.takenBy ?? null;
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
      `Interrupted. The token stays valid; to cancel it: ${here(`amesh tokens cancel ${entry.id}`)}`,
    );
    if (text !== null) await takeRegistration(device, text, UNASKED);
    const key = await takenBy();
    const list = await device.trust.read();
    const machine = readDevices(list).devices.find(({ publicKey }) => publicKey === key);
    if (machine === undefined) {
      throw new CommandError(
        'token_not_taken',
        'No machine has confirmed that it took the token.',
        `Its first response may still confirm it: ${here('amesh list')}`,
        { isUnchanged: false }, // the token is pending
      );
    }
    const { friendlyName, deviceId, hosts } = machine;
    return {
      json: { device: machine },
      notes: [
        `✓ "${friendlyName}" (${deviceId}) took the token. It is called at ${hostsText(hosts)}.   Undo: ${here(`amesh revoke ${nameIn(list, machine)}`)}`,
      ],
    };
  } catch (error) {
    throw asLate(stillValid(error));
  } finally {
    teller.stop();
  }
}

/** A failure at the relay happens after the token was created, and does not undo it. */
function stillValid(error: unknown): unknown {
  if (!isAmeshError(error) || !['relay_unreachable', 'relay_busy'].includes(error.code)) return error;
  return new CommandError(
    error.code,
    error.detail,
    `The token is still valid. The machine's first response confirms it, too: ${here('amesh list')}`,
    { isUnchanged: false },
  );
}
