// The frameworks that check-frameworks.mjs runs: their exact versions, what a project needs beside the files of the page, and
// calls with their answers.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const pinned = (...names) => names.map((name) => `${name}@${devDependencies[name]}`);

export const JSON_TYPE = { 'content-type': 'application/json' };
export const UNAUTHORIZED = '401 {"error":"unauthorized"}';
const ORDER = '{"amount":100}';
const ORDERED = '200 {"from":"laptop","amount":100}';
const NEWER_NODE = '22.23.3';

const served = ['tsx@4.23.15', 'srvx@1.0.8', ...pinned('typescript', '@types/node')];
const types = [
  'tsc --noEmit --strict --target es2023 --skipLibCheck --module nodenext --types node --allowImportingTsExtensions *.ts',
];

/** Protects a route of its own, beside the program of the page. */
const nextProxy = `import { createServerVerifier } from '@authmesh/sdk/workers';
import { type NextRequest, NextResponse } from 'next/server';

const verifier = createServerVerifier();
export async function proxy(request: NextRequest) {
  const verdict = await verifier.verify(request.clone() as Request);
  if (!verdict.ok) return verdict.response;
  const headers = new Headers(request.headers);
  headers.set('x-caller', verdict.caller.friendlyName);
  return NextResponse.next({ request: { headers } });
}
export const config = { matcher: '/api/proxied' };
`;
const nextProxied = `export async function POST(request: Request) {
  const { amount } = await request.json();
  return Response.json({ from: request.headers.get('x-caller'), amount });
}
`;
const svelteConfig = `import adapter from '@sveltejs/adapter-node';
import { sveltekit } from '@sveltejs/kit/vite';
export default { plugins: [sveltekit({ adapter: adapter() })] };
`;
const svelteProtected = `export async function POST({ request, locals }) {
  const { amount } = await request.json();
  return Response.json({ from: locals.caller.friendlyName, amount });
}
`;

const routerConfig = `import { reactRouter } from '@react-router/dev/vite';
export default { plugins: [reactRouter()] };
`;
const routerTypes = `{
  "include": ["app/**/*", ".react-router/types/**/*"],
  "compilerOptions": {
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true,
    "module": "es2022",
    "moduleResolution": "bundler",
    "target": "es2023",
    "jsx": "react-jsx",
    "types": ["node"],
    "rootDirs": [".", ".react-router/types"]
  }
}
`;
const routerRoutes = `import { type RouteConfig, route } from '@react-router/dev/routes';
export default [
  route('api/orders', 'routes/orders.ts'),
  route('internal', 'routes/internal.tsx', [route('stock', 'routes/stock.tsx')]),
] satisfies RouteConfig;
`;
const routerRoot = `import { Outlet } from 'react-router';
export default () => <html lang="en"><body><Outlet /></body></html>;
`;
const routerLayout = `import { Outlet } from 'react-router';
import { verified } from '../amesh';
export const middleware = [verified];
export default Outlet;
`;
const routerPage = `export const loader = () => ({ tea: 4711 });
export default () => null;
`;
const ROUTER_STOCK = '200 [{"_1":2},"routes/stock",{"_3":4},"data",{"_5":6},"tea",4711]\n';

/** Handles requests as Nitro 2 does: first the middleware, then the routes. */
const nitro = `import { createServer } from 'node:http';
import { createApp, createRouter, defineEventHandler, toNodeListener } from 'h3';
import orders from './server/api/orders.post.ts';
import middleware from './server/middleware/amesh.ts';

const app = createApp();
app.use(middleware);
const router = createRouter();
router.post('/api/orders', orders);
router.delete('/api/orders', defineEventHandler(() => {
  console.log('REACHED');
  return null;
}));
app.use(router);
createServer(toNodeListener(app)).listen(Number(process.env.PORT), 'localhost');
`;
const astroConfig = `import node from '@astrojs/node';
export default { output: 'server', adapter: node({ mode: 'standalone' }) };
`;

/**
 * Each has the heading of its section, whose files it takes, and whose commands, unless it has others; the last command is the
 * server. `calls` are paths, bodies and answers of signed requests. Those with `isProtected` are also sent unsigned, and with
 * another body than signed; those with `isProven` have to be proven answers, too. `left` is a request whose client does not wait.
 */
