// Makes an identity. node init.mjs <dir> <name> [--force]
import { createIdentity } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';

const [dir = '', friendlyName = '', force] = process.argv.slice(2);

try {
  const { deviceId } = await createIdentity(dir, process.env, { friendlyName, force: force === '--force' });
  process.stdout.write(`made ${deviceId}\n`);
} catch (error) {
  process.stdout.write(`failed ${isAmeshError(error) ? error.code : error}\n`);
}
