import { contractOn } from './on-runtime';

await contractOn('bun', 'hono', { removesDotSegments: true });
