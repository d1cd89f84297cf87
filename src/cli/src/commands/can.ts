import {
  type Device,
  type DeviceEntry,
  findDevice,
  isScope,
  type WhyNot,
  whyNot,
} from '@authmesh/sdk/admin/list';
import { isAmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { scopesText } from '../allow-list/scopes';
import { DEVICE_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { EXIT } from '../errors/exit-codes';
import { openMachine } from '../machine/machine';
import { momentText } from '../words/duration';
import { fixHere } from '../words/here';
import { withoutSecrets } from '../words/printable';
import { SUMMARIES } from './summaries';

export const can = defineCommand({
  meta: {
    name: 'can',
    description: SUMMARIES.can,
  },
  args: {
    device: DEVICE_ARG,
    scope: {
      type: 'positional',
      required: false,
      valueHint: 'scope...',
      description: 'What it would do, such as orders:read; several mean all of them',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const required = args._.slice(1)
      .flatMap((word) => word.split(','))
      .map((text) => text.trim());
    const wrong = required.find((scope) => !isScope(scope));
    if (wrong !== undefined)
      throw new UsageError(`${JSON.stringify(wrong)} is not a scope that a request can need.`, {
        hint: 'It has 1 to 64 of a-z 0-9 _ . : - and no wildcard, such as orders:read.',
      });
    const { trust } = await openMachine();
    const list = await trust.read();
    const found = find(list, args.device);
    const why = 'code' in found ? found : whyNot(list, found.deviceId, required, Date.now());
    const device = 'code' in found ? null : found;
    const what = required.length === 0 ? 'call this machine' : `do ${required.join(', ')}`;
    const json = { can: why === null, device, required };
    if (why === null) return { json, notes: [`✓ ${called(device)} may ${what}.${until(device)}`] };
    const { code, detail } = why;
    const hint = fixHere(why);
    return {
      json: { ...json, code, message: withoutSecrets(detail), hint },
      notes: [
        `✗ No${device === null ? '' : `: ${called(device)} may not ${what}`}. ${detail}`,
        ...(code === 'scope_missing' ? [`  It has: ${scopesText(device?.scopes)}`] : []),
        `  ${hint}`,
      ],
      exitCode: EXIT.no,
    };
  },
});

/** A device that is not in the list may not call. That is a result, and not an error. */
function find(list: Awaited<ReturnType<Device['trust']['read']>>, idOrName: string): DeviceEntry | WhyNot {
  try {
    return findDevice(list, idOrName);
  } catch (error) {
    if (!isAmeshError(error) || error.code !== 'unknown_name') throw error;
    const nobody = whyNot(list, idOrName, [], Date.now()) as WhyNot;
    return { ...nobody, detail: error.detail };
  }
}

function called(device: DeviceEntry | null): string {
  return `"${device?.friendlyName}" (${device?.deviceId})`;
}

function until(device: DeviceEntry | null): string {
  const ends = [device?.expiresAt, device?.lease?.expiresAt].filter((end) => end !== undefined);
  return ends.length === 0 ? '' : ` Its trust ends ${momentText(Math.min(...ends))}.`;
}
