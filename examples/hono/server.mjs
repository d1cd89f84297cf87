import { verify } from '@authmesh/sdk/hono';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';

const app = new Hono();
app.get('/health', (c) => c.json({ ok: true })); // for everybody
app.use('/api/*', verify());
app.post('/api/orders', async (c) => {
  const { item } = await c.req.json();
  return c.json({ item, from: c.get('authMesh').friendlyName }, 201);
});
serve({ fetch: app.fetch, port: 3000 }, () => console.log('listening on port 3000'));
