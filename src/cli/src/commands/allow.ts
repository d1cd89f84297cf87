import { allowScopes, type DeviceEntry, type ListHead, lookUp, whyEnded } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { endNotes, isLeaseOver } from '../allow-list/ends';
import { nameAsGiven } from '../allow-list/namesakes';
import { readScopes, scopesText, scopeWords } from '../allow-list/scopes';
import { DEVICE_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { afterwards } from '../errors/changes';
import { CommandError, UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { durationFlag, toSeconds, UP_TO_TEN_YEARS } from '../words/duration';
import { fixHere, here } from '../words/here';
import { nameForCommand } from '../words/shell';
import { SUMMARIES } from './summaries';

export const allow = defineCommand({
  meta: { name: 'allow', description: SUMMARIES.allow },
  args: {
    device: DEVICE_ARG,
    scope: {
      type: 'positional',
      required: false,
      valueHint: 'scope...',
      description:
        "What it may do, in addition to what it may do already, such as orders:read or 'reports:*'",
    },
    expires: {
      ...durationFlag(
        'When the trust in the device ends, such as 90d: after that it may not call at all, whatever its scopes',
        UP_TO_TEN_YEARS,
        'as it was',
      ),
      valueHint: 'time|never',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const scopes = readScopes(args._.slice(1), 'The scope');
    const now = Math.floor(Date.now() / 1000);
    const expiresAt = args.expires === undefined ? undefined : toEnd(args.expires, now);
    if (scopes.length === 0 && expiresAt === undefined)
      throw new UsageError('Which scope? Give at least one, or --expires.', {
        hint: `For example: ${here(`amesh allow ${nameForCommand({ friendlyName: args.device, deviceId: 'NAME' })} orders:read`)}`,
      });
    const { trust } = await openMachine();
    const { deviceId } = await lookUp(trust, args.device);
    const { head, result, isChanged } = await trust.update(async (draft) => {
      const before = await draft.device(deviceId);
      const device = await allowScopes(draft, deviceId, scopes, expiresAt);
      if (scopes.length > 0) assertKeepsScopes(device, draft.head);
      return { before, device };
    });
    const { device } = result;
    const why = whyEnded(device, head, Date.now());
    const hasLeft = isLeaseOver(device) && (await afterwards(trust.read())).entry(deviceId) === undefined;
    const added = (device.scopes ?? []).filter((scope) => !result.before?.scopes?.includes(scope));
    return {
      json: {
        device,
        changed: isChanged,
        added,
        ...(why !== null && { code: why.code, message: why.detail, hint: fixHere(why) }),
      },
      notes: [
        outcome(device, nameAsGiven(device, args.device), added, isChanged),
        ...endNotes(device, head),
        ...(hasLeft
          ? [
              '  It has left the list: an ended lease stays there only while the trust in the device has an end.',
            ]
          : []),
        ...(device.lease === undefined || scopes.length === 0
          ? []
          : [
              '  It enrolled by a grant. If its lease ends and it enrols again, it gets the scopes of the grant.',
            ]),
      ],
    };
  },
});

/**
 * An ended lease leaves the list with the next change, and a later one has the scopes of its grant alone. Only an end that a person
 * has set keeps the entry, with its scopes, for a new pairing.
 *
 * @throws CommandError
 */
function assertKeepsScopes(device: DeviceEntry, head: Pick<ListHead, 'grants'>): void {
  const why = isLeaseOver(device) && device.expiresAt === undefined && whyEnded(device, head, Date.now());
  if (!why) return;
  const { friendlyName, deviceId } = device;
  throw new CommandError(
    why.code,
    `The lease of "${friendlyName}" (${deviceId}) has ended, so scopes have no effect.`,
    fixHere(why),
  );
}

/** @returns Unix seconds; null for no end */
function toEnd(text: string, now: number): number | null {
  if (text.trim() === 'never') return null;
  return now + toSeconds(text, '--expires', UP_TO_TEN_YEARS);
}

function outcome(device: DeviceEntry, word: string, added: readonly string[], isChanged: boolean): string {
  const { friendlyName, deviceId, scopes } = device;
  const called = `"${friendlyName}" (${deviceId})`;
  const may = `It may do: ${scopesText(scopes)}.`;
  if (!isChanged) return `✓ ${called} was already like that. ${may} No changes were made.`;
  if (added.length === 0)
    return `✓ ${device.expiresAt === undefined ? `The trust in ${called} has no end now` : `Set the end of the trust in ${called}`}. ${may}`;
  return `✓ ${called} may now do: ${scopesText(scopes)}.   Undo: ${here(`amesh deny ${word} ${scopeWords(added)}`)}`;
}