export const frameworks = [
  {
    name: 'hapi',
    packages: ['@hapi/hapi@21.4.10', ...served],
    prepare: types,
    commands: ['AMESH_HOSTS=localhost:3000 tsx server.ts'],
    calls: [{ path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true, isProven: true }],
  },
  {
    name: 'Elysia',
    packages: [...served, 'elysia@1.4.30'],
    prepare: types,
    calls: [{ path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true }],
  },
  {
    name: 'GraphQL Yoga',
    packages: [...served, 'graphql-yoga@5.24.1', 'graphql@16.15.0', '@whatwg-node/server@0.11.0'],
    prepare: types,
    calls: [
      { path: '/graphql', body: '{"query":"{ from }"}', answer: '200 {"data":{"from":"laptop"}}' },
      {
        path: '/graphql',
        body: '{"query":"mutation { order(amount: 100) }"}',
        answer: '200 {"data":{"order":"100 for laptop"}}',
        isProtected: true,
      },
    ],
  },
  {
    name: 'tRPC',
    packages: [...served, '@trpc/server@11.25.2', '@trpc/client@11.25.2', 'zod@4.6.7'],
    prepare: types,
    calls: [
      {
        path: '/trpc/order',
        body: ORDER,
        answer: '200 {"result":{"data":{"from":"laptop","amount":100}}}',
        isProtected: true,
      },
    ],
    client: {
      command: 'AUTH_MESH_DIR=$CALLER_DIR tsx client.ts',
      prints: "[ 'green tea for laptop', '~ for laptop' ] { from: 'laptop', amount: 100 }",
    },
  },
  {
    name: 'Next.js',
    packages: ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1', '@types/react@19.3.3', ...served.slice(2)],
    files: {
      'tsconfig.json': '{"compilerOptions":{"strict":true}}',
      'proxy.ts': nextProxy,
      'app/api/proxied/route.ts': nextProxied,
    },
    calls: [
      { path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true },
      { path: '/api/orders?item=green+tea', body: ORDER, answer: ORDERED },
      { path: '/api/orders?item=green%20tea', body: ORDER, answer: UNAUTHORIZED },
      { path: '/api/proxied', body: ORDER, answer: ORDERED, isProtected: true },
      { path: '/api/proxied?item=green+tea', body: ORDER, answer: ORDERED },
      { path: '/api/proxied?item=green%20tea', body: ORDER, answer: UNAUTHORIZED },
    ],
  },
  {
    name: 'SvelteKit',
    node: NEWER_NODE,
    packages: [
      '@sveltejs/kit@3.2.0',
      '@sveltejs/adapter-node@6.0.1',
      '@sveltejs/vite-plugin-svelte@7.3.1',
      'svelte@5.57.3',
      'vite@8.4.0',
    ],
    files: {
      'vite.config.js': svelteConfig,
      'src/app.html':
        '<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>',
      'src/routes/internal/orders/+server.js': svelteProtected,
    },
    calls: [
      { path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true },
      { path: '/internal/orders?item=green%20tea', body: ORDER, answer: ORDERED, isProtected: true },
      {
        path: '/api/orders',
        body: ORDER,
        headers: {},
        answer: '403 Cross-site POST form submissions are forbidden',
      },
      {
        path: '/api/orders',
        body: JSON.stringify({ amount: ' '.repeat(600_000) }),
        answer: '400 {"error":"body_incomplete"}',
      },
    ],
  },
  {
    name: 'React Router',
    node: NEWER_NODE,
    packages: [
      ...['react-router', '@react-router/dev', '@react-router/node', '@react-router/serve'].map(
        (name) => `${name}@8.4.0`,
      ),
      'react@19.3.1',
      'react-dom@19.3.1',
      '@types/react@19.3.3',
      'isbot@5.2.3',
      'vite@8.4.0',
      ...served.slice(2),
    ],
    files: {
      'vite.config.ts': routerConfig,
      'tsconfig.json': routerTypes,
      'app/routes.ts': routerRoutes,
      'app/root.tsx': routerRoot,
      'app/routes/internal.tsx': routerLayout,
      'app/routes/stock.tsx': routerPage,
    },
    prepare: ['react-router typegen && tsc'],
    calls: [
      { path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true, isProven: true },
      { path: '/api/orders?item=green%20tea&e&q=~&a[b]=1', body: ORDER, answer: ORDERED },
      { path: '/internal/stock.data', method: 'GET', answer: ROUTER_STOCK, isProtected: true },
      {
        path: '/internal/stock.data?_routes=routes/stock',
        method: 'GET',
        answer: ROUTER_STOCK,
        isProtected: true,
      },
    ],
  },
  {
    name: 'Nuxt',
    packages: ['h3@1.15.11', ...served],
    files: { 'nitro.ts': nitro },
    prepare: [types[0].replace('*.ts', 'nitro.ts')],
    commands: ['AMESH_HOSTS=localhost:3000 tsx nitro.ts'],
    left: { path: '/api/orders', body: ORDER },
    calls: [{ path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true, isProven: true }],
  },
  {
    name: 'Astro',
    node: NEWER_NODE,
    packages: ['astro@7.3.5', '@astrojs/node@11.1.6'],
    files: { 'astro.config.mjs': astroConfig },
    calls: [
      { path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true, isProven: true },
      { path: '/api/orders', method: 'DELETE', answer: '204 ', isProtected: true },
      {
        path: '/api/orders',
        method: 'DELETE',
        headers: {},
        answer: '403 Cross-site DELETE form submissions are forbidden',
      },
      {
        path: '/api/orders',
        body: ORDER,
        headers: {},
        answer: '403 Cross-site POST form submissions are forbidden',
      },
    ],
  },
];
