import { createServer } from 'node:http';
import { type AllowListDocument, sealDocument } from '../../src/trust/document';
import { signerOf } from '../support/core';
import { listen } from '../support/listen';
import { type RuntimeServer, requireRuntime, startServer } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { vectors } from '../support/vectors';

const { controller, target } = vectors.devices;

export const runtime = await requireRuntime('workerd');

/** A list of the vectors' target that trusts the vectors' controller, with changes, sealed by the target or another. */
export async function sealedList(
  changes: Partial<AllowListDocument> = {},
  by: keyof typeof vectors.devices = 'target',
): Promise<string> {
  const document: AllowListDocument = {
    version: 1,
    owner: vectors.devices[by].publicKey,
    list: target.deviceId,
    revision: 1,
    updatedAt: 1_764_000_000,
    hosts: [],
    devices: [
      {
        deviceId: controller.deviceId,
        publicKey: controller.publicKey,
        friendlyName: 'controller',
        roles: ['controller'],
        hosts: [],
        addedAt: 1_764_000_000,
      },
    ],
    tokens: [],
    grants: [],
    tombstones: [],
    ...changes,
  };
  return new TextDecoder().decode(await sealDocument(document, await signerOf(by)));
}

/** What stands behind a KV binding of workerd: it reads by HTTP from a service, here one of ours. */
export interface Kv {
  /** What is stored under allow_list.json; null for nothing, and `down` for a store that fails. */
  value: string | null | 'down';
  /** How often it was asked. */
  reads: number;
  readonly port: number;
  close(): Promise<void>;
}

export async function startKv(value: string | null): Promise<Kv> {
  const server = await listen(
    createServer((request, response) => {
      kv.reads++;
      const { pathname } = new URL(request.url as string, 'http://kv');
      if (kv.value === 'down') response.writeHead(500).end();
      else if (kv.value === null || pathname !== '/allow_list.json') response.writeHead(404).end();
      else response.end(kv.value);
    }),
  );
  const kv: Kv = { value, reads: 0, port: server.port, close: server.close };
  return kv;
}

/** Starts test/workers/worker.ts with variables and, where they are given, its bindings. */
export function startWorker(
  variables: Readonly<Record<string, string>>,
  { kv, nonces }: { kv?: Kv; nonces?: 'in memory' | { readonly folder: string } } = {},
): Promise<RuntimeServer> {
  const onDisk = typeof nonces === 'object';
  return startServer(runtime as Runtime, 'test/workers/worker.ts', {
    services: [
      ...(kv === undefined
        ? []
        : [`(name = "kv", external = (address = "127.0.0.1:${kv.port}", http = ())),`]),
      ...(onDisk ? [`(name = "disk", disk = (path = "${nonces.folder}", writable = true)),`] : []),
    ].join('\n'),
    worker: [
      'bindings = [',
      ...Object.entries(variables).map(
        ([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)}),`,
      ),
      ...(kv === undefined ? [] : ['(name = "AMESH_ALLOW_LIST", kvNamespace = "kv"),']),
      ...(nonces === undefined ? [] : ['(name = "AMESH_NONCES", durableObjectNamespace = "AmeshNonces"),']),
      '],',
      'durableObjectNamespaces = [(className = "AmeshNonces", uniqueKey = "amesh", enableSql = true)],',
      `durableObjectStorage = (${onDisk ? 'localDisk = "disk"' : 'inMemory = void'}),`,
    ].join('\n'),
  });
}
