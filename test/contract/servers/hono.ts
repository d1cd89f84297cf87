import { honoApp } from '../apps/hono';
import { Subject } from '../subject';
import { serve } from './serve';

const app = honoApp(new Subject());
export default serve((request) => app.fetch(request));
