import express5 from 'express';
import express4Module from 'express4';

// One type for both: what the tests use is the same in both.
const express4 = express4Module as unknown as typeof express5;

/** Both versions of Express that are supported. */
export const frameworks = [
  { name: 'Express 4', express: express4 },
  { name: 'Express 5', express: express5 },
] as const;
