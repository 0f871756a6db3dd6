// Vercel's AI SDK with its telemetry: `use_vercel_ai_traced.mjs URL KEY PROVIDER MODE`; MODE is `genai`, or
// `legacy` for the spans of its versions before.
import { LegacyOpenTelemetry, OpenTelemetry } from "@ai-sdk/otel";
import { createOpenAI } from "@ai-sdk/openai";
import { trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { embed, generateText, registerTelemetry, streamText, tool } from "ai";
import { z } from "zod";

const [url, key, upstream, mode] = process.argv.slice(2);
const exporter = new OTLPTraceExporter({ url: `${url}/traces`, headers: { authorization: `Bearer ${key}` } });
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "vercel-bot" }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
provider.register();
registerTelemetry(
  mode === "legacy"
    ? new LegacyOpenTelemetry()
    : new OpenTelemetry({ runtimeContext: true, usage: true, embedding: true }),
);

const fake = (behaviour) => `fake:${JSON.stringify(behaviour)}`;
const openai = createOpenAI({ baseURL: upstream, apiKey: upstream === url ? key : "sk-upstream" });
const shown = Object.fromEntries(["userId", "sessionId", "team"].map((name) => [name, true]));
const how = {
  maxRetries: 0,
  telemetry: { isEnabled: true, functionId: "bot", includeRuntimeContext: shown },
  runtimeContext: { userId: "ann", sessionId: "s-1", team: "a" },
};
const weather = tool({
  description: "The weather somewhere.",
  inputSchema: z.object({ city: z.string() }).passthrough(),
  execute: async () => "sunny",
});

const said = await trace.getTracer("bot").startActiveSpan("planner", async (above) => {
  const model = openai.chat("gpt-4o-mini");
  const system = `be kind in ${mode} at ${upstream}`; // the fake calls its answer to the same by the same name
  const asked = { system, prompt: fake({ fault: "tool-split" }), temperature: 0.5, maxOutputTokens: 50 };
  const first = await generateText({ model, ...asked, tools: { weather }, ...how });
  let text = "";
  for await (const piece of streamText({ model, system, prompt: fake({ text: "Take an umbrella." }), ...how }).textStream) {
    text += piece;
  }
  await embed({ model: openai.embedding("text-embedding-3-small"), value: "a vector please", ...how });
  let error = null;
  try {
    await generateText({ model, prompt: fake({ fault: "context-length" }), ...how });
  } catch (raised) {
    error = raised.name;
  }
  above.end();
  return {
    trace: above.spanContext().traceId,
    ids: [first.response.id],
    tokens: [first.usage.inputTokens, first.usage.outputTokens],
    tools: first.toolCalls.length,
    text,
    error,
  };
});
await provider.forceFlush();
await provider.shutdown();
process.stdout.write(JSON.stringify({ ...said, flushed: true }));
