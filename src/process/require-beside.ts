import { join } from 'node:path';

/**
 * Resolves packages like this module does. No bundler takes along what it loads: a file of machine code is next to it. A
 * bundle that is a CommonJS module has no `import.meta.url`.
 */
export function requireBeside(): NodeJS.Require {
  const here: string | undefined = import.meta.url;
  return process.getBuiltinModule('node:module').createRequire(here ?? join(process.cwd(), 'bundle.js'));
}
