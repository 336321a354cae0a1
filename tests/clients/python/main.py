"""What a program with a generated Python client does: list apps, register one, introspect a token."""

import os
import sys

from grantbook_client import AuthenticatedClient
from grantbook_client.api.apps import list_apps, register_app
from grantbook_client.api.oauth import introspect
from grantbook_client.models import IntrospectionForm, NewApp

client = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["KEY"], raise_on_unexpected_status=True)

registered = register_app.sync(
    client=client,
    body=NewApp(
        name="Made in Python",
        owner="Generated",
        redirect_uris=["https://python.example/callback"],
        scopes=["widgets"],
    ),
)
assert registered.client_secret.startswith("gbs_"), registered
assert registered.status.state == "active", registered

names, cursor = [], None
while True:
    page = list_apps.sync(client=client, limit=1, **({"cursor": cursor} if cursor else {}))
    names += [app.name for app in page.items]
    cursor = page.next_cursor or None
    if not cursor:
        break
assert "Made in Python" in names, names

known = introspect.sync(client=client, body=IntrospectionForm(token=os.environ["TOKEN"]))
assert known.active is True and known.sub == "ana" and known.account_id == "acme", known
unknown = introspect.sync(client=client, body=IntrospectionForm(token="gbt_unknown"))
assert unknown.active is False and not unknown.sub, unknown
print(f"python: {len(names)} apps listed, {registered.client_id} registered, a token introspected", file=sys.stderr)
