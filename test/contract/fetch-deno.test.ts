import { contractOn } from './on-runtime';

await contractOn('deno', 'fetch');
