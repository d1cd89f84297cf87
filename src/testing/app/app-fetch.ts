/** Sends one request to an app, as `fetch` does over the network. Redirects are returned as responses. */
export type AppFetch = (url: URL, init: RequestInit) => Promise<Response>;
