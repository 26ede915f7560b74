"""The Python package `anthropic` against a server: what its users write, and what they expect back."""
import asyncio
import json
import os

import anthropic
from pydantic import BaseModel

URL = os.environ["TERN_URL"]
client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
SURE = {"temperature": 0}
ask = {"model": "tern-stories", "max_tokens": 24, "messages": [{"role": "user", "content": "Tell me a story."}],
       "extra_body": SURE}
weather = {"name": "get_weather", "description": "The weather of a place.",
           "input_schema": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 12}},
                            "required": ["place"], "additionalProperties": False}}

# a message
m = client.messages.create(**ask)
assert m.type == "message" and m.role == "assistant" and m.content[0].type == "text" and m.content[0].text
assert m.stop_reason in ("end_turn", "max_tokens") and m.usage.output_tokens > 0
assert m.usage.input_tokens + m.usage.cache_read_input_tokens > 0
assert m._request_id.startswith("req_")

# the same as a stream of events, and with the helper that gathers them
with client.messages.create(**ask, stream=True) as events:
    kinds = [e.type for e in events]
assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"], kinds
with client.messages.stream(**ask) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == m.content[0].text == final.content[0].text, (text, m, final)
assert final.stop_reason == m.stop_reason and final.usage.output_tokens == m.usage.output_tokens
assert (final.usage.input_tokens + final.usage.cache_read_input_tokens ==
        m.usage.input_tokens + m.usage.cache_read_input_tokens)

# tokens are counted as they are used
n = client.messages.count_tokens(model="tern-stories", messages=ask["messages"])
assert n.input_tokens == m.usage.input_tokens + m.usage.cache_read_input_tokens, (n, m.usage)

# a tool is called, whole and in parts; its result goes back
forced = dict(ask, max_tokens=150, tools=[weather],
              tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True})
m = client.messages.create(**forced)
call = m.content[-1]
assert m.stop_reason == "tool_use" and call.type == "tool_use" and call.name == "get_weather", m
assert set(call.input) == {"place"}, call
with client.messages.stream(**forced) as stream:
    parts = [e.partial_json for e in stream if e.type == "input_json"]
    final = stream.get_final_message()
assert json.loads("".join(parts)) == final.content[-1].input == call.input, (parts, final)
talk = ask["messages"] + [m.to_param(), {"role": "user", "content": [
    {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]}]
assert client.messages.create(**dict(ask, messages=talk, tools=[weather])).type == "message"

# structured output through the parsing helper


class Person(BaseModel):
    age: int
    grown: bool


parsed = client.messages.parse(**dict(ask, max_tokens=80), output_format=Person)
assert isinstance(parsed.parsed_output, Person), parsed

# stop sequences
words = client.messages.create(**ask).content[0].text.split()
m = client.messages.create(**ask, stop_sequences=[words[2]])
assert m.stop_reason == "stop_sequence" and m.stop_sequence == words[2], m

# what is in beta asks the same routes
assert [m.id for m in client.models.list()] == ["tern-stories"]
m = client.beta.messages.create(**ask, betas=["none-2026-01-01"])
assert m.content[0].text == text

# failures have types of their own
for change, kind in [({"max_tokens": 0}, anthropic.BadRequestError), ({"model": "none"}, anthropic.NotFoundError),
                     ({"messages": [{"role": "user", "content": "Once upon a time " * 400}]},
                      anthropic.BadRequestError)]:
    try:
        client.messages.create(**dict(ask, **change))
        raise AssertionError(f"{change} was taken")
    except kind as e:
        assert e.type in ("invalid_request_error", "not_found_error") and e.api_message, e
        assert e.request_id.startswith("req_"), e


async def many():
    async with anthropic.AsyncAnthropic(base_url=URL, api_key="none", max_retries=0) as c:
        got = await asyncio.gather(*[c.messages.create(**ask) for _ in range(8)])
        assert len({g.content[0].text for g in got}) == 1
        async with c.messages.stream(**ask) as stream:
            assert (await stream.get_final_message()).content[0].text == got[0].content[0].text


asyncio.run(many())
print("anthropic (Python): ok")
