// Libraries that docs/apps.md names, against a running server: each gets a token with the settings of that page,
// and revokes it if it can.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { Auth } from "@auth/core";
import { CodeChallengeMethod, OAuth2Client } from "arctic";
import * as oauth4webapi from "oauth4webapi";
import * as openid from "openid-client";
import OAuth2Strategy from "passport-oauth2";
import { AuthorizationCode } from "simple-oauth2";

const { URL: ISSUER, CLIENT_ID, CLIENT_SECRET, RENEWED_ID, RENEWED_SECRET, KEY, REDIRECT_URI, APPROVE } = process.env;

/** Where the app is called after ana approved. */
async function approved(authorizeUrl) {
  const reply = await fetch(APPROVE, { method: "POST", body: String(authorizeUrl) });
  return new URL(await reply.text());
}

async function isActive(token) {
  const body = new URLSearchParams({ token, client_id: CLIENT_ID, client_secret: CLIENT_SECRET });
  return (await (await fetch(`${ISSUER}/oauth/introspect`, { method: "POST", body })).json()).active;
}

function discovered(clientId, authentication) {
  return openid.discovery(new URL(ISSUER), clientId, undefined, authentication, {
    algorithm: "oauth2",
    execute: [openid.allowInsecureRequests], // The server of this test speaks http.
  });
}

/** What openid-client does for an app that has to push its requests, and has refresh tokens. */
async function pushesAndRefreshes(config) {
  const verifier = openid.randomPKCECodeVerifier();
  const state = openid.randomState();
  const parameters = {
    redirect_uri: REDIRECT_URI,
    scope: "widgets faqs",
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
  };
  const unpushed = await approved(openid.buildAuthorizationUrl(config, parameters));
  assert.equal(unpushed.searchParams.get("error"), "invalid_request");
  const url = await openid.buildAuthorizationUrlWithPAR(config, parameters);
  assert.deepEqual([...url.searchParams.keys()].sort(), ["client_id", "request_uri"]);
  const checks = { pkceCodeVerifier: verifier, expectedState: state };
  const first = await openid.authorizationCodeGrant(config, await approved(url), checks);
  const narrow = await openid.refreshTokenGrant(config, first.refresh_token, { scope: "faqs" });
  assert.equal(narrow.scope, "faqs");
  const whole = await openid.refreshTokenGrant(config, narrow.refresh_token);
  assert.equal(whole.scope, "widgets faqs");
  assert.ok(whole.expires_in > 0 && new Set([first, narrow, whole].map((pair) => pair.refresh_token)).size === 3);
  const active = async ({ access_token }) => (await openid.tokenIntrospection(config, access_token)).active;
  assert.deepEqual(await Promise.all([first, narrow, whole].map(active)), [true, true, true]);
  // One that was used before the last one is reuse: nothing of its grant is left.
  await assert.rejects(openid.refreshTokenGrant(config, first.refresh_token), { error: "invalid_grant" });
  assert.deepEqual(await Promise.all([first, narrow, whole].map(active)), [false, false, false]);
}

