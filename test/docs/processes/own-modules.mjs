// Gives each program of a page modules of @authmesh of its own, as in a process of its own. All else is loaded once.
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const [program] = /\?program=\d+$/.exec(context.parentURL ?? '') ?? [];
  if (program === undefined || !found.url.includes('/node_modules/@authmesh/')) return found;
  return { ...found, url: `${found.url}${program}` };
}
