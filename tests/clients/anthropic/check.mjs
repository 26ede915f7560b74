// The npm package `@anthropic-ai/sdk` against a server.
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ baseURL: process.env.TERN_URL, apiKey: 'none', maxRetries: 0 });
const ask = {
  model: 'tern-stories', max_tokens: 24, temperature: 0,
  messages: [{ role: 'user', content: 'Tell me a story.' }],
};

const m = await client.messages.create(ask);
assert.equal(m.type, 'message');
assert.ok(m.content[0].text.length > 0 && m.usage.output_tokens > 0);

const stream = client.messages.stream(ask);
let text = '';
stream.on('text', t => { text += t; });
const final = await stream.finalMessage();
assert.equal(text, m.content[0].text);
assert.equal(final.content[0].text, text);
assert.equal(final.stop_reason, m.stop_reason);

const kinds = [];
for await (const e of await client.messages.create({ ...ask, stream: true })) kinds.push(e.type);
assert.equal(kinds[0], 'message_start');
assert.equal(kinds.at(-1), 'message_stop');

const { input_tokens } = await client.messages.countTokens({ model: ask.model, messages: ask.messages });
assert.equal(input_tokens, m.usage.input_tokens + m.usage.cache_read_input_tokens);

const forced = {
  ...ask, max_tokens: 150,
  tools: [{
    name: 'get_weather',
    input_schema: {
      type: 'object', properties: { place: { type: 'string', maxLength: 12 } }, required: ['place'],
      additionalProperties: false,
    },
  }],
  tool_choice: { type: 'any', disable_parallel_tool_use: true },
};
const called = await client.messages.stream(forced).finalMessage();
assert.equal(called.stop_reason, 'tool_use');
const call = called.content.at(-1);
assert.equal(call.name, 'get_weather');
assert.deepEqual(Object.keys(call.input), ['place']);
const back = await client.messages.create({
  ...ask, tools: forced.tools,
  messages: [...ask.messages, { role: 'assistant', content: called.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'rain' }] }],
});
assert.equal(back.role, 'assistant');

await assert.rejects(client.messages.create({ ...ask, max_tokens: 0 }), e =>
  e instanceof Anthropic.BadRequestError && e.status === 400 && e.type === 'invalid_request_error');
await assert.rejects(client.messages.create({ ...ask, model: 'none' }), Anthropic.NotFoundError);

// a client that goes away in the middle
const gone = client.messages.stream({ ...ask, max_tokens: 400 });
gone.on('text', () => gone.abort());
await assert.rejects(gone.finalMessage(), Anthropic.APIUserAbortError);
assert.equal((await client.messages.create(ask)).content[0].text, m.content[0].text);
console.log('anthropic (npm): ok');
