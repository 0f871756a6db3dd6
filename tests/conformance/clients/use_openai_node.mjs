// What OpenAI's own client for Node makes of an Airboss: `use_openai_node.mjs URL KEY MODEL MODE`, JSON out.
// `MODE` is `local` for a real model, which is asked for little, or `fake` for the fake provider.

import OpenAI, { toFile } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [url, key, model, mode] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 2, timeout: 60_000 });
const fake = (behaviour) => `fake:${JSON.stringify(behaviour)}`;
const user = (text) => [{ role: "user", content: text }];
const Point = z.object({ a: z.number() });
const parameters = { type: "object", properties: { city: { type: "string" } } };
const weather = { type: "function", function: { name: "weather", description: "The weather somewhere.", parameters } };

async function failure(call) {
  try {
    await call();
  } catch (error) {
    return { error: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
  return { error: null };
}

async function drained(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

async function chat(said, more = {}) {
  const whole = await client.chat.completions.create({ model, messages: user(said), ...more });
  const asked = { model, messages: user(said), stream: true, stream_options: { include_usage: true }, ...more };
  const chunks = await drained(await client.chat.completions.create(asked));
  const usage = chunks.at(-1).usage;
  return {
    text: whole.choices[0].message.content,
    finish: whole.choices[0].finish_reason,
    tokens: [whole.usage.prompt_tokens, whole.usage.completion_tokens],
    streamed: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
    stream_tokens: [usage.prompt_tokens, usage.completion_tokens],
  };
}

async function tools() {
  const said = user(fake({ fault: "tool-split" }));
  const { message } = (await client.chat.completions.create({ model, messages: said, tools: [weather] })).choices[0];
  const last = await client.chat.completions.stream({ model, messages: said, tools: [weather] }).finalMessage();
  const results = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }));
  const messages = [...said, message, ...results, ...user(fake({ text: "Sunny." }))];
  const answer = await client.chat.completions.create({ model, messages, tools: [weather] });
  return {
    calls: message.tool_calls.map((call) => JSON.parse(call.function.arguments)),
    streamed: last.tool_calls.map((call) => JSON.parse(call.function.arguments)),
    answer: answer.choices[0].message.content,
  };
}

async function responses() {
  const first = await client.responses.create({ model, input: fake({ text: "One." }) });
  const stream = client.responses.stream({ model, input: fake({ text: "Two words." }) });
  const kinds = (await drained(stream)).map((event) => event.type);
  const last = await stream.finalResponse();
  const input = fake({ echo: true });
  const second = await client.responses.create({ model, input, previous_response_id: first.id });
  const tool = { type: "function", name: "weather", strict: false, parameters };
  const called = await client.responses.create({ model, input: fake({ fault: "tool-call" }), tools: [tool] });
  const tools = [{ type: "web_search" }];
  const hosted = await client.responses.create({ model, input: fake({ text: "Found." }), tools });
  const searched = await drained(client.responses.stream({ model, input: fake({ text: "Found." }), tools }));
  const fetched = await client.responses.retrieve(first.id);
  const items = await drained(await client.responses.inputItems.list(second.id));
  await client.responses.delete(first.id);
  return {
    text: first.output_text,
    events: kinds,
    streamed: last.output_text,
    previous: second.previous_response_id === first.id,
    called: called.output.filter((item) => item.type === "function_call").map((item) => item.name),
    hosted: hosted.output.map((item) => item.type),
    searched: searched.some((event) => event.type === "response.web_search_call.searching"),
    fetched: fetched.output_text,
    items: items.map((item) => item.type),
    gone: await failure(() => client.responses.retrieve(first.id)),
  };
}

async function others() {
  const wav = () => toFile(Buffer.from("RIFF"), "a.wav");
  const vectors = (await client.embeddings.create({ model, input: ["one", "two"] })).data;
  const file = await client.files.create({ file: await toFile(Buffer.from('{"x": 1}\n'), "a.jsonl"), purpose: "batch" });
  const asked = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" };
  const batch = await client.batches.create(asked);
  const heard = await client.audio.transcriptions.create({ model, file: await wav() });
  const listened = await client.audio.transcriptions.create({ model, file: await wav(), stream: true });
  const spoken = await client.audio.speech.create({ model, voice: "alloy", input: "hello" });
  return {
    vectors: vectors.map((each) => each.embedding.length),
    completion: (await client.completions.create({ model, prompt: fake({ text: "so it is" }) })).choices[0].text,
    models: (await drained(await client.models.list())).map((each) => each.id),
    model: (await client.models.retrieve(model)).id,
    speech: (await spoken.arrayBuffer()).byteLength,
    transcription: heard.text,
    transcription_events: (await drained(listened)).map((event) => event.type),
    images: (await client.images.generate({ model, prompt: "a deck" })).data.length,
    moderation: (await client.moderations.create({ input: "hi" })).results[0].flagged,
    file: await (await client.files.content(file.id)).text(),
    files: (await drained(await client.files.list({ purpose: "batch" }))).map((each) => each.id === file.id),
    batch: (await client.batches.retrieve(batch.id)).status,
    deleted: (await client.files.delete(file.id)).deleted,
  };
}

async function errors() {
  const once = client.withOptions({ maxRetries: 0 });
  const told = {};
  for (const fault of ["429", "500", "503", "context-length", "content-filter"]) {
    const messages = user(fake({ fault }));
    told[fault] = await failure(() => once.chat.completions.create({ model, messages }));
  }
  const cut = { model, messages: user(fake({ fault: "cut-reset", words: 20 })), stream: true };
  told.cut = await failure(async () => drained(await once.chat.completions.create(cut)));
  told.model = await failure(() => once.chat.completions.create({ model: "nobody", messages: user("hi") }));
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "ab_nobody", maxRetries: 0 });
  told.key = await failure(() => stranger.chat.completions.create({ model, messages: user("hi") }));
  const slow = { model, messages: user(fake({ fault: "silence", for_s: 3 })) };
  told.timeout = await failure(() => client.withOptions({ timeout: 300, maxRetries: 0 }).chat.completions.create(slow));
  const broke = { model, messages: user(fake({ fault: "429", code: "insufficient_quota" })) };
  told.quota = await failure(() => client.chat.completions.create(broke));
  for (const fault of ["429", "503"]) {
    const messages = user(fake({ fault, first: 1, text: "in the end", retry_after: "1" }));
    told[`${fault} once`] = (await client.chat.completions.create({ model, messages })).choices[0].message.content;
  }
  return told;
}

let told;
if (mode === "local") {
  const asked = { model, messages: user("Give a number."), response_format: zodResponseFormat(Point, "point"), max_tokens: 40, temperature: 0 };
  told = {
    chat: await chat("Say hello.", { max_tokens: 12, temperature: 0, seed: 7 }),
    parsed: (await client.chat.completions.create(asked)).choices[0].message.content,
    response: (await client.responses.create({ model, input: "Say hello.", max_output_tokens: 12 })).output_text,
  };
} else {
  const asked = { model, messages: user(fake({ text: '{"a": 7}' })), response_format: zodResponseFormat(Point, "point") };
  told = {
    chat: await chat(fake({ words: 4 })),
    tools: await tools(),
    parsed: (await client.chat.completions.parse(asked)).choices[0].message.parsed.a,
    responses: await responses(),
    others: await others(),
    errors: await errors(),
  };
}
process.stdout.write(JSON.stringify(told));
