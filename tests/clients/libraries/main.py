"""Libraries that docs/apps.md names, against a running server: each gets a token with the settings of that page, and
revokes it if it can."""

import os
import sys
import traceback
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

ISSUER, APPROVE = os.environ["URL"], os.environ["APPROVE"]
CLIENT_ID, CLIENT_SECRET = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
RENEWED_ID, RENEWED_SECRET = os.environ["RENEWED_ID"], os.environ["RENEWED_SECRET"]
REDIRECT_URI = os.environ["REDIRECT_URI"]


def approved(authorize_url):
    """Where the app is called after ana approved."""
    return requests.post(APPROVE, data=authorize_url).text


def is_active(token, client_id=CLIENT_ID, client_secret=CLIENT_SECRET):
    form = {"token": token, "client_id": client_id, "client_secret": client_secret}
    return requests.post(ISSUER + "/oauth/introspect", data=form).json()["active"]


def authlib():
    from authlib.integrations.requests_client import OAuth2Session

    session = OAuth2Session(CLIENT_ID, CLIENT_SECRET, scope="widgets", redirect_uri=REDIRECT_URI, code_challenge_method="S256")
    verifier = "v" * 48
    url, state = session.create_authorization_url(ISSUER + "/oauth/authorize", code_verifier=verifier)
    token = session.fetch_token(ISSUER + "/oauth/token", authorization_response=approved(url), state=state, code_verifier=verifier)
    return token["access_token"], lambda: session.revoke_token(ISSUER + "/oauth/revoke", token["access_token"]).raise_for_status()


def authlib_pushed_and_refreshed():
    """It has nothing for pushed requests, but what it makes can be pushed. It renews by itself, and revokes what it has."""
    from authlib.integrations.requests_client import OAuth2Session

    kept = []
    session = OAuth2Session(RENEWED_ID, RENEWED_SECRET, scope="widgets", redirect_uri=REDIRECT_URI, code_challenge_method="S256",
        token_endpoint=ISSUER + "/oauth/token", update_token=lambda token, refresh_token: kept.append(token))
    verifier = "v" * 48
    url, state = session.create_authorization_url(ISSUER + "/oauth/authorize", code_verifier=verifier)
    pushed = requests.post(ISSUER + "/oauth/par", data=parse_qsl(urlsplit(url).query), auth=(RENEWED_ID, RENEWED_SECRET))
    assert pushed.status_code == 201, pushed.text
    url = ISSUER + "/oauth/authorize?" + urlencode({"client_id": RENEWED_ID, "request_uri": pushed.json()["request_uri"]})
    session.fetch_token(authorization_response=approved(url), state=state, code_verifier=verifier)
    first = dict(session.token)
    session.token["expires_at"] = 1  # As if its hour were over.
    assert session.get(ISSUER + "/oauth/userinfo").json()["sub"] == "ana"
    renewed = session.token
    assert kept == [renewed] and renewed["access_token"] != first["access_token"], kept
    assert is_active(renewed["access_token"], RENEWED_ID, RENEWED_SECRET)
    session.revoke_token(ISSUER + "/oauth/revoke", renewed["refresh_token"]).raise_for_status()
    for token in (first, renewed):
        assert not is_active(token["access_token"], RENEWED_ID, RENEWED_SECRET), "nothing of the grant is left"
    return None, None


def requests_oauthlib():
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # The server of this test speaks http.
    from requests_oauthlib import OAuth2Session

    session = OAuth2Session(CLIENT_ID, scope=["widgets"], redirect_uri=REDIRECT_URI, pkce="S256")
    url, _ = session.authorization_url(ISSUER + "/oauth/authorize")
    token = session.fetch_token(ISSUER + "/oauth/token", authorization_response=approved(url), client_secret=CLIENT_SECRET)
    return token["access_token"], None


def social_auth_core():
    from social_core.backends.oauth import BaseOAuth2PKCE
    from social_core.strategy import BaseStrategy

    class Grantbook(BaseOAuth2PKCE):
        name = "grantbook"
        AUTHORIZATION_URL = ISSUER + "/oauth/authorize"
        ACCESS_TOKEN_URL = ISSUER + "/oauth/token"
        ACCESS_TOKEN_METHOD = "POST"
        REVOKE_TOKEN_URL = ISSUER + "/oauth/revoke"
        REVOKE_TOKEN_METHOD = "POST"
        DEFAULT_SCOPE = ["widgets"]
        REDIRECT_STATE = STATE_PARAMETER = False  # They need the storage of a web framework.
        PKCE_DEFAULT_CODE_CHALLENGE_METHOD = "S256"

        def get_user_details(self, response):
            return {}

        def auth_html(self):
            raise NotImplementedError

        def revoke_token_params(self, token, uid):
            client_id, secret = self.get_key_and_secret()
            return {"token": token, "client_id": client_id, "client_secret": secret}

    class Strategy(BaseStrategy):
        def __init__(self):
            super().__init__()
            self.session, self.data = {}, {}

        def get_setting(self, name):
            return {"SOCIAL_AUTH_GRANTBOOK_KEY": CLIENT_ID, "SOCIAL_AUTH_GRANTBOOK_SECRET": CLIENT_SECRET}[name]

        def request_data(self, merge=True):
            return self.data

        def build_absolute_uri(self, path=None):
            return path

        def session_get(self, name, default=None):
            return self.session.get(name, default)

        def session_set(self, name, value):
            self.session[name] = value

        def session_pop(self, name):
            return self.session.pop(name, None)

    strategy = Strategy()
    backend = Grantbook(strategy, redirect_uri=REDIRECT_URI)
    back = approved(backend.auth_url())
    strategy.data.update(parse_qsl(urlsplit(back).query))
    backend.data = strategy.data
    token = backend.request_access_token(
        backend.access_token_url(),
        data=backend.auth_complete_params(),
        headers=backend.auth_headers(),
        auth=backend.auth_complete_credentials(),
        method=backend.ACCESS_TOKEN_METHOD,
    )["access_token"]
    return token, lambda: backend.revoke_token(token, "ana")


failed = False
for use in (authlib, authlib_pushed_and_refreshed, requests_oauthlib, social_auth_core):
    try:
        token, revoke = use()
        assert not token or is_active(token), "the token is active"
        if revoke:
            revoke()
            assert not is_active(token), "the token is revoked"
        print(f"{use.__name__}: {'token and revocation' if revoke else 'token' if token else 'passed'}")
    except Exception:
        failed = True
        print(f"{use.__name__}: FAILED")
        traceback.print_exc()
sys.exit(failed)
