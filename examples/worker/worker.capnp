# The same as a wrangler.toml under `wrangler dev`, but for workerd itself.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:3000", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "dist/worker.mjs")],
  compatibilityDate = "2026-06-01",
  bindings = [
    (name = "AMESH_ALLOW_LIST", text = embed "server/allow_list.json"),
    (name = "AMESH_OWNER_KEY", fromEnvironment = "AMESH_OWNER_KEY"),
    (name = "AMESH_ANSWER_KEY", fromEnvironment = "AMESH_ANSWER_KEY"),
    (name = "AMESH_NONCES", durableObjectNamespace = "AmeshNonces"),
  ],
  durableObjectNamespaces = [(className = "AmeshNonces", uniqueKey = "amesh", enableSql = true)],
  durableObjectStorage = (inMemory = void),
);
