// Agents of the MCP SDK, versions 1 and 2: each is sent from an MCP server to grantbook, says who it is, has ana approve, calls
// tools, renews its tokens, gets to do more, and starts again after it was uninstalled.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import * as sdk2 from "@modelcontextprotocol/client";
import { auth, UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { GRANTBOOK_URL: ISSUER, APPROVE, CLIENT_ID, TOKEN } = process.env;
const REDIRECT_URI = "http://127.0.0.1:33418/callback"; // Nobody listens there: ana's browser is APPROVE.
const PATIENCE_MS = 30_000;
const sdks = { 1: { auth, UnauthorizedError, Client, StreamableHTTPClientTransport }, 2: sdk2 };

const server = createServer().listen(0, "127.0.0.1");
await once(server, "listening");
const RESOURCE = `http://127.0.0.1:${server.address().port}/mcp`;
process.env.RESOURCE = RESOURCE;
server.on("request", (await import("./server.mjs")).serve);

/** The program that an agent runs in: it keeps what the SDK gives it, and opens the browser. */
class Host {
  redirectUrl = REDIRECT_URI;
  clientMetadata = {
    client_name: "Agent",
    redirect_uris: [REDIRECT_URI],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  browsed = 0;
  state = () => "s".repeat(16);
  clientInformation = () => this.client;
  saveClientInformation = (client) => (this.client = client);
  tokens = () => this.kept;
  saveTokens = (tokens) => (this.kept = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => (this.verifier = verifier);
  discoveryState = () => this.found;
  saveDiscoveryState = (found) => (this.found = found);
  redirectToAuthorization = (url) => (this.away = url);

  constructor(sdk, known) {
    Object.assign(this, { sdk }, known);
  }

  invalidateCredentials(what) {
    if (what !== "client") this.kept = undefined;
    if (what === "all" || what === "client") this.client = undefined;
  }

  /** Has ana approve, and ends with the tokens. */
  async browse() {
    this.browsed += 1;
    const reply = await fetch(APPROVE, { method: "POST", body: String(this.away) });
    const back = new URL(await reply.text());
    assert.equal(back.origin + back.pathname, REDIRECT_URI, String(back));
    const { state, iss, code } = Object.fromEntries(back.searchParams);
    assert.deepEqual([Boolean(code), state, iss], [true, this.state(), ISSUER], String(back));
    await this.transport.finishAuth(code, iss);
  }

  async connect() {
    this.transport = new this.sdk.StreamableHTTPClientTransport(new URL(RESOURCE), { authProvider: this });
    this.agent = new this.sdk.Client({ name: "agent", version: "1" });
    await this.agent.connect(this.transport);
  }

  /** What the MCP server learned from the token that the agent called a tool with. */
  async call(tool) {
    const { content, isError } = await this.agent.callTool({ name: tool });
    assert.ok(!isError, JSON.stringify(content));
    return JSON.parse(content[0].text);
  }

  async isSentToApprove(attempt) {
    await assert.rejects(attempt, this.sdk.UnauthorizedError);
  }

  /** Waits until the access token has expired at the MCP server. */
  async expires() {
    const headers = { Authorization: `Bearer ${this.kept.access_token}` };
    const end = Date.now() + PATIENCE_MS;
    while ((await fetch(RESOURCE, { headers })).status !== 401) {
      assert.ok(Date.now() < end, "the access token does not expire");
      await pause(100);
    }
  }

  /** Calls a tool that needs more than ana has approved. */
  async stepUp(tool) {
    if (this.sdk === sdk2) return this.isSentToApprove(this.call(tool));
    // Version 1 renews its tokens, calls again, and gives up (https://github.com/modelcontextprotocol/typescript-sdk/issues/2255).
    // So a host has to see to it.
    await assert.rejects(this.call(tool), /403/);
    delete this.kept.refresh_token;
    assert.equal(await this.sdk.auth(this, { serverUrl: RESOURCE, scope: tool }), "REDIRECT");
  }
}

// Where the agent's author publishes who it is.
const site = createHttpsServer({ key: await readFile("server.key"), cert: await readFile("server.pem") }).listen(0, "localhost");
await once(site, "listening");
const DOCUMENT = `https://localhost:${site.address().port}/agent.json`;
site.on("request", (_request, reply) => {
  const document = { ...new Host().clientMetadata, client_id: DOCUMENT };
  reply.setHeader("Content-Type", "application/json").end(JSON.stringify(document));
});

/** How an agent says who it is: what it knows at first, and how its client id then looks. */
const ways = {
  "registered by the operator": [{ client: { client_id: CLIENT_ID, issuer: ISSUER } }, new RegExp(`^${CLIENT_ID}$`)],
  "registered by itself": [{}, /^[0-9a-f]{32}$/],
  "described by a document": [{ clientMetadataUrl: DOCUMENT }, new RegExp(`^${DOCUMENT}$`)],
};

async function tell(version, way) {
  const [known, clientId] = ways[way];
  const host = new Host(sdks[version], known);
  const say = (what) => console.log(`MCP SDK ${version}, ${way}: ${what}`);

  await host.isSentToApprove(host.connect());
  await host.browse();
  await host.connect();
  const facts = await host.call("widgets");
  assert.deepEqual([facts.account_id, facts.sub, facts.scope, facts.aud], ["acme", "ana", "widgets", [RESOURCE]]);
  assert.match(host.client.client_id, clientId);
  const first = host.kept;
  assert.ok(first.refresh_token && first.expires_in > 0, `${Object.keys(first)}`);
  say("installed");

  await host.expires();
  assert.equal((await host.call("widgets")).installation_id, facts.installation_id);
  assert.notEqual(host.kept.refresh_token, first.refresh_token);
  assert.equal(host.browsed, 1);
  say("renewed its tokens");

  await host.stepUp("faqs");
  await host.browse();
  assert.equal((await host.call("faqs")).scope, "widgets faqs");
  await host.expires();
  assert.equal((await host.call("widgets")).scope, "widgets faqs");
  assert.equal(host.browsed, 2);
  say("does more");

  const form = new URLSearchParams({ token: host.kept.refresh_token, client_id: host.client.client_id });
  assert.equal((await fetch(`${ISSUER}/oauth/revoke`, { method: "POST", body: form })).status, 200);
  await host.isSentToApprove(host.call("widgets"));
  await host.browse();
  assert.equal((await host.call("widgets")).active, true);
  say("installed again");
}

// What the MCP server says of itself, and whom it refuses: nobody, and a token that is for no resource or for another.
const document = new URL("/.well-known/oauth-protected-resource/mcp", RESOURCE);
assert.deepEqual((await (await fetch(document)).json()).authorization_servers, [ISSUER]);
for (const [headers, error] of [[{}, ""], [{ Authorization: `Bearer ${TOKEN}` }, ', error="invalid_token"']]) {
  const { status, headers: said } = await fetch(RESOURCE, { headers });
  const challenge = `Bearer resource_metadata="${document}", scope="widgets"${error}`;
  assert.deepEqual([status, said.get("www-authenticate")], [401, challenge]);
}

for (const version of Object.keys(sdks)) {
  await Promise.all(Object.keys(ways).map((way) => tell(version, way)));
}
for (const one of [server, site]) {
  one.closeAllConnections();
  one.close();
}
