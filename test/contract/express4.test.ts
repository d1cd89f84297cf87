import type express from 'express';
import express4 from 'express4';
import { describe } from 'vitest';
import { listen } from '../support/listen';
import { expressApp } from './apps/express';
import { contractOf } from './contract';
import { Subject } from './subject';

describe('Express 4', () =>
  contractOf({
    name: 'Express 4',
    start: () => listen(expressApp(express4 as unknown as typeof express, new Subject())),
  }));
