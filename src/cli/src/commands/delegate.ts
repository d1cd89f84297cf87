import { isDelegateName, issueDelegation, knownSigner } from '@authmesh/sdk/admin';
import { type Device, type DeviceEntry, lookUp, STATEMENT_LIMITS as MOST } from '@authmesh/sdk/admin/list';
import type { ProvingKey } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { scopesOf, scopesText } from '../allow-list/scopes';
import { valuesOf } from '../command-line/arguments';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { asUsage } from '../machine/as-usage';
import { openMachine } from '../machine/machine';
import { durationFlag, durationText, momentText, toSeconds } from '../words/duration';
import { assertFew } from '../words/few';
import { here } from '../words/here';
import { printable } from '../words/printable';
import { SUMMARIES } from './summaries';

/** A delegation may last no longer than a statement of a working key. */
const LIFETIMES = { least: 60, most: MOST.requestSeconds };

export const delegate = defineCommand({
  meta: {
    name: 'delegate',
    description: SUMMARIES.delegate,
  },
  args: {
    name: {
      type: 'string',
      required: true,
      valueHint: 'name',
      description: 'What the target calls the delegate, such as report-agent: 1 to 64 of A-Z a-z 0-9 . _ -',
    },
    scope: {
      type: 'string',
      required: true,
      valueHint: 'scope...',
      description:
        "What the delegate may do, such as orders:read or 'reports:*'; may be given several times. It never has more than this machine has at the target",
    },
    target: {
      type: 'string',
      required: true,
      valueHint: 'id|name...',
      description: 'Which target the delegate may call: see amesh list. May be given several times',
    },
    for: durationFlag('How long it may call', LIFETIMES, '1h'),
    ...SHARED_ARGS,
  },

  async run({ args, rawArgs, cmd }): Promise<Result> {
    const { name } = args;
    if (!isDelegateName(name))
      throw new UsageError('--name must have 1 to 64 of A-Z a-z 0-9 . _ -, and no spaces.');
    const lifetimeSeconds = toSeconds(args.for ?? '1h', '--for', LIFETIMES);
    const scopes = scopesOf({ rawArgs, cmd });
    assertFew(
      scopes,
      MOST.scopes,
      `--scope: a delegation can have at most ${MOST.scopes}.`,
      "Use a wildcard, such as 'orders:*'.",
    );
    const words = [...new Set(valuesOf({ rawArgs, cmd }, 'target'))];
    assertFew(
      words,
      MOST.targets,
      `--target: a delegation can have at most ${MOST.targets}.`,
      'Make a second delegation for the others.',
    );
    const device = await openMachine();
    const targets: DeviceEntry[] = [];
    for (const word of words) targets.push(await findTarget(device, word));
    const nowSeconds = Date.now() / 1000;
    const targetKeys = targets.map((target) => ({ ...target, ...keyOf(target, nowSeconds) }));
    const signer = await knownSigner(device, targets, process.env);
    const { text, facts } = await asUsage(
      issueDelegation(signer, {
        name,
        scopes,
        targets: targetKeys.map(({ deviceId }) => deviceId),
        targetKeys,
        lifetimeSeconds,
      }),
    );
    const { id, expiresAt } = facts;
    const called = targets.map(({ friendlyName }) => `"${printable(friendlyName)}"`).join(', ');
    return {
      json: {
        delegation: text,
        id,
        name,
        scopes: facts.scopes,
        targets: targets.map(({ deviceId, friendlyName }) => ({ deviceId, friendlyName })),
        expiresAt,
      },
      data: [text],
      notes: [
        `✓ "${name}" may call ${called} for ${durationText(lifetimeSeconds)} (until ${momentText(expiresAt)}).`,
        `  It may do: ${scopesText(facts.scopes)}. It never has more scopes than this machine has there at that moment, which only the target knows.`,
        ...(facts.scopes.includes('*') ? ['! "*" is everything that this machine may do there.'] : []),
        '  Set AMESH_DELEGATION to that text for the job: its amesh.fetch needs no folder, and no AUTH_MESH_DIR.',
        '  On the target, verify() must require a scope, or say { delegates: true }: otherwise it refuses delegates.',
        '  Anybody who gets the text can do the same: treat it as a secret.',
        `  To revoke it earlier, on the target:  amesh revoke --delegate ${id}`,
      ],
    };
  },
});

/** How long the instances of a target may take to move to another key, in seconds: 7 days. */
const MOVE_SECONDS = 604_800;
/** How long the former key of a target counts in the list, in seconds: 30 days. */
const OVERLAP_SECONDS = 2_592_000;

/**
 * The key by which delegates know a target. While the target moves to another key, that is the former key: it proves the answers of
 * instances that have not moved, and a statement that it has signed proves the answers of the others.
 */
function keyOf({ deviceId, publicKey, keys }: DeviceEntry, nowSeconds: number): ProvingKey {
  const [former, present = { deviceId, publicKey }] = keys?.slice(-2) ?? [];
  const isMoving = former?.until !== undefined && former.until > nowSeconds + OVERLAP_SECONDS - MOVE_SECONDS;
  return isMoving ? former : present;
}

async function findTarget({ trust }: Device, word: string): Promise<DeviceEntry> {
  const found = await lookUp(trust, word);
  if (found.roles.includes('target')) return found;
  // It also calls this machine, and has replaced its key as a caller. It is a target under the ID that it had before.
  const list = found.was === undefined ? undefined : await trust.read();
  for (const id of found.was ?? []) {
    const former = list?.entry(id);
    if (former?.retiresAt !== undefined && former.roles.includes('target')) return former;
  }
  throw new UsageError(
    `--target: "${printable(found.friendlyName)}" (${found.deviceId}) may call this machine, but this machine does not call it.`,
    { hint: `See the targets: ${here('amesh list --role target')}` },
  );
}
