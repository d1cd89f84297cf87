import { relative } from 'node:path';
import { defineBuildConfig } from 'unbuild';
import { declarations } from './scripts/declarations';

export default defineBuildConfig({
  entries: [
    { input: 'src/entries/index', name: 'index' },
    { input: 'src/entries/index.web', name: 'index.web' },
    { input: 'src/entries/core', name: 'core/index' },
    { input: 'src/core/crypto/node', name: 'crypto/node' },
    { input: 'src/core/crypto/web', name: 'crypto/web' },
    { input: 'src/core/crypto/noble', name: 'crypto/noble' },
    { input: 'src/core/hints/hints', name: 'core/hints' },
    { input: 'src/core/hints/hints.web', name: 'core/hints.web' },
    { input: 'src/core/gather/gather', name: 'core/gather' },
    { input: 'src/core/gather/gather.web', name: 'core/gather.web' },
    { input: 'src/entries/express', name: 'express' },
    { input: 'src/entries/hono', name: 'hono' },
    { input: 'src/entries/hono.web', name: 'hono.web' },
    { input: 'src/entries/workers', name: 'workers' },
    { input: 'src/entries/workers.web', name: 'workers.web' },
    { input: 'src/entries/fastify', name: 'fastify' },
    { input: 'src/entries/lambda', name: 'lambda' },
    { input: 'src/entries/undici', name: 'undici' },
    { input: 'src/entries/testing', name: 'testing' },
    { input: 'src/entries/redis', name: 'redis' },
    { input: 'src/entries/storage', name: 'storage' },
    { input: 'src/entries/admin', name: 'admin' },
    { input: 'src/entries/admin/list', name: 'admin/list' },
  ],
  clean: true,
  ...declarations(),
  // Chosen by the runtime's export conditions, so they have to stay imports.
  externals: ['#crypto', '#hints', '#gather', 'ioredis', 'unstorage'],
  rollup: {
    emitCJS: false,
    esbuild: { target: 'es2023' },
    output: {
      hoistTransitiveImports: false, // for Node each import is one more path to resolve
      chunkFileNames: ({ moduleIds }: { moduleIds: string[] }) =>
        `shared/${relative('src', moduleIds.at(-1) ?? '').replace(/\.ts$/, '')}.mjs`,
    },
  },
});
