// The openai package of npm against the built server. TERN_URL names it. A failed check ends the program.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const model = "tern-stories";
const client = new OpenAI({ baseURL: process.env.TERN_URL + "/v1", apiKey: "none", maxRetries: 0, timeout: 60000 });
const messages = [{ role: "user", content: "Tell me a story." }];
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      parameters: {
        type: "object",
        properties: { city: { enum: ["Bern", "Rome"] } },
        required: ["city"],
        additionalProperties: false,
      },
    },
  },
];

const checks = {
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.deepEqual(ids, [model]);
  },
  async chat() {
    const args = { model, messages, max_tokens: 12, temperature: 0 };
    const whole = await client.chat.completions.create(args);
    assert.equal(whole.choices[0].finish_reason, "length");
    const stream = await client.chat.completions.create({ ...args, stream: true, stream_options: { include_usage: true } });
    let text = "", last;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      last = chunk;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 12);
    const helper = client.chat.completions.stream(args);
    assert.equal(await helper.finalContent(), text);
  },
  async tools() {
    const args = { model, messages, tools, tool_choice: "required", parallel_tool_calls: false, max_tokens: 120 };
    const helper = client.chat.completions.stream(args);
    const call = await helper.finalFunctionToolCall();
    assert.equal(call.name, "get_weather");
    assert.ok(["Bern", "Rome"].includes(JSON.parse(call.arguments).city));
    const whole = await client.chat.completions.create(args);
    assert.equal(whole.choices[0].finish_reason, "tool_calls");
    assert.equal(whole.choices[0].message.tool_calls.length, 1);
  },
  async structured() {
    const Pet = z.object({ animal: z.enum(["cat", "dog"]), tame: z.boolean() });
    const r = await client.chat.completions.parse({ model, messages, max_tokens: 60, response_format: zodResponseFormat(Pet, "pet") });
    assert.ok(["cat", "dog"].includes(r.choices[0].message.parsed.animal));
  },
  async completions() {
    const r = await client.completions.create({ model, prompt: "Once", max_tokens: 3, echo: true });
    assert.ok(r.choices[0].text.startsWith("Once"));
  },
  async embeddings() {
    const r = await client.embeddings.create({ model, input: ["a", "b"] });
    const plain = await client.embeddings.create({ model, input: ["a", "b"], encoding_format: "float" });
    assert.equal(r.data[1].embedding.length, plain.data[1].embedding.length);
    r.data[1].embedding.forEach((v, i) => assert.ok(Math.abs(v - plain.data[1].embedding[i]) < 1e-6));
  },
  async responses() {
    const args = { model, input: "Tell me a story.", max_output_tokens: 8, temperature: 0 };
    const whole = await client.responses.create(args);
    const stream = await client.responses.create({ ...args, stream: true });
    let text = "", last;
    for await (const e of stream) {
      if (e.type === "response.output_text.delta") text += e.delta;
      last = e;
    }
    assert.equal(text, whole.output_text);
    assert.equal(last.type, "response.incomplete");
  },
  async errors() {
    const bad = (args) => client.chat.completions.create({ model, messages, ...args });
    await assert.rejects(bad({ temperature: -1 }), (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
    await assert.rejects(bad({ model: "nobody" }), OpenAI.NotFoundError);
  },
  async cancel() {
    const stream = await client.chat.completions.create({ model, messages, stream: true, max_tokens: 400, ignore_eos: true });
    for await (const _ of stream) stream.controller.abort();
    assert.ok((await client.chat.completions.create({ model, messages, max_tokens: 1 })).choices.length);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log("ok", name);
}
