import { createAmesh } from '@authmesh/sdk';

// Signs a request as the identity in AUTH_MESH_DIR, and then waits: its memory is searched.
const amesh = createAmesh();
const response = await amesh.fetch(process.argv[2] as string);
console.log(`answered ${response.status}`);
// Keeps the instance: without it the key would be overwritten, too.
process.stdin.on('data', () => void amesh.identity());
