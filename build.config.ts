import { defineBuildConfig } from 'unbuild';
import { declarations } from './scripts/declarations';

export default defineBuildConfig({
  entries: [
    { input: 'src/index', name: 'index' },
    { input: 'src/index.web', name: 'index.web' },
    { input: 'src/core/index', name: 'core/index' },
    { input: 'src/core/crypto/node', name: 'crypto/node' },
    { input: 'src/core/crypto/web', name: 'crypto/web' },
    { input: 'src/core/crypto/noble', name: 'crypto/noble' },
    { input: 'src/core/machine-codes', name: 'core/machine-codes' },
    { input: 'src/core/machine-codes.web', name: 'core/machine-codes.web' },
    { input: 'src/core/hints', name: 'core/hints' },
    { input: 'src/core/hints.web', name: 'core/hints.web' },
    { input: 'src/express', name: 'express' },
    { input: 'src/hono', name: 'hono' },
    { input: 'src/hono.web', name: 'hono.web' },
    { input: 'src/workers', name: 'workers' },
    { input: 'src/workers.web', name: 'workers.web' },
    { input: 'src/fastify', name: 'fastify' },
    { input: 'src/lambda', name: 'lambda' },
    { input: 'src/redis', name: 'redis' },
    { input: 'src/storage/index', name: 'storage' },
    { input: 'src/admin', name: 'admin' },
  ],
  clean: true,
  ...declarations(),
  // Chosen by the runtime's export conditions, so they have to stay imports.
  externals: ['#crypto', '#machine-codes', '#hints', 'ioredis', 'unstorage'],
  rollup: { emitCJS: false, esbuild: { target: 'es2023' } },
});
