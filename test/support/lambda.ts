import { verify } from '@authmesh/sdk/hono';
import serverlessExpress from '@codegenie/serverless-express';
import awsLambdaFastify from '@fastify/aws-lambda';
import express from 'express';
import { handle } from 'hono/aws-lambda';
import serverlessHttp from 'serverless-http';
import { expressApp } from '../contract/apps/express';
import { fastifyApp } from '../contract/apps/fastify';
import { honoApp } from '../contract/apps/hono';
import type { Subject } from '../contract/subject';
import { fastifies } from './fastify';

/** A request as its client sends it. */
export interface LambdaRequest {
  readonly method: string;
  /** Path and query, as sent. */
  readonly target: string;
  /** One entry for each line, Host among them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: Uint8Array | string;
}

export interface LambdaAnswer {
  readonly status: number;
  /** By lower-case name; several lines are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** An event of API Gateway, of a function URL or of a load balancer. */
export type LambdaEvent = Record<string, unknown>;
export type LambdaHandler = (event: LambdaEvent) => Promise<unknown>;

/** A package that hands events to a framework. */
export interface LambdaAdapter {
  readonly name: string;
  /** The handler of a Lambda with the contract's application. */
  create(subject: Subject): Promise<LambdaHandler>;
}

const context = { awsRequestId: 'test', callbackWaitsForEmptyEventLoop: true };

// What their types want of events and contexts differs, and what comes is the same.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Any = any;

/** Every adapter of Lambda that is supported. */
export const lambdaAdapters: readonly LambdaAdapter[] = [
  {
    name: 'serverless-http',
    async create(subject) {
      const handler = serverlessHttp(expressApp(express, subject) as Any);
      return async (event) => handler(event, context);
    },
  },
  {
    name: '@codegenie/serverless-express',
    async create(subject) {
      const handler = serverlessExpress({ app: expressApp(express, subject) });
      return async (event) => handler(event, context as Any, () => {});
    },
  },
  {
    name: '@fastify/aws-lambda',
    async create(subject) {
      const handler = awsLambdaFastify((await fastifyApp(fastifies[1], subject)) as Any, {
        albMultiValueHeaders: true, // as a target group has to be set up, too: without it, lines are lost
      });
      return async (event) => handler(event as Any, context as Any);
    },
  },
  {
    name: 'hono/aws-lambda',
    async create(subject) {
      const handler = handle(honoApp(subject, (options) => verify({ amesh: subject, ...options })) as Any);
      return async (event) => handler(event as Any, context as Any);
    },
  },
];

/** Where an event can come from, and how its target stands in it: see docs/lambda.md. */
export const lambdaSources = [
  'HTTP API 2.0',
  'HTTP API 1.0',
  'REST API 1.0',
  'function URL 2.0',
  'load balancer',
] as const;
export type LambdaSource = (typeof lambdaSources)[number];

/** The host of a request from there; function URLs have no other. */
export const hostOf = (source: LambdaSource): string =>
  source === 'function URL 2.0' ? 'abc123.lambda-url.us-west-2.on.aws' : 'api.example.com';

/** Sends one request through a handler, as an event of that source. */
export async function invoke(
  handler: LambdaHandler,
  request: LambdaRequest,
  source: LambdaSource = 'function URL 2.0',
): Promise<LambdaAnswer> {
  return toAnswer(await handler(toEvent(request, source)));
}

/** The event that AWS makes of a request. */
export function toEvent(request: LambdaRequest, source: LambdaSource = 'function URL 2.0'): LambdaEvent {
  const { method, target } = request;
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = mark === -1 ? '' : target.slice(mark + 1);
  const host = request.headers.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? '';
  const body = eventBody(request.body);
  const identity = { sourceIp: '192.0.2.1' };
  const stage = '$default';
  if (source === 'HTTP API 2.0' || source === 'function URL 2.0') {
    const lines = linesOf(request);
    const { cookie, ...others } = lines;
    return {
      version: '2.0',
      routeKey: '$default',
      rawPath: source === 'HTTP API 2.0' ? decoded(path) : path,
      rawQueryString: query,
      ...(cookie === undefined ? {} : { cookies: cookie.flatMap((line) => line.split('; ')) }),
      headers: mapValues(others, (values) => values.join(',')),
      ...(query === ''
        ? {}
        : { queryStringParameters: mapValues(pairsOf(query, plain), (all) => all.join(',')) }),
      requestContext: {
        stage,
        domainName: host,
        requestId: 'request',
        http: { method, path: decoded(path), protocol: 'HTTP/1.1', ...identity, userAgent: 'test' },
      },
      ...body,
    };
  }
  if (source === 'load balancer') {
    return {
      requestContext: { elb: { targetGroupArn: 'arn:aws:elasticloadbalancing:us-west-2:1:targetgroup/x/1' } },
      httpMethod: method,
      path,
      multiValueQueryStringParameters: pairsOf(query, (text) => text),
      multiValueHeaders: linesOf(request),
      ...body,
      body: body.body ?? '',
    };
  }
  const pairs = pairsOf(query, plain);
  const lines = linesOf(request, (name) => name);
  const last = (values: readonly string[]) => values[values.length - 1] as string;
  const isHttpApi = source === 'HTTP API 1.0';
  return {
    ...(isHttpApi ? { version: '1.0' } : {}),
    resource: '/{proxy+}',
    path: isHttpApi ? decoded(path) : path,
    httpMethod: method,
    headers: mapValues(lines, last),
    multiValueHeaders: lines,
    queryStringParameters: query === '' ? null : mapValues(pairs, last),
    multiValueQueryStringParameters: query === '' ? null : pairs,
    pathParameters: { proxy: (isHttpApi ? decoded(path) : path).slice(1) },
    requestContext: {
      stage: isHttpApi ? stage : 'live',
      resourcePath: '/{proxy+}',
      path: isHttpApi ? decoded(path) : `/live${path}`,
      httpMethod: method,
      domainName: host,
      requestId: 'request',
      identity,
    },
    ...body,
    body: body.body ?? null,
  };
}

/** What a client gets of a handler's result. */
export function toAnswer(result: unknown): LambdaAnswer {
  const { statusCode, headers, multiValueHeaders, body, isBase64Encoded } = result as {
    statusCode: number;
    headers?: Record<string, unknown>;
    multiValueHeaders?: Record<string, unknown[]>;
    body?: string;
    isBase64Encoded?: boolean;
  };
  const all: Record<string, string> = {};
  for (const [name, value] of Object.entries({ ...multiValueHeaders, ...headers }))
    all[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : String(value);
  return {
    status: statusCode,
    headers: all,
    body: Buffer.from(body ?? '', isBase64Encoded ? 'base64' : 'utf8').toString(),
  };
}

function eventBody(body: Uint8Array | string = ''): { body?: string; isBase64Encoded: boolean } {
  const bytes = Buffer.from(body as string);
  if (bytes.length === 0) return { isBase64Encoded: false };
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes)
    ? { body: text, isBase64Encoded: false }
    : { body: bytes.toString('base64'), isBase64Encoded: true };
}

function linesOf(
  { headers }: LambdaRequest,
  toName = (name: string) => name.toLowerCase(),
): Record<string, string[]> {
  const lines: Record<string, string[]> = {};
  for (const [name, value] of headers) add(lines, toName(name), value);
  return lines;
}

function pairsOf(query: string, decode: (text: string) => string): Record<string, string[]> {
  const pairs: Record<string, string[]> = {};
  for (const pair of query === '' ? [] : query.split('&')) {
    const [name = '', ...rest] = pair.split('=');
    add(pairs, decode(name), decode(rest.join('=')));
  }
  return pairs;
}

function add(record: Record<string, string[]>, name: string, value: string): void {
  const values = Object.hasOwn(record, name) ? record[name] : undefined;
  if (values === undefined) record[name] = [value];
  else values.push(value);
}

const plain = (text: string) => decoded(text.replaceAll('+', ' '));

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function mapValues<V>(record: Record<string, string[]>, map: (values: string[]) => V): Record<string, V> {
  return Object.fromEntries(Object.entries(record).map(([name, values]) => [name, map(values)]));
}
