// How long 1,000 tests of an app take, each with a mesh, a caller and a request of its own, without files and network.
import { authMesh } from '@authmesh/sdk/fastify';
import { createTestMesh } from '@authmesh/sdk/testing';
import { withAmesh } from '@authmesh/sdk/workers';
import express from 'express';
import { fastify } from 'fastify';

const TESTS = 1000;

const apps = {
  Express: (amesh) => {
    const app = express();
    app.use(amesh.verify({ require: 'orders:write' }), express.json());
    app.post('/orders', (req, res) => res.json({ from: req.authMesh.friendlyName, item: req.body.item }));
    return app;
  },
  Fastify: async (amesh) => {
    const app = fastify();
    await app.register(authMesh, { amesh, require: 'orders:write' });
    app.post('/orders', async (request) => ({
      from: request.authMesh.friendlyName,
      item: request.body.item,
    }));
    return app;
  },
  'a fetch handler': (amesh) =>
    withAmesh(
      async (request) => Response.json({ from: request.authMesh.friendlyName, ...(await request.json()) }),
      { amesh, require: 'orders:write' },
    ),
};
const order = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"item":"tea"}' };

console.log(`Node ${process.version}: ${TESTS} tests`);
for (const [name, create] of Object.entries(apps)) {
  await alone(create, 20); // warm
  await measure(`${name}, a mesh and an app for each test`, () => alone(create, TESTS));
  await measure(`${name}, one mesh and one app, a caller for each test`, () => together(create, TESTS));
}

async function alone(create, tests) {
  for (let i = 0; i < tests; i++) {
    const mesh = await createTestMesh();
    await check(mesh, await create(mesh.amesh));
  }
}

async function together(create, tests) {
  const mesh = await createTestMesh();
  const app = await create(mesh.amesh);
  for (let i = 0; i < tests; i++) await check(mesh, app);
}

async function check(mesh, app) {
  const laptop = await mesh.asCaller(app, { name: 'laptop', scopes: ['orders:*'] });
  const response = await laptop.fetch('/orders', order);
  const { from, item } = await response.json();
  if (response.status !== 200 || from !== 'laptop' || item !== 'tea') throw new Error('A test failed.');
}

async function measure(what, work) {
  const startedAt = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(2);
  console.log(`${what}: ${seconds} s, ${((user + system) / 1e6).toFixed(2)} s of CPU`);
}
