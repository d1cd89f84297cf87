import { withAmesh } from '@authmesh/sdk/workers';
import { fetchApp } from '../apps/fetch';
import { Subject } from '../subject';
import { serve } from './serve';

const subject = new Subject();
export default serve(
  fetchApp(subject, (handler, options) => withAmesh(handler, { amesh: subject, ...options })),
);
