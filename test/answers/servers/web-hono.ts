import { serve } from '../../contract/servers/serve';
import { honoApp } from './web-hono-app';

const app = honoApp();
export default serve((request) => app.fetch(request));
