import { createAmesh } from '@authmesh/sdk';

// Signs a request as the identity in AUTH_MESH_DIR, and then waits: its memory is searched.
const response = await createAmesh().fetch(process.argv[2] as string);
console.log(`answered ${response.status}`);
process.stdin.resume();
