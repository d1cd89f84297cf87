import { join } from 'node:path';

/**
 * Resolves packages as this module does. No bundler includes what this loads, since such a package has a file of machine code next
 * to it. A bundle that is a CommonJS module has no `import.meta.url`.
 */
export function requireBeside(): NodeJS.Require {
  const here: string | undefined = import.meta.url;
  return process.getBuiltinModule('node:module').createRequire(here ?? join(process.cwd(), 'bundle.js'));
}
