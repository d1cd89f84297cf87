// Adds devices to the list of a folder, one after the other, and says so after each.
// node writer.mjs <dir> <prefix of names> [<how many>]
import { randomBytes } from 'node:crypto';
import { addDevice, openDevice } from '@authmesh/sdk/admin';

const [dir = '', prefix = '', count = 'Infinity'] = process.argv.slice(2);

const device = await openDevice(dir, {});
process.stdout.write('ready\n');
for (let number = 0; number < Number(count); number++) {
  const friendlyName = `${prefix}-${number}`;
  // No real key is needed to be in the list: only one who calls has to prove it.
  const deviceId = `am_${randomBytes(12).toString('base64url')}`;
  const publicKey = Buffer.concat([Uint8Array.of(2), randomBytes(32)]).toString('base64url');
  await device.trust.update((list) =>
    addDevice(list, { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] }, 0),
  );
  process.stdout.write(`done ${friendlyName}\n`);
}
process.stdout.write('all done\n');
