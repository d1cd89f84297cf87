import { contractOn } from './on-runtime';

await contractOn('workerd', 'fetch');
