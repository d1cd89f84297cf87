import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, type Device, openDevice } from '@authmesh/sdk/admin';
import { afterAll } from 'vitest';

/** New devices, each in a folder of its own; removed after the last test of the file. */
export function useDevices(): (friendlyName: string) => Promise<Device> {
  const dirs: string[] = [];
  afterAll(() => Promise.all(dirs.map((dir) => rm(dir, { recursive: true, maxRetries: 20 }))));
  return async (friendlyName) => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-pairing-'));
    dirs.push(dir);
    await createIdentity(dir, {}, { friendlyName });
    return openDevice(dir, {});
  };
}
