import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { join, parse, sep } from 'node:path';

/** A folder, a link or a file on the way to a path. */
export interface Step {
  /** Its absolute path. */
  readonly path: string;
  /** Of itself, and not of what a link points to. */
  readonly stats: Stats;
  /** The folder that holds its name; null for the root of the file system. */
  readonly parent: Step | null;
  /** Whether the way ends here. Where nothing lies at the path, no step is the end. */
  readonly isEnd: boolean;
}

/** As many as Linux follows. */
const MAX_LINKS = 40;

/**
 * What the operating system passes on its way to a path, from the root down, through every link. Ends where nothing is.
 *
 * @param path an absolute path
 * @throws NodeJS.ErrnoException for what cannot be looked at; `ELOOP` for links without an end
 */
export function* stepsTo(path: string): Generator<Step> {
  const { root } = parse(path);
  const names = namesIn(path.slice(root.length));
  const start = toStep(root, null, names.length === 0);
  if (start === null) return;
  yield start;
  const folders = [start];
  let links = 0;
  while (names.length > 0) {
    const name = names.shift() as string;
    if (name === '..') {
      if (folders.length > 1) folders.pop();
      continue;
    }
    const parent = folders.at(-1) as Step;
    const at = join(parent.path, name);
    const step = toStep(at, parent, names.length === 0);
    if (step === null) return;
    yield step;
    if (!step.stats.isSymbolicLink()) {
      folders.push(step);
      continue;
    }
    if (++links > MAX_LINKS) throw Object.assign(new Error(`Too many links in ${path}`), { code: 'ELOOP' });
    const target = readlinkSync(at);
    if (target.startsWith(sep)) folders.length = 1;
    names.unshift(...namesIn(target));
  }
}

/** The nearest thing that is there: what lies at the path, or the folder in which it would be made. */
export function nearestStep(path: string): Step | null {
  let nearest: Step | null = null;
  try {
    for (const step of stepsTo(path)) if (!step.stats.isSymbolicLink()) nearest = step;
  } catch {
    // What cannot be looked at is told when it is used.
  }
  return nearest;
}

function namesIn(path: string): string[] {
  return path.split(sep).filter((name) => name !== '' && name !== '.');
}

function toStep(path: string, parent: Step | null, isLast: boolean): Step | null {
  try {
    const stats = lstatSync(path);
    return { path, stats, parent, isEnd: isLast && !stats.isSymbolicLink() };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}
