// A single-page app: public, with PKCE, all of it in a page of its own origin. What it does is in `app`, for main.mjs to call.
import * as oauth from "/oauth4webapi.js";

const { issuer, clientId } = await (await fetch("/settings.json")).json();
const options = { [oauth.allowInsecureRequests]: true }; // The server of this test speaks http.
const client = { client_id: clientId };
const redirectUri = `${location.origin}/callback`;
const found = await oauth.discoveryRequest(new URL(issuer), { ...options, algorithm: "oauth2" });
const as = await oauth.processDiscoveryResponse(new URL(issuer), found);
let tokens;

/** Goes to the authorization endpoint; with `pushed`, the request goes there by `fetch`. */
async function install(scope, pushed) {
  const begun = { state: oauth.generateRandomState(), verifier: oauth.generateRandomCodeVerifier() };
  sessionStorage.begun = JSON.stringify(begun);
  let parameters = new URLSearchParams({
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirectUri,
    scope,
    state: begun.state,
    code_challenge: await oauth.calculatePKCECodeChallenge(begun.verifier),
    code_challenge_method: "S256",
  });
  if (pushed) {
    const reply = await oauth.pushedAuthorizationRequest(as, client, oauth.None(), parameters, options);
    const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, reply);
    parameters = new URLSearchParams({ client_id: clientId, request_uri });
  }
  location.assign(`${as.authorization_endpoint}?${parameters}`);
}

/** Exchanges the code that this page was called with, by default as it should. */
async function exchange({ verifier, client_id } = {}) {
  const begun = JSON.parse(sessionStorage.begun);
  const parameters = oauth.validateAuthResponse(as, client, new URL(location), begun.state);
  const who = client_id ? { client_id } : client;
  const reply = await oauth.authorizationCodeGrantRequest(
    as, who, oauth.None(), parameters, redirectUri, verifier ?? begun.verifier, options);
  tokens = await oauth.processAuthorizationCodeResponse(as, who, reply);
  return tokens;
}

async function renew(scope) {
  const additionalParameters = scope ? { scope } : {};
  const reply = await oauth.refreshTokenGrantRequest(
    as, client, oauth.None(), tokens.refresh_token, { ...options, additionalParameters });
  tokens = await oauth.processRefreshTokenResponse(as, client, reply);
  return tokens;
}

async function whose() {
  const reply = await oauth.userInfoRequest(as, client, tokens.access_token, options);
  return oauth.processUserInfoResponse(as, client, oauth.skipSubjectCheck, reply);
}

async function uninstall() {
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(as, client, oauth.None(), tokens.refresh_token, options));
}

async function register(metadata) {
  const reply = await oauth.dynamicClientRegistrationRequest(as, metadata, options);
  return oauth.processDynamicClientRegistrationResponse(reply);
}

/** What a page of another origin can see of a path: the status, or nothing. */
async function sees(path, init) {
  return fetch(issuer + path, init).then((reply) => reply.status, (error) => error.name);
}

/** How something fails: the OAuth error, also one of a `WWW-Authenticate` header. */
async function failure(name, ...rest) {
  try {
    return { nothing: await app[name](...rest) };
  } catch (error) {
    return { kind: error.constructor.name, error: error.error ?? error.cause?.[0]?.parameters?.error, says: error.message };
  }
}

const app = { install, exchange, renew, whose, uninstall, register, sees, failure };
globalThis.app = app;
