"""The openai package of Python against the built server: what its users call, and what it makes of replies.

TERN_URL names the server. A failed check ends the program."""

import os
import sys
import time

import openai
from pydantic import BaseModel

URL = os.environ["TERN_URL"]
MODEL = "tern-stories"
client = openai.OpenAI(base_url=URL + "/v1", api_key="none", max_retries=0, timeout=60)
TALK = [{"role": "user", "content": "Tell me a story."}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a place",
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["Bern", "Rome"]}, "days": {"enum": [1, 2]}},
                "required": ["city", "days"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }
]


def check_models():
    assert [m.id for m in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "tern"


def check_chat():
    r = client.chat.completions.create(model=MODEL, messages=TALK, max_tokens=12, seed=1, n=2, logprobs=True, top_logprobs=2)
    assert r.object == "chat.completion" and len(r.choices) == 2
    for c in r.choices:
        assert c.message.role == "assistant" and c.finish_reason in ("length", "stop")
        assert "".join(t.token for t in c.logprobs.content).strip() == c.message.content.strip()
        assert all(len(t.top_logprobs) == 2 for t in c.logprobs.content)
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens
    again = client.chat.completions.create(model=MODEL, messages=TALK, max_tokens=12, seed=1, n=2)
    assert [c.message.content for c in again.choices] == [c.message.content for c in r.choices]
    assert r.system_fingerprint == again.system_fingerprint


def check_stream():
    args = dict(model=MODEL, messages=TALK, max_tokens=20, temperature=0)
    whole = client.chat.completions.create(**args).choices[0].message.content
    chunks = list(client.chat.completions.create(**args, stream=True, stream_options={"include_usage": True}))
    assert len({c.id for c in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["length"]
    args = dict(model=MODEL, messages=TALK, max_tokens=200, temperature=0, stop=["."])
    whole = client.chat.completions.create(**args).choices[0].message.content
    with client.chat.completions.stream(**args) as s:
        text = "".join(e.delta for e in s if e.type == "content.delta")
        assert text == whole and s.get_final_completion().choices[0].message.content == whole


def check_call(call):
    import json

    assert call.function.name == "get_weather"
    value = json.loads(call.function.arguments)
    assert value["city"] in ("Bern", "Rome") and value["days"] in (1, 2) and len(value) == 2


def check_tools():
    args = dict(model=MODEL, messages=TALK, tools=TOOLS, max_tokens=120, seed=3)
    r = client.chat.completions.create(**args, tool_choice="required", parallel_tool_calls=False)
    message = r.choices[0].message
    assert r.choices[0].finish_reason == "tool_calls" and len(message.tool_calls) == 1
    check_call(message.tool_calls[0])
    named = {"type": "function", "function": {"name": "get_weather"}}
    name, arguments, seen = "", "", []
    for chunk in client.chat.completions.create(**args, tool_choice=named, parallel_tool_calls=False, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            seen.append("name" if call.function.name else "arguments")
            arguments += call.function.arguments or ""
    assert name == "get_weather" and seen[0] == "name" and set(seen[1:]) == {"arguments"}, seen
    with client.chat.completions.stream(**args, tool_choice="required", parallel_tool_calls=False) as s:
        for _ in s:
            pass
        check_call(s.get_final_completion().choices[0].message.tool_calls[0])
    # The result goes back.
    talk = TALK + [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "Sun."}]
    r = client.chat.completions.create(model=MODEL, messages=talk, tools=TOOLS, tool_choice="none", max_tokens=5)
    assert r.choices[0].message.tool_calls is None and r.choices[0].message.content


class Step(BaseModel):
    good: bool
    kind: str


class Plan(BaseModel):
    first: Step
    count: int


def check_structured():
    from typing import Literal

    class Small(BaseModel):
        animal: Literal["cat", "dog"]
        tame: bool

    r = client.chat.completions.parse(model=MODEL, messages=TALK, response_format=Small, max_tokens=60)
    assert isinstance(r.choices[0].message.parsed, Small)
    r = client.beta.chat.completions.parse(model=MODEL, messages=TALK, response_format=Small, max_tokens=60)
    assert isinstance(r.choices[0].message.parsed, Small)
    r = client.responses.parse(model=MODEL, input="A pet?", text_format=Small, max_output_tokens=60)
    assert isinstance(r.output_parsed, Small)
    try:
        client.chat.completions.parse(model=MODEL, messages=TALK, response_format=Plan, max_tokens=2)
        raise AssertionError("cut JSON was parsed")
    except openai.LengthFinishReasonError:
        pass


def check_completions():
    r = client.completions.create(model=MODEL, prompt=["Once", "One day"], max_tokens=4, temperature=0, echo=True, logprobs=1)
    assert [c.text.startswith(p) for c, p in zip(r.choices, ["Once", "One day"])] == [True, True]
    assert all(len(c.logprobs.tokens) >= 4 for c in r.choices)
    text = "".join(c.choices[0].text for c in client.completions.create(model=MODEL, prompt="Once", max_tokens=4, temperature=0, stream=True))
    assert "Once" + text == r.choices[0].text
    r = client.completions.create(model=MODEL, prompt="Once", max_tokens=4, best_of=3, seed=1)
    assert len(r.choices) == 1


def check_embeddings():
    # The package asks for base64 by itself; both forms must say the same.
    texts = ["a cat", "a dog", "rain"]
    packed = client.embeddings.create(model=MODEL, input=texts)
    plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    for a, b in zip(packed.data, plain.data):
        assert len(a.embedding) == len(b.embedding) and all(abs(x - y) < 1e-6 for x, y in zip(a.embedding, b.embedding))
        assert abs(sum(x * x for x in a.embedding) - 1) < 1e-3
    short = client.embeddings.create(model=MODEL, input=[5, 6, 7], dimensions=8)
    assert len(short.data[0].embedding) == 8 and short.usage.prompt_tokens == 3


def check_responses():
    r = client.responses.create(model=MODEL, input="Tell me a story.", instructions="Be brief.", max_output_tokens=8, temperature=0)
    assert r.status == "incomplete" and r.incomplete_details.reason == "max_output_tokens" and r.output_text
    with client.responses.stream(model=MODEL, input="Tell me a story.", instructions="Be brief.", max_output_tokens=8, temperature=0) as s:
        events = list(s)
    assert events[-1].response.output_text == r.output_text
    assert [e.sequence_number for e in events] == sorted(e.sequence_number for e in events)
    assert events[0].type == "response.created" and events[-1].type == "response.incomplete"
    tool = {"type": "function", **TOOLS[0]["function"]}
    r = client.responses.create(model=MODEL, input="Rain?", tools=[tool], tool_choice="required", parallel_tool_calls=False, max_output_tokens=120)
    call = r.output[0]
    assert r.status == "completed" and call.type == "function_call" and call.name == "get_weather"
    with client.responses.stream(model=MODEL, input="Rain?", tools=[tool], tool_choice="required", parallel_tool_calls=False, max_output_tokens=120) as s:
        kinds = [e.type for e in s]
        assert s.get_final_response().output[0].type == "function_call"
    assert "response.function_call_arguments.delta" in kinds and kinds[-1] == "response.completed"
    back = [{"role": "user", "content": "Rain?"}, call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "No."}]
    r = client.responses.create(model=MODEL, input=back, max_output_tokens=5)
    assert r.output_text
    assert client.responses.input_tokens.count(model=MODEL, input="Rain?").input_tokens > 0


def fails(kind, **args):
    try:
        client.chat.completions.create(**{"model": MODEL, "messages": TALK, **args})
    except kind as e:
        return e
    raise AssertionError(f"no {kind.__name__}")


def check_errors():
    assert fails(openai.BadRequestError, temperature=3).param == "temperature"
    assert fails(openai.NotFoundError, model="nobody").code == "model_not_found"
    long = [{"role": "user", "content": "word " * 4000}]
    assert fails(openai.BadRequestError, messages=long).code == "context_length_exceeded"
    assert fails(openai.BadRequestError, messages=[]).param == "messages"
    try:
        client.responses.create(model=MODEL, input="x", previous_response_id="resp_1")
        raise AssertionError("no error")
    except openai.BadRequestError as e:
        assert e.param == "previous_response_id"


def check_cancel():
    begin = time.time()
    stream = client.chat.completions.create(model=MODEL, messages=TALK, stream=True, max_tokens=400, extra_body={"ignore_eos": True})
    for _ in stream:
        break
    stream.close()
    assert time.time() - begin < 10
    assert client.chat.completions.create(model=MODEL, messages=TALK, max_tokens=1).choices


for name, check in list(globals().items()):
    if name.startswith("check_") and name != "check_call":
        check()
        print("ok", name[6:])
        sys.stdout.flush()
