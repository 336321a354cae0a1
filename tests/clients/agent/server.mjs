// An MCP server with a tool for each of two scopes, behind the guard that docs/resources.md prints.
import { json } from "node:stream/consumers";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { admit, answersMetadata } from "./guard.mjs";

export async function serve(request, reply) {
  if (answersMetadata(request, reply)) return;
  const message = request.method === "POST" ? await json(request) : undefined;
  // A tool needs the scope of its name; the rest of the protocol needs what everyone has.
  const facts = await admit(request, reply, message?.method === "tools/call" ? message.params.name : "widgets");
  if (!facts) return;
  if (!message) return reply.writeHead(405, { Allow: "POST" }).end();
  const mcp = new McpServer({ name: "widgets", version: "1" });
  for (const tool of ["widgets", "faqs"]) {
    mcp.registerTool(tool, {}, () => ({ content: [{ type: "text", text: JSON.stringify(facts) }] }));
  }
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  reply.on("close", () => mcp.close());
  await mcp.connect(transport);
  await transport.handleRequest(request, reply, message);
}
