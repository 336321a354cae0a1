// A person in Chromium installs a single-page app (app.js) of another origin, which gets, uses, renews and revokes its tokens by
// `fetch`, as oauth4webapi does.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const { URL: ISSUER, CHROMIUM, CLIENT_ID, OTHER_ID } = process.env;
const PATIENCE_MS = 20_000;

const files = {
  "/app.js": ["text/javascript", () => readFile("app.js")],
  "/oauth4webapi.js": ["text/javascript", () => readFile("node_modules/oauth4webapi/build/index.js")],
  "/settings.json": ["application/json", () => JSON.stringify({ issuer: ISSUER, clientId: CLIENT_ID })],
};
const server = createServer(async (request, reply) => {
  const path = new URL(request.url, "http://localhost").pathname;
  const [type, content] = files[path] ?? ["text/html", () => readFile("app.html")];
  reply.setHeader("Content-Type", type).end(await content());
});
await new Promise((listening) => server.listen(0, "localhost", listening));
const home = `http://localhost:${server.address().port}`;

// Chromium may ask nobody but these two, so that the test is the same on every machine.
const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run"];
const chrome = await chromium.launch({ executablePath: CHROMIUM, args: quiet });
const page = await chrome.newPage();
page.setDefaultTimeout(PATIENCE_MS);
// On pages of grantbook nothing may be blocked by their own headers.
const complaints = [];
page.on("console", (said) => said.type() === "error" && page.url().startsWith(ISSUER) && complaints.push(said.text()));

const app = (name, ...rest) => page.evaluate(([name, rest]) => globalThis.app[name](...rest), [name, rest]);
const atApp = async (url = `${home}/callback?*`) => {
  await page.waitForURL(url);
  await page.waitForFunction(() => globalThis.app);
};
const install = async (scope, pushed, decision) => {
  await app("install", scope, pushed);
  await page.getByRole("button", { name: decision, exact: true }).click();
  await atApp();
};

await page.goto(home);
await atApp(`${home}/`);

// The person signs in on the way.
await app("install", "widgets faqs", false);
await page.getByLabel("User").fill("ana");
await page.getByLabel("Account").fill("acme");
await page.getByRole("button", { name: "Sign in", exact: true }).click();
await page.getByRole("heading", { name: "Install Page on acme?" }).waitFor();
await page.getByRole("button", { name: "Deny" }).click();
await atApp();
assert.equal((await app("failure", "exchange")).error, "access_denied");
console.log("browser: signed in and denied");

// A code is good for its app with its verifier alone, and what was wrong spends nothing.
await install("widgets faqs", false, "Approve");
assert.equal((await app("failure", "exchange", { verifier: "x".repeat(43) })).error, "invalid_grant");
assert.equal((await app("failure", "exchange", { client_id: OTHER_ID })).error, "invalid_grant");
const first = await app("exchange");
assert.equal(first.scope, "widgets faqs");
assert.equal((await app("whose")).account_id, "acme");
console.log("browser: installed with PKCE");

const narrow = await app("renew", "faqs");
assert.equal(narrow.scope, "faqs");
const whole = await app("renew");
assert.equal(whole.scope, "widgets faqs");
assert.equal(new Set([first, narrow, whole].map((pair) => pair.refresh_token)).size, 3);
assert.equal((await app("failure", "renew", "contacts")).error, "invalid_scope");
assert.equal((await app("whose")).sub, "ana");
console.log("browser: renewed");

// The challenge of a token that has ended is readable from another origin.
await app("uninstall");
const ended = await app("failure", "whose");
assert.deepEqual([ended.kind, ended.error], ["WWWAuthenticateChallengeError", "invalid_token"], ended.says);
assert.equal((await app("failure", "renew")).error, "invalid_grant");
console.log("browser: uninstalled");

await install("widgets", true, "Approve");
assert.equal((await app("exchange")).scope, "widgets");
await app("uninstall");
console.log("browser: installed by a pushed request");

// A page may register an app of its own, and end that.
const metadata = { client_name: "Page", redirect_uris: [`${home}/callback`], token_endpoint_auth_method: "none" };
const { registration_client_uri, registration_access_token } = await app("register", metadata);
const manage = (method) =>
  app("sees", registration_client_uri.slice(ISSUER.length), { method, headers: { Authorization: `Bearer ${registration_access_token}` } });
assert.deepEqual([await manage("GET"), await manage("DELETE"), await manage("GET")], [200, 204, 401]);
console.log("browser: registered itself, and ended that");

// Without PKCE a public client gets nothing.
const bare = new URLSearchParams({ response_type: "code", client_id: CLIENT_ID, redirect_uri: `${home}/callback`, scope: "widgets" });
await page.goto(`${ISSUER}/oauth/authorize?${bare}`);
await atApp();
assert.equal(new URL(page.url()).searchParams.get("error"), "invalid_request");

// The page sees what is for every origin, without the cookies of the person, and nothing else.
const form = { method: "POST", body: "token=x", headers: { "Content-Type": "application/x-www-form-urlencoded" } };
assert.equal(await app("sees", "/oauth/userinfo"), 401);
assert.equal(await app("sees", "/oauth/userinfo", { credentials: "include" }), "TypeError");
assert.equal(await app("sees", "/account/apps", { credentials: "include" }), "TypeError");
assert.equal(await app("sees", "/oauth/introspect", form), "TypeError");
assert.equal(await app("sees", "/apps", { headers: { Authorization: "Bearer x" } }), "TypeError");
console.log("browser: sees nothing that is not for it");

assert.deepEqual(complaints, []);
await chrome.close();
server.close();
