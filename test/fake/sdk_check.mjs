// A second opinion: Notion's own client against the stand-in.
//
//   npm install @notionhq/client     (anywhere; name the place in NODE_PATH)
//   node sdk_check.mjs
//
// Exits 0 without a word of judgement where the package is missing.
import { createRequire } from "node:module";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const here = dirname(fileURLToPath(import.meta.url));
let sdk;
for (const base of [here + "/", ...(process.env.NODE_PATH ?? "").split(":")
    .filter(Boolean).map((p) => join(p, "x.js"))]) {
  try {
    const path = createRequire(base).resolve("@notionhq/client");
    sdk = (await import(pathToFileURL(path))).default ?? await import(path);
    break;
  } catch { /* next place */ }
}
if (!sdk) {
  console.log("skipped: @notionhq/client is not installed");
  process.exit(0);
}

const fake = spawn("python3", [join(here, "notion.py"), "--exit-with-stdin",
  "--token", "ntn_a:alice", "--oauth-client", "id:secret"],
  { stdio: ["pipe", "pipe", "inherit"] });
const [line] = await new Promise((ok) =>
  createInterface(fake.stdout).once("line", (l) => ok([l])));
const base = "http://127.0.0.1:" + line.split(" ")[1];
const control = async (body) => (await fetch(base + "/_control",
  { method: "POST", body: JSON.stringify(body) })).json();

const notion = new sdk.Client({ auth: "ntn_a", baseUrl: base,
  notionVersion: "2026-03-11", logLevel: sdk.LogLevel.ERROR,
  retry: { initialRetryDelayMs: 10 } });
const rt = (content, url) =>
  [{ type: "text", text: { content, ...(url && { link: { url } }) } }];
const para = (s) => ({ paragraph: { rich_text: rt(s) } });

const me = await notion.users.me({});
assert.equal(me.type, "bot");
const { page: root } = await control({ cmd: "workspace", user: "alice" });

const db = await notion.databases.create({
  parent: { type: "page_id", page_id: root }, title: rt("Notebooks"),
  is_inline: true, initial_data_source: { properties: {
    Name: { title: {} }, "rmirror ID": { rich_text: {} },
    Tags: { multi_select: {} }, Done: { checkbox: {} } } } });
assert(sdk.isFullDatabase(db));
const data_source_id = db.data_sources[0].id;
const source = await notion.dataSources.retrieve({ data_source_id });
assert(sdk.isFullDataSource(source));
await notion.dataSources.update({ data_source_id,
  properties: { Path: { rich_text: {} } } });

const page = await notion.pages.create({
  parent: { type: "data_source_id", data_source_id },
  properties: { Name: { title: rt("Physics") },
    "rmirror ID": { rich_text: rt("1:notebook:abc") },
    Tags: { multi_select: [{ name: "Work" }] } },
  children: [para("intro")] });
assert(sdk.isFullPage(page));
assert(sdk.isFullPage(await notion.pages.retrieve({ page_id: page.id })));
const toggle = await notion.blocks.children.append({ block_id: page.id,
  children: [{ toggle: { rich_text: rt("Page 1", "https://a.b/p/1"),
    children: [{ to_do: { rich_text: rt("milk"), checked: false } }] } }] });
assert(toggle.results.every(sdk.isFullBlock));
const first = await notion.blocks.children.append({ block_id: page.id,
  position: { type: "start" }, children: [para("first")] });
assert.equal(first.results.length, 3);          // the trap

for (let i = 0; i < 3; i++)
  await notion.blocks.children.append({ block_id: page.id,
    children: Array.from({ length: 80 }, (_, n) => para(`${i}.${n}`)) });
const all = await sdk.collectPaginatedAPI(notion.blocks.children.list,
  { block_id: page.id });
assert.equal(all.length, 243);

const [todo] = (await notion.blocks.children.list(
  { block_id: toggle.results[0].id })).results;
await notion.blocks.update({ block_id: todo.id, to_do: { checked: true } });
await notion.pages.update({ page_id: page.id,
  properties: { Done: { checkbox: true } } });
const found = await notion.dataSources.query({ data_source_id, filter: {
  property: "rmirror ID", rich_text: { equals: "1:notebook:abc" } } });
assert.deepEqual(found.results.map((r) => r.id), [page.id]);
assert(found.results.every(sdk.isFullPage));
const hits = await notion.search({ query: "Physics" });
assert.equal(hits.results.length, 1);

const fails = async (promise, code, status) => {
  const error = await promise.then(() => null, (e) => e);
  assert(sdk.APIResponseError.isAPIResponseError?.(error)
    ?? sdk.isNotionClientError(error), String(error));
  assert.equal(error.code, code);
  if (status) assert.equal(error.status, status);
};
await fails(notion.pages.retrieve({ page_id: data_source_id }),
  "object_not_found", 404);
await fails(notion.blocks.children.append({ block_id: page.id,
  children: [para("x".repeat(2001))] }), "validation_error", 400);
await notion.blocks.delete({ block_id: todo.id });
await fails(notion.blocks.update({ block_id: todo.id,
  to_do: { checked: false } }), "validation_error", 400);

// The client waits out a 429 and repeats a read, but not a write, after 500.
await control({ fault: "rate_429", times: 1, retry_after: 1 });
await notion.users.me({});
await control({ fault: "reject_500", times: 1 });
await notion.users.me({});
await control({ fault: "commit_500", times: 1 });
await fails(notion.blocks.children.append({ block_id: page.id,
  children: [para("twice?")] }), "internal_server_error", 500);

const { code } = await control({ cmd: "oauth_code", user: "carol" });
const pair = await notion.oauth.token({ client_id: "id",
  client_secret: "secret", grant_type: "authorization_code", code });
const next = await notion.oauth.token({ client_id: "id",
  client_secret: "secret", grant_type: "refresh_token",
  refresh_token: pair.refresh_token });
assert.notEqual(pair.access_token, next.access_token);
assert.equal((await notion.oauth.introspect({ client_id: "id",
  client_secret: "secret", token: pair.access_token })).active, false);

// The client's own signature check agrees with ours.
await control({ cmd: "webhook_subscribe", user: "alice", token: "secret_x" });
await notion.pages.update({ page_id: page.id,
  properties: { Done: { checkbox: false } } });
const { deliveries } = await control({ cmd: "webhooks", user: "alice" });
assert.equal(deliveries.length, 1);
if (sdk.verifyWebhookSignature)
  assert(await sdk.verifyWebhookSignature({ body: deliveries[0].body,
    signature: deliveries[0].headers["X-Notion-Signature"],
    verificationToken: "secret_x" }));

const stats = await (await fetch(base + "/_stats")).json();
assert.deepEqual(stats.bugs, []);
fake.stdin.end();
console.log(`ok: ${stats.arrived} requests of @notionhq/client`);
