import { verify } from '@authmesh/sdk/hono';
import { honoApp } from '../apps/hono';
import { Subject } from '../subject';
import { serve } from './serve';

const subject = new Subject();
const app = honoApp(subject, (options) => verify({ amesh: subject, ...options }));
export default serve((request) => app.fetch(request));
