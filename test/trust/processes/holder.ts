// Takes the lock of a folder's allow list and keeps it until it is told to go on. node holder.mjs <dir>
import { once } from 'node:events';
import { FileStore } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';

try {
  await new FileStore(process.argv[2] ?? '').locked('allow_list.json', async (assertHeld) => {
    process.stdout.write('held\n');
    await once(process.stdin, 'data');
    assertHeld();
  });
  process.stdout.write('released\n');
} catch (error) {
  process.stdout.write(`failed ${isAmeshError(error) ? error.code : error}\n`);
}
process.exit();
