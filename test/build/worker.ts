// The built packages in a Worker.
import { amesh, createAmesh } from '@authmesh/sdk';
import { createVerifier } from '@authmesh/sdk/core';
import { verify } from '@authmesh/sdk/hono';
import { AmeshNonces, withAmesh } from '@authmesh/sdk/workers';

const codeOf = async (call: () => unknown) => {
  try {
    return await call();
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

export default {
  fetch: async () =>
    Response.json({
      fetch: await codeOf(() => amesh.fetch('https://example.com')),
      verify: await codeOf(() => amesh.verify()),
      identity: await codeOf(() => amesh.identity()),
      createAmesh: await codeOf(() => createAmesh()),
      exports: [createVerifier, verify, withAmesh, AmeshNonces].map((value) => typeof value),
    }),
};
