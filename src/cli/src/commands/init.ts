import { join } from 'node:path';
import { BACKENDS, createIdentity, findBackend, toTrustLine } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { hostsText, machineDir, toHosts } from '../machine';

export const init = defineCommand({
  meta: { name: 'init', description: 'Makes the key and the identity of this machine' },
  args: {
    name: { type: 'string', required: true, description: 'What others will call this machine' },
    backend: {
      type: 'enum',
      options: BACKENDS.map(({ id }) => id),
      description: `Where the private key lives; default ${BACKENDS[0]?.id}`,
    },
    host: {
      type: 'string',
      valueHint: 'a,b',
      description: 'The hosts under which it is called, as host or host:port',
    },
    force: { type: 'boolean', description: 'Replace an identity; its files are moved aside' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const dir = machineDir();
    const hosts = toHosts(args.host ?? '', '--host');
    const { movedTo, ...identity } = await createIdentity(dir, process.env, {
      friendlyName: args.name,
      backend: args.backend,
      hosts,
      force: args.force,
    });
    const { deviceId, friendlyName, publicKey, createdAt, key } = identity;
    const { description } = findBackend(key.backend);
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
      },
      notes: [
        `✓ Device   ${friendlyName}  (${deviceId})`,
        `✓ Key      ${description}`,
        `  Folder   ${dir}`,
        ...(friendlyName === args.name ? [] : ['! The name was changed to one that is safe to print.']),
        ...(movedTo === null
          ? []
          : [
              `! The old identity and its allow list are in ${movedTo}`,
              `  Its key stays in ${join(dir, 'keys')}`,
            ]),
        hosts.length > 0
          ? `  Answers to ${hostsText(hosts)}.`
          : '  Answers to localhost only. Callers use another name?  amesh config hosts api.example.com',
        '  Next: on the machine that SENDS requests   amesh trust export',
        '        on the one that RECEIVES them        amesh trust add --role controller "<line>"',
        '        and back, with the line of the 2nd   amesh trust add --role target --host <host> "<line>"',
      ],
    };
  },
});
