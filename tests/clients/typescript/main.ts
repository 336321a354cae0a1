// What a program with a generated TypeScript client does: list apps, register one, introspect a token.
import { createClient } from "./generated/client";
import { introspect, listApps, registerApp } from "./generated/sdk.gen";

// Introspection takes an operator key or client credentials: only the key is ours.
const client = createClient({
  baseUrl: process.env.URL,
  auth: (wanted) => (wanted.scheme === "bearer" ? process.env.KEY : undefined),
});

function hold(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what));
}

const body = {
  name: "Made in TypeScript",
  owner: "Generated",
  redirect_uris: ["https://typescript.example/callback"],
  scopes: ["faqs"],
};
const { data: registered } = await registerApp({ client, body, throwOnError: true });
hold(registered.client_secret?.startsWith("gbs_") === true, registered);
hold(registered.status.state === "active", registered);

const names: string[] = [];
let cursor: string | undefined;
do {
  const { data: page } = await listApps({ client, query: { limit: 1, cursor }, throwOnError: true });
  names.push(...page.items.map((app) => app.name));
  cursor = page.next_cursor;
} while (cursor !== undefined);
hold(names.includes("Made in TypeScript"), names);

const ask = async (token: string) => (await introspect({ client, body: { token }, throwOnError: true })).data;
const known = await ask(process.env.TOKEN ?? "");
hold(known.active && known.sub === "ana" && known.account_id === "acme", known);
const unknown = await ask("gbt_unknown");
hold(!unknown.active && unknown.sub === undefined, unknown);
console.error(`typescript: ${names.length} apps listed, ${registered.client_id} registered, a token introspected`);
