import { join } from 'node:path';
import { createIdentity } from '@authmesh/sdk/admin';
import {
  BACKENDS,
  type Env,
  FileStore,
  findBackend,
  type KeyContext,
  readIdentity,
  toTrustLine,
} from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { assertForAgent } from '../machine/for-agent';
import { hostsText, loopbackNotes, machineDir, toHosts } from '../machine/machine';
import { toPublicKey } from '../machine/public-key';
import { askNewSecret } from '../terminal/prompt';
import { here } from '../words/here';
import { initNext } from './init-next';
import { findBackends } from './keys';
import { SUMMARIES } from './summaries';

/** How long a user has to wait for backends that they did not choose. */
const PATIENCE_MS = 2_000;

/** What to say about other places that could store the key. */
const BETTER: Readonly<Record<string, string>> = {
  tpm2: 'This machine has a TPM',
  'ssh-agent': 'The SSH agent of this session has a key that amesh can use',
  'secure-enclave': 'A Mac with a Secure Enclave (experimental; Secretive and ssh-agent are recommended)',
};

export const init = defineCommand({
  meta: { name: 'init', description: SUMMARIES.init },
  args: {
    name: { type: 'string', required: true, description: 'The name under which others know this machine' },
    backend: {
      type: 'enum',
      options: BACKENDS.map(({ id }) => id),
      description: `Where the private key is stored; default ${BACKENDS[0]?.id}`,
    },
    key: {
      type: 'string',
      valueHint: 'SHA256:…|comment',
      description: 'With --backend ssh-agent: the key of the agent, if it has several',
    },
    socket: {
      type: 'string',
      valueHint: 'path',
      description:
        'With --backend ssh-agent: the socket of the agent; default that of the session, SSH_AUTH_SOCK',
    },
    'public-key': {
      type: 'string',
      valueHint: 'BASE64URL|FILE',
      description: 'The public key of a private key outside amesh, such as in a KMS: 33 bytes, or a PEM file',
    },
    next: {
      type: 'boolean',
      description:
        'Make a second key, in a folder next to this one, that can take over the list if the first is lost',
    },
    passphrase: {
      type: 'boolean',
      description: 'Ask for a passphrase of yours on the terminal, instead of generating one',
    },
    host: {
      type: 'string',
      valueHint: 'a,b',
      description: 'The hosts by which callers reach this machine, as host or host:port',
    },
    force: { type: 'boolean', description: 'Replace an existing identity; copies of its files are kept' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const env = args.passphrase ? await withPassphrase(args) : process.env;
    if (args.next) return initNext(args, env);
    const dir = machineDir();
    const wanted = toHosts(args.host ?? '', '--host');
    assertForAgent(args.backend, args);
    const outside = await outsideKey(args);
    const { movedTo, published, wasThere, hosts, ...identity } = await createIdentity(dir, env, {
      friendlyName: args.name,
      backend: args.backend,
      agentKey: args.key,
      agentSocket: args.socket,
      publicKey: outside,
      hosts: wanted,
      force: args.force,
    });
    const { deviceId, friendlyName, publicKey, createdAt, key } = identity;
    const others = args.backend || outside ? [] : await betterBackends({ dir, env: process.env });
    const keyText = await findBackend(key.backend).describe({ dir, env }, key.ref);
    return {
      json: {
        deviceId,
        friendlyName,
        publicKey,
        createdAt,
        backend: key.backend,
        dir,
        hosts,
        movedTo,
        line: toTrustLine(identity),
        ...(published ? { published } : {}),
      },
      notes: [
        `✓ Device   ${friendlyName}  (${deviceId})`,
        `✓ Key      ${keyText}`,
        ...(outside === undefined ? [] : [`  Public   ${publicKey}`]),
        ...(wasThere ? [] : others),
        `  Folder   ${dir}`,
        ...(published
          ? [
              '✓ The allow list is in the store of AMESH_STORE_URL.',
              `  Instances without the key:  AMESH_OWNER_KEY=${publicKey}`,
            ]
          : []),
        ...(wasThere
          ? keptNotes(movedTo)
          : [
              ...(friendlyName === args.name ? [] : ['! The name was changed so that it is safe to print.']),
              ...(movedTo === null ? [] : await replacedNotes(dir, movedTo)),
            ]),
        ...hostNotes(hosts),
        ...(wasThere ? [] : loopbackNotes(args.host ?? '')),
        ...(key.backend === 'tpm2' ? tpmNotes() : []),
        ...(outside === undefined ? nextNotes() : OUTSIDE),
      ],
    };
  },
});

function hostNotes(hosts: readonly string[]): string[] {
  return [
    hosts.length > 0
      ? `  Accepts requests for ${hostsText(hosts)}.`
      : `  Accepts requests for localhost only. Callers use another name?  ${here('amesh config hosts --add api.example.com')}`,
  ];
}

function tpmNotes(): string[] {
  return [
    '! The key is lost if the TPM is cleared or replaced, or if this virtual machine moves without its TPM.',
    `  A second key can then take over the list:  ${here('amesh init --next --name NAME')}`,
  ];
}

/** The notes for an identity that existed before, and whose list is now in the store. */
function keptNotes(movedTo: string | null): string[] {
  return [
    '! The identity already existed and is unchanged, including its name and hosts.',
    `  The list of this folder was moved to ${movedTo}`,
    '  From now on, servers and programs that use this folder need AMESH_STORE_URL.',
  ];
}

function nextNotes(): string[] {
  return [
    `  Next: if this machine will RECEIVE requests   ${here('amesh listen')}`,
    `          and both are on one network           ${here('amesh listen --serve')}`,
    `        if it will SEND them                    ${here('amesh invite CODE')}`,
    `        without a relay                         ${here('amesh trust export')}`,
    '        for a machine without a terminal        amesh provision --help',
  ];
}

const OUTSIDE = [
  '  Next: in the program that has the key, createAmesh({ signer }). It seals the allow list.',
  '  The command line can read here: whoami, trust export, status, list. It cannot sign.',
  '  See docs/keys.md, "A key outside amesh".',
];

/** One line for each other place that could store the key. They are only tested if the user did not choose one. */
async function betterBackends(context: KeyContext): Promise<string[]> {
  const unasked = { ...context, onWait: () => {}, signal: AbortSignal.timeout(PATIENCE_MS) };
  const found = await findBackends(unasked).catch(() => []); // the identity exists, even if a TPM fails
  return found
    .filter(({ id, available, warning }) => id in BETTER && available && warning === undefined)
    .map(({ id }) => `  ${BETTER[id]}: amesh init --name NAME --backend ${id} --force keeps the key in it.`);
}

/** The environment with a passphrase that was typed. @throws UsageError */
async function withPassphrase(args: { readonly [name: string]: unknown }): Promise<Env> {
  if (args['public-key'] !== undefined || (args.backend ?? 'encrypted-file') !== 'encrypted-file')
    throw new UsageError('--passphrase is only for --backend encrypted-file.');
  const isSet = ['AMESH_PASSPHRASE_FILE', 'AUTH_MESH_PASSPHRASE'].find((name) => process.env[name]);
  if (isSet !== undefined) throw new UsageError(`${isSet} is set, so leave --passphrase out.`);
  const typed = await askNewSecret('passphrase');
  return { ...process.env, CREDENTIALS_DIRECTORY: undefined, AUTH_MESH_PASSPHRASE: typed };
}

/** The public key of `--public-key`. @throws UsageError */
async function outsideKey(args: { readonly [name: string]: unknown }): Promise<Uint8Array | undefined> {
  const given = args['public-key'];
  if (typeof given !== 'string') return undefined;
  if (args.backend !== undefined)
    throw new UsageError('--public-key is for a key outside amesh, so leave --backend out.');
  return toPublicKey(given);
}

async function replacedNotes(dir: string, movedTo: string): Promise<string[]> {
  const old = await readIdentity(new FileStore(movedTo)).catch(() => null);
  // For a command on other machines, which may know this one by another name.
  const id = old?.deviceId ?? '"ITS OLD NAME"'; // a broken identity is a common reason for --force
  return [
    `! Copies of the old identity and its allow list are in ${movedTo}`,
    `  Its key stays in ${old?.key.backend === 'ssh-agent' ? 'the SSH agent' : join(dir, 'keys')}`,
    '  Restart the servers and programs that use this folder.',
    `  On each machine that trusted the old one:  amesh revoke ${id}   Then pair it again:`,
  ];
}
