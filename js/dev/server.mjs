// Serves the dev page and the built bundle on 127.0.0.1; nothing else.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const files = {
  "/": ["index.html", "text/html"],
  "/dev/stub.mjs": ["stub.mjs", "text/javascript"],
  "/dev/retraining.mjs": ["retraining.mjs", "text/javascript"],
  "/explorer.js": ["../../failviz/widget/static/explorer.js", "text/javascript"],
};
const port = Number(process.env.PORT ?? 8765);

createServer(async (request, response) => {
  const found = files[new URL(request.url, "http://x").pathname];
  if (!found) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": `${found[1]}; charset=utf-8`, "cache-control": "no-store" });
  response.end(await readFile(new URL(found[0], import.meta.url)));
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
