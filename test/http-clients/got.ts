import { amesh, type SignedRequest } from '@authmesh/sdk';
import got from 'got';

export const api = got.extend({
  followRedirect: false, // each hop needs a signature of its own
  hooks: {
    beforeRequest: [
      async (options) => {
        const { url, method, headers, body } = options;
        const signed = await amesh.sign({
          url: url as URL,
          method,
          headers,
          body: body as string | Uint8Array,
        });
        options.url = new URL(signed.url);
        options.headers = Object.fromEntries(signed.headers);
        options.body = signed.body ?? undefined;
        options.context = { ...options.context, signed };
      },
    ],
    afterResponse: [
      async (response, retry) => {
        const { signed } = response.request.options.context as { signed: SignedRequest };
        const { statusCode: status, headers } = response;
        const { again } = await signed.answered({ status, headers });
        return again ? retry({}) : response;
      },
    ],
  },
});
