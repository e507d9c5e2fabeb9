// The embedded database in a process of its own: PostgreSQL compiled to WebAssembly, listening on a socket.
// node pglite.mjs <port> [folder]      without a folder the data lives in memory
import process from "node:process";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

const [port, folder] = process.argv.slice(2);

// Asked for from the first moment on: a folder left half made would not open again.
const asked = new Promise((resolve) => {
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, resolve);
});

const database = await PGlite.create(folder === undefined ? {} : { dataDir: folder });
const server = new PGLiteSocketServer({ db: database, host: "127.0.0.1", port: Number(port), maxConnections: 100 });
await server.start();
console.log(`database listening on ${server.getServerConn()}`);

await asked;
await server.stop();
await database.close();
process.exit(0);
