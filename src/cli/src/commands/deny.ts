import { covers, type DeviceEntry, denyScopes, lookUp, whyEnded } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { confirmationsOf, confirmationText } from '../allow-list/confirmations';
import { endNotes } from '../allow-list/ends';
import { nameAsGiven } from '../allow-list/namesakes';
import { regainNotes } from '../allow-list/revoke-grant';
import { readScopes, scopesText, scopeWords } from '../allow-list/scopes';
import { DEVICE_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { here } from '../words/here';
import { nameForCommand } from '../words/shell';
import { SUMMARIES } from './summaries';

export const deny = defineCommand({
  meta: { name: 'deny', description: SUMMARIES.deny },
  args: {
    device: DEVICE_ARG,
    scope: {
      type: 'positional',
      required: false,
      valueHint: 'scope...',
      description:
        "What it may no longer do: orders:read, 'reports:*' for all that begins with reports:, or '*' for all",
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const scopes = readScopes(args._.slice(1), 'The scope');
    if (scopes.length === 0)
      throw new UsageError('Which scope? Give at least one.', {
        hint: `To take all scopes: ${here(`amesh deny ${nameForCommand({ friendlyName: args.device, deviceId: 'NAME' })} '*'`)}`,
      });
    const { trust } = await openMachine();
    const { deviceId } = await lookUp(trust, args.device);
    const { head, result, isChanged } = await trust.update(async (draft) => {
      const before = await draft.device(deviceId);
      return { before, device: await denyScopes(draft, deviceId, scopes) };
    });
    const { before, device } = result;
    const word = nameAsGiven(device, args.device);
    const removed = (before?.scopes ?? []).filter((scope) => !device.scopes?.includes(scope));
    const unknown = scopes.filter((scope) => !removed.some((each) => covers([scope], each)));
    const confirmations = isChanged ? await confirmationsOf(trust, head.revision) : undefined;
    const when =
      confirmations === undefined ? 'This takes effect within a second.' : confirmationText(confirmations);
    return {
      json: {
        device,
        changed: isChanged,
        removed,
        notGranted: unknown,
        ...(confirmations === undefined ? {} : { confirmations }),
      },
      notes: [
        ...(isChanged ? [outcome(device, word, removed), `  ${when}`] : []),
        ...(unknown.length === 0 ? [] : [notGranted(device, unknown, isChanged)]),
        ...(whyEnded(device, head, Date.now()) === null ? rest(device, word) : endNotes(device, head)),
        ...regainNotes(device, removed, head),
      ],
    };
  },
});

function outcome(device: DeviceEntry, word: string, removed: readonly string[]): string {
  return `✓ "${device.friendlyName}" (${device.deviceId}) may no longer do: ${scopesText(removed)}.   Undo: ${here(`amesh allow ${word} ${scopeWords(removed)}`)}`;
}

/** Otherwise a mistyped scope would look denied, while the device still has the intended one. */
function notGranted(device: DeviceEntry, scopes: readonly string[], isChanged: boolean): string {
  const { friendlyName, deviceId } = device;
  const outcome = isChanged ? '' : ' No changes were made.';
  return `! "${friendlyName}" (${deviceId}) did not have ${scopesText(scopes)}.${outcome}`;
}

/** What a device may still do that may call. */
function rest({ scopes }: DeviceEntry, word: string): string[] {
  if (scopes !== undefined) return [`  It may still do: ${scopesText(scopes)}.`];
  return ['  It may still call what requires no scope.', `  To end that:  ${here(`amesh revoke ${word}`)}`];
}
