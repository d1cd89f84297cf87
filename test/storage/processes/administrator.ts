// Adds devices and revokes others, all at once; says of each whether its command has returned.
// node administrator.mjs <dir> <prefix of names> <ids to revoke, with commas>
import { randomBytes } from 'node:crypto';
import { addDevice, openDevice, revokeDevice } from '@authmesh/sdk/admin';

const [dir = '', prefix = '', ids = ''] = process.argv.slice(2);
const { trust } = await openDevice(dir, process.env);

const add = async (number: number) => {
  const friendlyName = `${prefix}-${number}`;
  const deviceId = `am_${randomBytes(12).toString('base64url')}`;
  const publicKey = Buffer.concat([Uint8Array.of(2), randomBytes(32)]).toString('base64url');
  const device = { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] } as const;
  await trust.update((list) => addDevice(list, device, 0));
  process.stdout.write(`added ${friendlyName}\n`);
};
const revoke = async (id: string) => {
  await trust.update((list) => revokeDevice(list, id, Math.floor(Date.now() / 1000)));
  process.stdout.write(`revoked ${id}\n`);
};
await Promise.allSettled([...[0, 1, 2, 3, 4].map(add), ...ids.split(',').map(revoke)]);
