import type { FastifyPluginAsync } from 'fastify';
import type { Verifier } from '../../core/verify/verify';
import { toHook } from './hook';

// The same marks as those of the package fastify-plugin.
const MARKS = {
  // The hook applies to the scope that registers the plugin and to nested scopes, not only to a scope without routes.
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: '@authmesh/sdk',
  [Symbol.for('plugin-meta')]: { name: '@authmesh/sdk', fastify: '4.x || 5.x' },
};

/**
 * Creates a plugin that verifies every request in the scope that registers it.
 *
 * @param toVerifier creates the verifier of a registration from its options
 */
export function toPlugin<Options extends object>(
  toVerifier: (options: Options) => Verifier,
  // biome-ignore lint/suspicious/noExplicitAny: Fastify's types differ by the kind of server, and this one is for all.
): FastifyPluginAsync<Options, any, any, any> {
  const plugin: FastifyPluginAsync<Options> = async (scope, options) => {
    if ('prefix' in options) {
      throw new TypeError(
        'authMesh takes no prefix: it verifies the routes of the scope that registers it. Register it inside that scope.',
      );
    }
    if (!scope.hasRequestDecorator('authMesh')) scope.decorateRequest('authMesh', null as never);
    scope.addHook('onRequest', toHook(toVerifier(options)));
  };
  return Object.assign(plugin, MARKS);
}
