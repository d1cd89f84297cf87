import { defineBuildConfig } from 'unbuild';

export default defineBuildConfig({
  entries: [{ input: 'src/index', name: 'index' }],
  clean: true,
  declaration: false, // a bin only: nobody imports it
  rollup: { emitCJS: false, esbuild: { target: 'es2023' } },
});
