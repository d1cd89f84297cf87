// Preloaded with --require: says on descriptor 3 which files, and which modules of Node, the process has loaded.
const { Session } = require('node:inspector');
const { writeSync } = require('node:fs');

const own = new Set(process.moduleLoadList);
const files = {};
const session = new Session();
session.connect();
session.on('Debugger.scriptParsed', ({ params: { url, length } }) => {
  if (url.startsWith('file:')) files[url] = length;
});
session.post('Debugger.enable');
process.on('exit', () => {
  const builtins = process.moduleLoadList
    .filter((name) => !own.has(name) && name.startsWith('NativeModule '))
    .map((name) => name.slice('NativeModule '.length));
  writeSync(3, JSON.stringify({ files, builtins }));
});
