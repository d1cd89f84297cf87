import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import config from '../../vitest.config';

const root = new URL('../../', import.meta.url).pathname;
const folder = `${root}.github/`;
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
  path.endsWith('.yml'),
);
const workflows = files.filter((path) => path.startsWith('workflows/'));
const read = (path: string) => readFileSync(`${folder}${path}`, 'utf8');

describe('.github', () => {
  it.each(files)('%s is YAML, and names no repository of its own', (path) => {
    expect(parse(read(path))).toBeTypeOf('object');
    expect(read(path)).not.toMatch(/https?:/);
  });

  it.each(workflows)('%s may only read the code, and uses no secret', (path) => {
    const workflow = parse(read(path)) as {
      permissions: unknown;
      on: Record<string, unknown>;
      jobs: Record<string, { permissions?: unknown }>;
    };
    expect(workflow.permissions).toEqual({ contents: 'read' });
    for (const job of Object.values(workflow.jobs)) expect(job.permissions).toBeUndefined();
    expect(workflow.on).not.toHaveProperty('pull_request_target'); // it runs a stranger's code with our rights
    expect(read(path)).not.toContain('secrets.');
  });

  it.each(workflows)('%s pins each action to a commit', (path) => {
    const used = [...read(path).matchAll(/uses: *(.+)/g)].map(([, action]) => action);
    expect(used).not.toEqual([]);
    for (const action of used) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });
});

describe('the floors of coverage', () => {
  const globs = Object.keys(config.test?.coverage?.thresholds ?? {});

  // Vitest says nothing of a floor below which there is no file.
  it.each(globs)('%s is an existing folder', (glob) => {
    expect(glob).toMatch(/^(?:src|relay\/src)\/(?:.+\/)?\*\*$/);
    expect(existsSync(`${root}${glob.replace('**', '')}`)).toBe(true);
  });

  it.each(['src/core', 'src/trust', 'src/bootstrap', 'src/pairing', 'relay/src/room'])(
    '%s is at 95 %',
    (path) => {
      expect(config.test?.coverage?.thresholds).toMatchObject({ [`${path}/**`]: { lines: 95 } });
    },
  );
});
