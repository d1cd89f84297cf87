import express from 'express';
import { describe } from 'vitest';
import { listen } from '../support/listen';
import { expressApp } from './apps/express';
import { contractOf } from './contract';
import { Subject } from './subject';

describe('Express 5', () =>
  contractOf({ name: 'Express 5', start: () => listen(expressApp(express, new Subject())) }));
