import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { join, parse, sep } from 'node:path';

/** A folder, link or file on a path. */
export interface Step {
  /** Its absolute path. */
  readonly path: string;
  /** The stats of the entry itself, not of the target of a link. */
  readonly stats: Stats;
  /** The folder that contains it; null for the root of the file system. */
  readonly parent: Step | null;
  /** Whether the path ends here. If the path does not exist, no step is the end. */
  readonly isEnd: boolean;
}

/** The limit of Linux. */
const MAX_LINKS = 40;

/**
 * The entries that the operating system visits on a path, from the root down, through every link, up to the first missing
 * one.
 *
 * @param path an absolute path
 * @throws NodeJS.ErrnoException for an inaccessible entry; `ELOOP` for a loop of links
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

/** The existing entry at a path, or the nearest existing folder above it. */
export function nearestStep(path: string): Step | null {
  let nearest: Step | null = null;
  try {
    for (const step of stepsTo(path)) if (!step.stats.isSymbolicLink()) nearest = step;
  } catch {
    // A later use of the path reports the error.
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
