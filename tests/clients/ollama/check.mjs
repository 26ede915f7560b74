// The npm package `ollama` against a server.
import assert from 'node:assert/strict';
import { Ollama } from 'ollama';

const client = new Ollama({ host: process.env.TERN_URL });
const model = 'tern-stories';
const messages = [{ role: 'user', content: 'Tell me a story.' }];
const options = { temperature: 0, num_predict: 12 };

const r = await client.chat({ model, messages, options });
assert.ok(r.done && r.message.content.length > 0 && r.eval_count === 12);
let text = '';
for await (const part of await client.chat({ model, messages, options, stream: true })) text += part.message.content;
assert.equal(text, r.message.content);

const g = await client.generate({ model, prompt: 'Tell me a story.', options });
assert.equal(g.response, text);
text = '';
for await (const part of await client.generate({ model, prompt: 'Tell me a story.', options, stream: true }))
  text += part.response;
assert.equal(text, g.response);

const schema = {
  type: 'object', properties: { age: { type: 'integer' } }, required: ['age'], additionalProperties: false,
};
const shaped = await client.chat({ model, messages, format: schema, options: { temperature: 0, num_predict: 80 } });
assert.ok(Number.isInteger(JSON.parse(shaped.message.content).age));

const tools = [{
  type: 'function',
  function: { name: 'get_weather', description: 'The weather.', parameters: {
    type: 'object', properties: { place: { type: 'string', description: 'where' } }, required: ['place'] } },
}];
const may = await client.chat({ model, messages, tools, options: { temperature: 0, num_predict: 60 } });
assert.equal(may.message.role, 'assistant');

assert.equal((await client.embed({ model, input: ['Lily', 'Tom'] })).embeddings.length, 2);
assert.equal((await client.list()).models[0].name, 'tern-stories:latest');
assert.equal((await client.ps()).models[0].name, 'tern-stories:latest');
assert.ok((await client.show({ model })).capabilities.includes('completion'));
assert.match((await client.version()).version, /^\d+\.\d+\.\d+$/);

await assert.rejects(client.chat({ model: 'none', messages }), e => e.status_code === 404 && e.error.length > 0);
await assert.rejects(client.generate({ model, prompt: 'a', suffix: 'b' }), e => e.status_code === 400);

// a client that goes away in the middle
const stream = await client.chat({ model, messages, options: { temperature: 0, num_predict: 400 }, stream: true });
await assert.rejects(async () => { for await (const _ of stream) stream.abort(); }, { name: 'AbortError' });
assert.equal((await client.chat({ model, messages, options })).message.content, r.message.content);
console.log('ollama (npm): ok');