const libraries = {
  async "openid-client"() {
    const config = await openid.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, {
      algorithm: "oauth2",
      execute: [openid.allowInsecureRequests], // The server of this test speaks http.
    });
    const verifier = openid.randomPKCECodeVerifier();
    const state = openid.randomState();
    const url = openid.buildAuthorizationUrl(config, {
      redirect_uri: REDIRECT_URI,
      scope: "widgets",
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state,
    });
    const checks = { pkceCodeVerifier: verifier, expectedState: state };
    const tokens = await openid.authorizationCodeGrant(config, await approved(url), checks);
    const whose = await openid.fetchUserInfo(config, tokens.access_token, openid.skipSubjectCheck);
    assert.deepEqual([whose.sub, whose.account_id], ["ana", "acme"]);
    return { token: tokens.access_token, revoke: () => openid.tokenRevocation(config, tokens.access_token) };
  },

  async "openid-client, pushed and refreshed"() {
    await pushesAndRefreshes(await discovered(RENEWED_ID, openid.ClientSecretBasic(RENEWED_SECRET)));
  },

  async "openid-client, pushed and refreshed, signed"() {
    const { privateKey, publicKey } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    const kid = "first";
    const key = { ...(await crypto.subtle.exportKey("jwk", publicKey)), kid };
    const keys = createServer((_request, reply) => {
      reply.setHeader("Content-Type", "application/jwk-set+json").end(JSON.stringify({ keys: [key] }));
    });
    await once(keys.listen(0, "127.0.0.1"), "listening");
    const app = {
      name: "Libraries that sign", owner: "Test", redirect_uris: [REDIRECT_URI], scopes: ["widgets", "faqs"],
      jwks_uri: `http://127.0.0.1:${keys.address().port}/keys.json`, token_policy: { refresh: {} }, requires_pushed_requests: true,
    };
    const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
    const registered = await (await fetch(`${ISSUER}/apps`, { method: "POST", headers, body: JSON.stringify(app) })).json();
    assert.ok(registered.client_id && !registered.client_secret, JSON.stringify(registered));
    await pushesAndRefreshes(await discovered(registered.client_id, openid.PrivateKeyJwt({ key: privateKey, kid })));
    keys.close();
  },

  async oauth4webapi() {
    const issuer = new URL(ISSUER);
    const options = { [oauth4webapi.allowInsecureRequests]: true };
    const found = await oauth4webapi.discoveryRequest(issuer, { ...options, algorithm: "oauth2" });
    const as = await oauth4webapi.processDiscoveryResponse(issuer, found);
    const client = { client_id: CLIENT_ID };
    const authentication = oauth4webapi.ClientSecretPost(CLIENT_SECRET);
    const verifier = oauth4webapi.generateRandomCodeVerifier();
    const url = new URL(as.authorization_endpoint);
    url.search = new URLSearchParams({
      client_id: CLIENT_ID,
      redirect_uri: REDIRECT_URI,
      response_type: "code",
      scope: "widgets",
      code_challenge: await oauth4webapi.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state: "s",
    });
    const parameters = oauth4webapi.validateAuthResponse(as, client, await approved(url), "s");
    const reply = await oauth4webapi.authorizationCodeGrantRequest(
      as, client, authentication, parameters, REDIRECT_URI, verifier, options);
    const { access_token } = await oauth4webapi.processAuthorizationCodeResponse(as, client, reply);
    const revoke = async () =>
      oauth4webapi.processRevocationResponse(
        await oauth4webapi.revocationRequest(as, client, authentication, access_token, options));
    return { token: access_token, revoke };
  },

  async "simple-oauth2"() {
    const client = new AuthorizationCode({
      client: { id: CLIENT_ID, secret: CLIENT_SECRET },
      auth: { tokenHost: ISSUER, authorizePath: "/oauth/authorize" },
    });
    const url = client.authorizeURL({ redirect_uri: REDIRECT_URI, scope: "widgets", state: "s" });
    const code = (await approved(url)).searchParams.get("code");
    const token = await client.getToken({ code, redirect_uri: REDIRECT_URI });
    return { token: token.token.access_token, revoke: () => token.revoke("access_token") };
  },

  async arctic() {
    const client = new OAuth2Client(CLIENT_ID, CLIENT_SECRET, REDIRECT_URI);
    const verifier = "v".repeat(43);
    const authorize = `${ISSUER}/oauth/authorize`;
    const url = client.createAuthorizationURLWithPKCE(authorize, "s", CodeChallengeMethod.S256, verifier, ["widgets"]);
    const code = (await approved(url)).searchParams.get("code");
    const tokens = await client.validateAuthorizationCode(`${ISSUER}/oauth/token`, code, verifier);
    return { token: tokens.accessToken(), revoke: () => client.revokeToken(`${ISSUER}/oauth/revoke`, tokens.accessToken()) };
  },

  async "passport-oauth2"() {
    const strategy = new OAuth2Strategy(
      {
        authorizationURL: `${ISSUER}/oauth/authorize`,
        tokenURL: `${ISSUER}/oauth/token`,
        clientID: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        callbackURL: REDIRECT_URI,
        scope: ["widgets"],
        state: true,
        pkce: true,
      },
      (token, _refresh, _profile, done) => done(null, { token }),
    );
    const session = {};
    const visit = (query) =>
      new Promise((resolve, reject) => {
        const visited = Object.assign(Object.create(strategy), {
          redirect: resolve, success: resolve, error: reject, fail: (why) => reject(new Error(JSON.stringify(why))),
        });
        visited.authenticate({ query, session, headers: {}, connection: {} }, {});
      });
    const back = await approved(await visit({}));
    const { token } = await visit(Object.fromEntries(back.searchParams));
    return { token };
  },

  async "Auth.js"() {
    const base = new URL(REDIRECT_URI).origin;
    let token;
    const config = {
      secret: "a secret of the app, of 32 characters or more",
      trustHost: true,
      basePath: "/auth",
      providers: [
        {
          id: "grantbook",
          name: "grantbook",
          type: "oauth",
          issuer: ISSUER,
          authorization: { url: `${ISSUER}/oauth/authorize`, params: { scope: "widgets" } },
          token: `${ISSUER}/oauth/token`,
          userinfo: `${ISSUER}/oauth/userinfo`,
          profile(user, tokens) {
            token = tokens.access_token;
            assert.deepEqual([user.sub, user.account_id], ["ana", "acme"]);
            return { id: user.sub };
          },
          clientId: CLIENT_ID,
          clientSecret: CLIENT_SECRET,
          checks: ["pkce", "state"],
        },
      ],
    };
    const jar = new Map();
    const visit = async (path, body) => {
      const cookie = [...jar].map((pair) => pair.join("=")).join("; ");
      const reply = await Auth(new Request(new URL(path, base), { method: body ? "POST" : "GET", body, headers: { cookie } }), config);
      for (const set of reply.headers.getSetCookie()) {
        const [name, ...value] = set.split(";")[0].split("=");
        jar.set(name, value.join("="));
      }
      return reply;
    };
    const { csrfToken } = await (await visit("/auth/csrf")).json();
    const away = await visit("/auth/signin/grantbook", new URLSearchParams({ csrfToken }));
    const back = await approved(away.headers.get("location"));
    const signedIn = await visit(`/auth/callback/grantbook${back.search}`);
    assert.equal(signedIn.status, 302, await signedIn.text());
    return { token };
  },
};

let failed = false;
for (const [name, use] of Object.entries(libraries)) {
  try {
    const { token, revoke } = (await use()) ?? {};
    assert.ok(!token || (await isActive(token)), "the token is active");
    if (revoke) {
      await revoke();
      assert.equal(await isActive(token), false, "the token is revoked");
    }
    console.log(`${name}: ${revoke ? "token and revocation" : token ? "token" : "passed"}`);
  } catch (error) {
    failed = true;
    console.error(`${name}: FAILED`, error);
  }
}
process.exit(failed ? 1 : 0);
