import { defineBuildConfig } from 'unbuild';
import { declarations } from '../scripts/declarations';

export default defineBuildConfig({
  entries: [{ input: 'src/index', name: 'index' }],
  clean: true,
  ...declarations(),
  rollup: { emitCJS: false, esbuild: { target: 'es2023' } },
});
