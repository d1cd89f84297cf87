import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Amesh } from '@authmesh/sdk';
import { signing } from '@authmesh/sdk/undici';
import type { AxiosRequestConfig } from 'axios';
import type { OptionsInit } from 'got';
import ky, { type Options as KyOptions } from 'ky';
import {
  Agent,
  type Dispatcher,
  interceptors,
  FormData as UndiciFormData,
  fetch as undiciFetch,
  request as undiciRequest,
} from 'undici';

/** A body, as a program gives it to its client. */
export type Content =
  | { readonly kind: 'none' }
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'form'; readonly fields: Readonly<Record<string, string>> }
  | { readonly kind: 'multipart'; readonly form: FormData }
  | { readonly kind: 'stream'; readonly chunks: readonly string[] }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array<ArrayBuffer> };

export interface Call {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly content?: Content;
  /** How often to try again after a 503. */
  readonly retries?: number;
  readonly signal?: AbortSignal;
}

export interface Got {
  readonly status: number;
  readonly body: string;
}

/** An HTTP client that signs by the recipe of docs/http-clients.md. */
export interface HttpClient {
  readonly name: string;
  /** Whether it follows a redirect by itself. */
  readonly follows: boolean;
  /** Whether it sends by `amesh.fetch`, which proves answers, and signs for any host. */
  readonly isFetch: boolean;
  /** Whether it can send a body once more: fetch has read it. */
  readonly repeatsBody?: boolean;
  send(url: string, call?: Call): Promise<Got>;
}

/** @param amesh the instance that signs: that of a recipe is replaced with it */
export function clientsWith(amesh: Amesh, recipes: Recipes): readonly HttpClient[] {
  return [
    axiosClient(recipes),
    kyClient(amesh),
    ...undiciClients(amesh),
    gotClient(recipes),
    nodeClient(recipes),
  ];
}

export interface Recipes {
  readonly axios: () => typeof import('./axios').api;
  readonly got: () => typeof import('./got').api;
  readonly node: () => typeof import('./node-http').signedRequest;
}

