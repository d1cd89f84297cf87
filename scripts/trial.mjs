// What the scripts share that try the packed packages beside other software: a temporary folder with the packages, a server
// and a caller that it trusts, and newer Nodes. AMESH_NODES is a folder in which those are installed already.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { packInto } from './pack.mjs';

const INSTALL = 'npm install --no-audit --no-fund --prefer-offline';

export class Trial {
  #env;
  #nodes = {};

  /** @param env variables of every command, beside those of this process */
  constructor(name, env = {}) {
    this.root = mkdtempSync(join(tmpdir(), `amesh-${name}-`));
    this.caller = join(this.root, 'caller');
    this.#env = { AUTH_MESH_DIR: join(this.root, 'server'), CALLER_DIR: this.caller, ...env };
  }

  /** Packs the packages, and makes two machines: a server, and a caller that it trusts. */
  async pair() {
    packInto(this.mkdir('packs'));
    const dir = this.mkdir('machines');
    await this.sh('npm init -y && npm install --no-audit --no-fund ../packs/*.tgz', dir);
    await this.sh('amesh init --name orders-api && AUTH_MESH_DIR=$CALLER_DIR amesh init --name laptop', dir);
    await this.sh(
      'LINE=$(AUTH_MESH_DIR=$CALLER_DIR amesh trust export --quiet) && amesh trust add --role controller "$LINE"',
      dir,
    );
  }

  /** Tells the caller that a host is the server, whose answers it can check then. */
  introduce(host) {
    return this.sh(
      `LINE=$(amesh trust export --quiet) && AUTH_MESH_DIR=$CALLER_DIR amesh trust add --role target --host ${host} "$LINE"`,
      join(this.root, 'machines'),
    );
  }

  /** The packed SDK, in this process. */
  sdk() {
    return createRequire(join(this.root, 'machines/package.json'))('@authmesh/sdk');
  }

  /** A folder with the SDK, other packages, and files by their paths. */
  async project(name, packages, files) {
    const dir = this.mkdir(name.replace(/\W+/g, '-'));
    await this.sh('npm init -y', dir);
    await this.sh([INSTALL, '../packs/authmesh-sdk-*.tgz', ...packages].join(' '), dir);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
    }
    return dir;
  }

  /** The folder of another Node's binary, which comes as a package. */
  nodeBin(version) {
    if (version === undefined) return undefined;
    this.#nodes[version] ??= this.#installNode(version);
    return this.#nodes[version];
  }

  async #installNode(version) {
    const name = `node-${process.platform}-${process.arch}`;
    const { AMESH_NODES } = process.env;
    if (AMESH_NODES) return join(AMESH_NODES, `node-${version}`, 'node_modules', name, 'bin');
    const dir = this.mkdir(`node-${version}`);
    await this.sh(`npm init -y && ${INSTALL} ${name}@${version}`, dir);
    return join(dir, 'node_modules', name, 'bin');
  }

  /** The environment of a command in a folder. @param bin where another Node is */
  env(cwd, bin) {
    const path = [bin, join(cwd, 'node_modules/.bin'), process.env.PATH].filter((each) => each !== undefined);
    return { ...process.env, PATH: path.join(':'), ...this.#env };
  }

  /** @returns what the command printed */
  async sh(command, cwd, bin) {
    const options = { cwd, env: this.env(cwd, bin), timeout: 300_000 };
    return (await promisify(execFile)('sh', ['-c', command], options)).stdout;
  }

  mkdir(name) {
    const dir = join(this.root, name);
    mkdirSync(dir);
    return dir;
  }

  end() {
    if (process.argv.includes('--keep')) console.log(`Left in ${this.root}`);
    else rmSync(this.root, { recursive: true, force: true, maxRetries: 20 });
  }
}
