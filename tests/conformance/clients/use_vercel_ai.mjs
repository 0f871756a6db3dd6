// What Vercel's AI SDK makes of an Airboss, by three of its providers: `use_vercel_ai.mjs URL KEY MODEL MODE`.
// `MODE` is `local` for a real model, which is asked for little, or `fake` for the fake provider.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, key, name, mode] = process.argv.slice(2);
const settings = { baseURL: `${url}/v1`, apiKey: key };
const openai = createOpenAI(settings);
const models = {
  responses: openai.responses(name),
  chat: openai.chat(name),
  compatible: createOpenAICompatible({ ...settings, name: "airboss", includeUsage: true })(name),
  messages: createAnthropic(settings)(name),
};
const fake = (behaviour) => `fake:${JSON.stringify(behaviour)}`;

async function failure(call) {
  try {
    await call();
  } catch (error) {
    return { error: error.name, status: error.statusCode ?? null, retryable: error.isRetryable ?? null };
  }
  return { error: null };
}

async function streamed(model, prompt, more = {}) {
  const failures = [];
  const result = streamText({ model, prompt, maxRetries: 0, onError: ({ error }) => failures.push(error), ...more });
  let text = "";
  for await (const piece of result.textStream) text += piece;
  if (failures.length) throw failures[0];
  return { text, finish: await result.finishReason, output: (await result.usage).outputTokens };
}

async function all(model, label) {
  const cities = [];
  const weather = tool({
    description: "The weather somewhere.",
    inputSchema: z.object({ city: z.string(), days: z.number() }),
    execute: async (input) => {
      cities.push(input.days);
      return "sunny";
    },
  });
  const whole = await generateText({ model, prompt: fake({ words: 4 }) });
  const told = fake({ fault: "tool-split", first: 1, text: `Sunny, says ${label}.` });
  const answered = await generateText({ model, prompt: told, tools: { weather }, stopWhen: stepCountIs(3) });
  const output = Output.object({ schema: z.object({ a: z.number() }) });
  const structured = await generateText({ model, prompt: fake({ text: '{"a": 7}' }), output });
  const none = { model, maxRetries: 0 };
  const errors = {};
  for (const fault of ["429", "500", "503", "context-length"]) {
    errors[fault] = await failure(() => generateText({ ...none, prompt: fake({ fault }) }));
  }
  errors.cut = await failure(() => streamed(model, fake({ fault: "cut-reset", words: 20 })));
  const once = fake({ fault: "503", first: 1, text: `in the end, ${label}`, retry_after: "1" });
  return {
    text: whole.text,
    finish: whole.finishReason,
    output: whole.usage.outputTokens,
    streamed: await streamed(model, fake({ words: 4 })),
    tools: cities,
    answer: answered.text,
    structured: structured.output,
    errors,
    retried: (await generateText({ model, prompt: once, maxRetries: 2 })).text,
  };
}

const told = {};
for (const [label, model] of Object.entries(models)) {
  if (mode === "local") {
    const asked = { model, prompt: "Say hello.", maxOutputTokens: 12, temperature: 0 };
    told[label] = { text: (await generateText(asked)).text, streamed: await streamed(model, "Say hello.", asked) };
  } else {
    told[label] = await all(model, label);
  }
}
if (mode !== "local") {
  const vectors = await embedMany({ model: openai.embedding(name), values: ["one", "two"] });
  told.vectors = vectors.embeddings.map((each) => each.length);
}
process.stdout.write(JSON.stringify(told));
