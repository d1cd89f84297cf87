// What users of Fastify write has to compile, in TypeScript's strict mode and against the types of Fastify 4 and of 5.
import { readFileSync } from 'node:fs';
import { type AuthMeshIdentity, createAmesh } from '@authmesh/sdk';
import { type AuthMeshOptions, authMesh, verify } from '@authmesh/sdk/fastify';
import fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyRequest } from 'fastify';

// The guide's
const app = fastify({ logger: true });
await app.register(authMesh);
app.post<{ Body: { amount: number }; Params: { id: string } }>('/orders/:id', async (request) => {
  const caller: AuthMeshIdentity = request.authMesh;
  return { from: caller.friendlyName, amount: request.body.amount, id: request.params.id };
});
await app.listen({ port: 3000 });

// Scopes, with options
const options: AuthMeshOptions = { amesh: createAmesh({ dir: '/srv/amesh' }), maxBodyBytes: 5_000_000 };
app.register(async (api) => {
  await api.register(authMesh, options);
  api.get('/who', async ({ authMesh: { deviceId } }) => deviceId);
});
app.register(authMesh, () => ({ hosts: ['api.example.com'] }));
const plugin: FastifyPluginAsync = async (scope: FastifyInstance) => {
  await scope.register(authMesh, { trustForwardedHost: true });
};
app.register(plugin);

// Single routes
app.get('/one', { onRequest: verify() }, async (request) => request.authMesh.deviceId);
app.get('/two', { onRequest: [verify({ clockSkewSeconds: 10 })] }, async () => ({}));
app.route({ method: 'PUT', url: '/three', onRequest: verify(), handler: async () => ({}) });
app.addHook('onRequest', verify());

// Handlers that name their types
async function handler(request: FastifyRequest<{ Querystring: { a: string } }>): Promise<string> {
  return request.authMesh.friendlyName + request.query.a;
}
app.get('/named', handler);

// HTTPS, HTTP/2
const https = fastify({ https: { key: readFileSync('key'), cert: readFileSync('cert') } });
await https.register(authMesh);
https.get('/', { onRequest: verify() }, async (request) => request.authMesh.deviceId);
const http2 = fastify({ http2: true });
await http2.register(authMesh, { maxBodyBytes: 10 });
http2.get('/', { onRequest: verify() }, async (request) => request.authMesh.deviceId);
const secure = fastify({ http2: true, https: { allowHTTP1: true } });
await secure.register(authMesh);
secure.addHook('onRequest', verify());

// What must not compile
// @ts-expect-error a misspelt option
app.register(authMesh, { clockSkew: 5 });
// @ts-expect-error no nonce store
verify({ nonceStore: {} });
app.get('/wrong', async (request) => {
  // @ts-expect-error there is no such fact
  request.authMesh.name;
  // @ts-expect-error what was verified does not change
  request.authMesh.deviceId = 'am_';
});