function axiosClient({ axios }: Recipes): HttpClient {
  return {
    name: 'axios',
    follows: true,
    isFetch: true,
    async send(url, { method = 'GET', headers, content, retries = 0, signal } = {}) {
      const config: AxiosRequestConfig = {
        url,
        method,
        headers: { ...headers, ...(content?.kind === 'form' && FORM) },
        data: dataOf(content),
        ...(signal && { signal }),
        responseType: 'text',
        validateStatus: null,
        transformResponse: [(body) => body],
      };
      for (let left = retries; ; left--) {
        const { status, data } = await axios().request(config);
        if (status !== 503 || left === 0) return { status, body: data };
      }
    },
  };
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

function dataOf(content: Content | undefined): unknown {
  switch (content?.kind) {
    case 'json':
      return content.value;
    case 'form':
      return new URLSearchParams(content.fields);
    case 'multipart':
      return content.form;
    case 'stream':
      return Readable.toWeb(Readable.from(content.chunks.map((chunk) => Buffer.from(chunk))));
    case 'bytes':
      return content.bytes;
    default:
      return undefined;
  }
}

function kyClient(amesh: Amesh): HttpClient {
  const api = ky.create({ fetch: amesh.fetch as never, timeout: false });
  return {
    name: 'ky',
    follows: true,
    isFetch: true,
    async send(url, { method = 'GET', headers, content, retries = 0, signal } = {}) {
      const body = dataOf(content);
      const options: KyOptions = {
        method,
        headers: { ...headers },
        ...(content?.kind === 'json' ? { json: body } : { body: body as BodyInit }),
        ...(content?.kind === 'stream' && { duplex: 'half' }),
        ...(signal && { signal }),
        throwHttpErrors: retries > 0, // without it, ky tries nothing again
        retry: {
          limit: retries,
          methods: ['get', 'put'],
          statusCodes: [503],
          backoffLimit: 1,
          delay: () => 1,
        },
      };
      const response = await api(url, options);
      return { status: response.status, body: await response.text() };
    },
  };
}

function undiciClients(amesh: Amesh): HttpClient[] {
  const agent = (...more: Dispatcher.DispatcherComposeInterceptor[]) =>
    new Agent({ keepAliveTimeout: 10 }).compose(signing(amesh), ...more);
  const retrying = (maxRetries: number) =>
    interceptors.retry({ maxRetries, minTimeout: 1, maxTimeout: 1, statusCodes: [503], throwOnError: false });
  const init = ({ method = 'GET', headers, content, signal }: Call) => ({
    method,
    headers: { ...headers, ...(content?.kind === 'json' && { 'content-type': 'application/json' }) },
    ...(signal && { signal }),
  });
  const bodyOf = (content: Content | undefined) =>
    content?.kind === 'json' ? JSON.stringify(content.value) : dataOf(content);
  return [
    {
      name: 'undici.request',
      follows: true,
      isFetch: false,
      async send(url, call = {}) {
        const { content, retries = 0 } = call;
        const dispatcher = agent(interceptors.redirect({ maxRedirections: 3 }), retrying(retries));
        const body =
          content?.kind === 'form' ? new URLSearchParams(content.fields).toString() : bodyOf(content);
        const headers = { ...init(call).headers, ...(content?.kind === 'form' && FORM) };
        const options = { ...init(call), headers, body: body as string, dispatcher };
        const { statusCode, body: answer } = await undiciRequest(url, options as never);
        return { status: statusCode, body: await answer.text() };
      },
    },
    {
      name: 'fetch with a dispatcher of undici',
      repeatsBody: false,
      follows: false,
      isFetch: false,
      async send(url, call = {}) {
        const { content, retries = 0 } = call;
        const body = content?.kind === 'multipart' ? ownForm(content.form) : bodyOf(content);
        const options = { ...init(call), body, duplex: 'half', redirect: 'manual' };
        const response = await undiciFetch(url, {
          ...options,
          dispatcher: agent(retrying(retries)),
        } as never);
        return { status: response.status, body: await response.text() };
      },
    },
  ];
}

/** Its fetch knows only its own class. */
function ownForm(form: FormData): UndiciFormData {
  const own = new UndiciFormData();
  for (const [name, value] of form) own.append(name, value as string);
  return own;
}

function gotClient({ got }: Recipes): HttpClient {
  return {
    name: 'got',
    follows: false,
    isFetch: false,
    async send(url, { method = 'GET', headers, content, retries = 0, signal } = {}) {
      const options: OptionsInit = {
        method: method as 'GET',
        headers: { ...headers },
        throwHttpErrors: false,
        retry: {
          limit: retries,
          methods: ['GET', 'PUT'],
          statusCodes: [503],
          calculateDelay: ({ computedValue }) => computedValue && 1,
        },
        ...(signal && { signal }),
        ...gotBody(content),
      };
      const { statusCode, body } = await got()(url, {
        ...options,
        responseType: 'text',
        resolveBodyOnly: false,
      } as never);
      return { status: statusCode, body: body as string };
    },
  };
}

function gotBody(content: Content | undefined): object {
  if (content?.kind === 'json') return { json: content.value };
  if (content?.kind === 'form') return { form: content.fields };
  if (content?.kind === 'stream')
    return { body: Readable.from(content.chunks.map((chunk) => Buffer.from(chunk))) };
  const body = dataOf(content);
  return body === undefined ? {} : { body };
}

function nodeClient({ node }: Recipes): HttpClient {
  return {
    name: 'node:http',
    follows: false,
    isFetch: false,
    async send(url, { method = 'GET', headers, content, retries = 0, signal } = {}) {
      const type = content?.kind === 'json' && { 'content-type': 'application/json' };
      const body = content?.kind === 'json' ? JSON.stringify(content.value) : (dataOf(content) as BodyInit);
      for (let left = retries; ; left--) {
        const response = await node()({ url, method, headers: { ...headers, ...type }, body }, signal);
        const answer = { status: response.statusCode as number, body: await text(response) };
        if (answer.status !== 503 || left === 0) return answer;
      }
    },
  };
}
