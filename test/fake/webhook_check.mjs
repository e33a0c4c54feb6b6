// A second opinion: the Standard Webhooks library on what hook.py received.
//
//   npm install standardwebhooks     (anywhere; name the place in NODE_PATH)
//   node webhook_check.mjs http://127.0.0.1:PORT whsec_...
//
// Exits 0 without a word of judgement where the package is missing.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const [base, secret] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
let library;
for (const place of [here + "/", ...(process.env.NODE_PATH ?? "").split(":")
    .filter(Boolean).map((p) => join(p, "x.js"))]) {
  try {
    const path = createRequire(place).resolve("standardwebhooks");
    library = await import(pathToFileURL(path));
    break;
  } catch { /* next place */ }
}
if (!library) {
  console.log("skipped: standardwebhooks is not installed");
  process.exit(0);
}

const Webhook = library.Webhook ?? library.default.Webhook;
const deliveries = await (await fetch(base + "/_deliveries")).json();
const judge = new Webhook(secret);
const other = new Webhook("whsec_" + Buffer.alloc(32).toString("base64"));
assert(deliveries.length > 0, "nothing was delivered");
for (const { headers, body } of deliveries) {
  assert.equal(judge.verify(body, headers).type, JSON.parse(body).type);
  assert.throws(() => judge.verify(body + " ", headers));
  assert.throws(() => other.verify(body, headers));
}
console.log(`ok: ${deliveries.length} deliveries verified`);
