import { getRequestListener } from '@hono/node-server';
import { describe } from 'vitest';
import { listen } from '../support/listen';
import { honoApp } from './apps/hono';
import { contractOf } from './contract';
import { Subject } from './subject';

describe('Hono on Node', () =>
  contractOf({
    name: 'Hono on Node',
    start: () => listen(getRequestListener(honoApp(new Subject()).fetch)),
  }));
