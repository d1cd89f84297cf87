// Revokes a device and says when that had returned, in Unix milliseconds. node revoker.mjs <dir> <deviceId>
import { openDevice, revokeDevice } from '@authmesh/sdk/admin';

const [dir = '', id = ''] = process.argv.slice(2);
const { trust } = await openDevice(dir, {});
await trust.update((list) => revokeDevice(list, id, Math.floor(Date.now() / 1000)));
process.stdout.write(`revoked ${Date.now()}\n`);
