// What the declarations of an installed package promise, against what its modules export: each way of an `exports` map,
// in both directions, since a bundler of declarations turns `export type { AClass }` into a class that is nowhere.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

/** @returns one line for each name that is only declared, only there, or of another kind; none where all agree */
export function compareExports(dir) {
  const { name, exports, imports = {} } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
  const ways = Object.entries({ ...exports, ...imports }).flatMap(([subpath, targets]) =>
    waysOf(subpath, targets),
  );
  const declared = declaredValues(ways.map(({ types }) => join(dir, types)));
  const conditions = [...new Set(ways.map(({ condition }) => condition))];
  return conditions.flatMap((condition) => {
    const its = ways.filter((way) => way.condition === condition);
    const exported = exportedValues(
      its.map(({ module }) => join(dir, module)),
      condition,
    );
    return its.flatMap(({ subpath, types }, i) => {
      const where = `${name} ${subpath} (${condition})`;
      return differences(declared.get(join(dir, types)), exported[i]).map((text) => `${where}: ${text}`);
    });
  });
}

/** Each way through `exports` or `imports`; the latter name no types, which lie beside the module. */
function waysOf(subpath, targets) {
  if (typeof targets === 'string') return []; // ./package.json
  const { types, ...modules } = targets;
  return Object.entries(modules).map(([condition, module]) => ({
    subpath,
    condition,
    types: types ?? module.replace(/\.mjs$/, '.d.mts'),
    module,
  }));
}

function differences(declared, exported) {
  return [...new Set([...declared.keys(), ...Object.keys(exported)])]
    .filter((value) => declared.get(value) !== exported[value])
    .map(
      (value) =>
        `${value} is declared as ${declared.get(value) ?? 'nothing'}, and is ${exported[value] ?? 'nothing'}`,
    );
}

/** The exports of each declaration that stand for a value: a function (or a class), or anything else. */
function declaredValues(paths) {
  const program = ts.createProgram([...new Set(paths)], {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    skipLibCheck: true,
  });
  const checker = program.getTypeChecker();
  return new Map(paths.map((path) => [path, valuesOf(program.getSourceFile(path))]));

  function valuesOf(file) {
    const properties = checker.getPropertiesOfType(
      checker.getTypeOfSymbol(checker.getSymbolAtLocation(file)),
    );
    return new Map(properties.map((property) => [property.name, kindOf(checker.getTypeOfSymbol(property))]));
  }

  function kindOf(type) {
    return type.getCallSignatures().length + type.getConstructSignatures().length > 0
      ? 'a function'
      : 'another value';
  }
}

/** The same of modules, in a process of its own that resolves with this condition. */
function exportedValues(paths, condition) {
  const urls = JSON.stringify(paths.map((path) => pathToFileURL(path)));
  const program = `const modules = await Promise.all(${urls}.map((url) => import(url)));
const kindOf = (value) => (typeof value === 'function' ? 'a function' : 'another value');
const kindsOf = (module) => Object.entries(module).map(([name, value]) => [name, kindOf(value)]);
console.log(JSON.stringify(modules.map((module) => Object.fromEntries(kindsOf(module)))));`;
  const args = [`--conditions=${condition}`, '--input-type=module', '-e', program];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}
