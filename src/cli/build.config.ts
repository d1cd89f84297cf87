import { defineBuildConfig } from 'unbuild';

export default defineBuildConfig({
  entries: [{ input: 'src/index', name: 'index' }],
  clean: true,
  declaration: false, // this package is only a command
  rollup: {
    emitCJS: false,
    esbuild: { target: 'es2023' },
    output: { hoistTransitiveImports: false, experimentalMinChunkSize: 20_000 },
  },
});
