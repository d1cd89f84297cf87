import { toRelayUrl } from '@authmesh/sdk/admin';
import type { FileStore } from '@authmesh/sdk/admin/list';
import { isAmeshError } from '@authmesh/sdk/core';
import { CommandError } from '../errors/errors';

const KEY = 'config.json';

/** Preferences of this machine. They have no influence on whom it trusts. */
export interface Settings {
  readonly relay?: string;
}

/** @throws CommandError if amesh did not write the file */
export async function readSettings(store: FileStore): Promise<Settings> {
  const bytes = await read(store);
  return bytes === null ? {} : parse(bytes, store.dir);
}

export async function changeSettings(
  store: FileStore,
  change: (settings: Settings) => Settings,
): Promise<Settings> {
  for (;;) {
    const bytes = await read(store);
    const next = change(bytes === null ? {} : parse(bytes, store.dir));
    const text = `${JSON.stringify(next, null, 2)}\n`;
    if (await store.swap(KEY, bytes, new TextEncoder().encode(text))) return next;
  }
}

async function read(store: FileStore): Promise<Uint8Array | null> {
  return store.read(KEY).catch((error) => {
    throw isAmeshError(error) ? wrong(error.detail) : error;
  });
}

function wrong(why: string): CommandError {
  return new CommandError('config_unreadable', why, 'Fix or remove it: it contains only preferences.');
}

function parse(bytes: Uint8Array, dir: string): Settings {
  try {
    const { relay, ...others } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    if (relay === undefined) return others;
    return { ...others, relay: toRelayUrl(String(relay)) };
  } catch (error) {
    throw wrong(`config.json in ${dir} is wrong: ${(error as Error).message}`);
  }
}
