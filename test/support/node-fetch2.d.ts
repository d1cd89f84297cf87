declare module 'node-fetch2' {
  const fetch: { readonly Headers: new (init: object) => object; readonly Request: unknown };
  export default fetch;
}
