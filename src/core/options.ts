/** Whether a value is a number in a range. A string such as `'30'` is not a number, although it compares like one. */
export function isWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && value >= least && value <= most;
}

/**
 * Rejects a promise, a Map or an array: none of them has option names, so each would pass as an object without any options.
 *
 * @throws TypeError if it is not a plain object of options
 */
export function assertOptions(where: string, options: object): void {
  const isObject = typeof options === 'object' && options !== null;
  if (!isObject || Symbol.iterator in options || 'then' in options)
    throw new TypeError(`${where} takes an options object.`);
}

/** Rejects unknown names: silently ignoring a misspelt option would weaken the intended settings. */
export function assertOptionNames(where: string, options: object, names: ReadonlySet<string | symbol>): void {
  assertOptions(where, options);
  const known = [...names].filter((name) => typeof name === 'string');
  for (const name of [...Object.keys(options), ...Object.getOwnPropertySymbols(options)]) {
    if (names.has(name)) continue;
    const shown = typeof name === 'symbol' ? String(name) : JSON.stringify(name);
    throw new TypeError(`${where} has no option ${shown}. Its options are: ${known.join(', ')}.`);
  }
}
