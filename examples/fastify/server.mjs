import { authMesh } from '@authmesh/sdk/fastify';
import fastify from 'fastify';

const app = fastify();
app.get('/health', async () => ({ ok: true })); // for everybody
await app.register(async (api) => {
  await api.register(authMesh);
  api.post('/api/orders', async (request, reply) => {
    reply.code(201);
    return { item: request.body.item, from: request.authMesh.friendlyName };
  });
});
await app.listen({ port: 3000 });
console.log('listening on port 3000');
