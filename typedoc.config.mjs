// The API reference, made from the docstrings of what is published: `npm run docs:api`.
import { readFileSync } from 'node:fs';
import { Comment, Converter, ReflectionKind } from 'typedoc';

const { compilerOptions } = JSON.parse(readFileSync(new URL('tsconfig.json', import.meta.url), 'utf8'));

/** The sources of the published entries, and what an import calls them. Nobody imports the command. */
const entries = Object.entries(compilerOptions.paths)
  .filter(([name]) => name.startsWith('@authmesh/') && name !== '@authmesh/cli')
  .map(([name, [path]]) => ({ name, path }));

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: 'amesh',
  readme: 'none',
  out: 'api-reference',
  entryPoints: entries.map(({ path }) => path),
  tsconfig: 'tsconfig.json',
  excludePrivate: true,
  excludeInternal: true,
  disableSources: true, // a link to a source would name a repository
  plugin: [nameEntries, documentCodes],
  validation: { notExported: true, invalidLink: true, invalidPath: true, notDocumented: true },
  requiredToBeDocumented: [
    ...['Variable', 'Function', 'Class', 'Interface', 'TypeAlias', 'Enum', 'EnumMember'],
    ...['Constructor', 'Property', 'Method', 'Accessor'],
  ],
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
  // Of /admin, which exports them as types alone: the bundled declarations would export the classes, which are not there.
  intentionallyNotExported: ['LastSeenRecord', 'ListDraft', 'ListStore', 'PagedList', 'ParsedDevices'],
};

/** Calls each module what an import calls it, not what its source is called. */
function nameEntries(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.kindOf(ReflectionKind.Module)) return;
    const file = context.getSymbolFromReflection(reflection)?.declarations?.[0]?.getSourceFile().fileName;
    const entry = entries.find(({ path }) => file?.endsWith(path.slice(1)));
    if (entry !== undefined) reflection.name = entry.name;
  });
}

/** The codes have their docs in docs/errors.md, which a test compares with the table. */
function documentCodes(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (_context, reflection) => {
    if (!isBelow(reflection.parent, 'CODES')) return;
    reflection.comment ??= new Comment([
      { kind: 'text', text: 'Its cause and its fix are in docs/errors.md.' },
    ]);
  });
}

function isBelow(reflection, name) {
  return reflection !== undefined && (reflection.name === name || isBelow(reflection.parent, name));
}
