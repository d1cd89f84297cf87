import { contractOn } from './on-runtime';

await contractOn('bun', 'fetch', { removesDotSegments: true });
