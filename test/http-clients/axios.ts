import { PassThrough, Readable } from 'node:stream';
import { amesh } from '@authmesh/sdk';
import axios from 'axios';

export const api = axios.create({ adapter: 'fetch', env: { fetch: amesh.fetch } });

// On Node, axios gives a FormData the type of a form without files. With this one, fetch adds the boundary.
api.interceptors.request.use((config) => {
  if (config.data instanceof FormData) config.headers.setContentType('multipart/form-data');
  return config;
});

// The package form-data brings its own type, and a stream.
api.interceptors.request.use((config) => {
  if (typeof config.data?.getHeaders !== 'function') return config;
  config.headers.set(config.data.getHeaders());
  config.data = Readable.toWeb(config.data.pipe(new PassThrough()));
  return config;
});
