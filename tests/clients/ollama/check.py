"""The Python package `ollama` against a server: what its users write, and what they expect back."""
import asyncio
import json
import os

import ollama
from pydantic import BaseModel

client = ollama.Client(host=os.environ["TERN_URL"])
NAME = client.list().models[0].model
assert NAME == "tern-stories:latest", NAME
talk = [{"role": "user", "content": "Tell me a story."}]
sure = {"temperature": 0, "num_predict": 12}

r = client.chat(model="tern-stories", messages=talk, options=sure)
assert r.message.role == "assistant" and r.message.content and r.done and r.done_reason == "length", r
assert r.eval_count == 12 and r.prompt_eval_count > 0 and r.total_duration >= r.eval_duration > 0, r
parts = list(client.chat(model=NAME, messages=talk, options=sure, stream=True))
assert "".join(p.message.content for p in parts) == r.message.content, parts
assert parts[-1].done and not parts[0].done and parts[-1].eval_count == 12

g = client.generate(model=NAME, prompt="Tell me a story.", options=sure)
assert g.response == r.message.content, (g, r)
assert "".join(p.response for p in client.generate(model=NAME, prompt="Tell me a story.", options=sure,
                                                   stream=True)) == g.response
more = client.generate(model=NAME, prompt="And then?", context=g.context, options=sure)
assert more.prompt_eval_count > len(g.context), more
assert client.generate(model=NAME, prompt="Once", raw=True, options=sure).response


class Person(BaseModel):
    age: int
    grown: bool


r = client.chat(model=NAME, messages=talk, format=Person.model_json_schema(),
                options={"temperature": 0, "num_predict": 80})
Person.model_validate_json(r.message.content)
r = client.chat(model=NAME, messages=talk, format="json", options={"temperature": 0, "num_predict": 200})
assert r.done_reason == "length" or isinstance(json.loads(r.message.content), dict), r


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
      a: one
      b: the other
    """
    return a + b


r = client.chat(model=NAME, messages=talk, tools=[add], options={"temperature": 0, "num_predict": 60})
for call in r.message.tool_calls or []:
    assert call.function.name == "add" and set(call.function.arguments) == {"a", "b"}, call
talk2 = talk + [{"role": "assistant", "content": "", "tool_calls": [
    {"function": {"name": "add", "arguments": {"a": 1, "b": 2}}}]},
    {"role": "tool", "tool_name": "add", "content": "3"}]
assert client.chat(model=NAME, messages=talk2, tools=[add], options=sure).done

lp = client.chat(model=NAME, messages=talk, options=sure, logprobs=True, top_logprobs=3)
assert len(lp.logprobs) == 12 and len(lp.logprobs[0].top_logprobs) == 3

e = client.embed(model=NAME, input=["Lily", "Tom"])
assert len(e.embeddings) == 2 and len(e.embeddings[0]) == 256
assert len(client.embeddings(model=NAME, prompt="Lily").embedding) == 256

s = client.show(NAME)
assert "completion" in s.capabilities and s.modelinfo["general.architecture"] == "bitnet-b1.58", s
assert "<|assistant|>" in s.template
p = client.ps().models[0]
assert p.name == NAME and p.size_vram == 0 and p.context_length == 512 and p.expires_at.year > 2100, p

for call, status in [(lambda: client.chat(model="none", messages=talk), 404),
                     (lambda: client.generate(model=NAME, prompt="a", suffix="b"), 400),
                     (lambda: client.chat(model=NAME, messages=[{"role": "user", "content": "Once upon " * 600}]), 400),
                     (lambda: client.pull("none"), 501), (lambda: client.delete("none"), 501)]:
    try:
        call()
        raise AssertionError("that was taken")
    except ollama.ResponseError as e:
        assert e.status_code == status and isinstance(e.error, str) and e.error, (status, e)


async def many():
    c = ollama.AsyncClient(host=os.environ["TERN_URL"])
    got = await asyncio.gather(*[c.chat(model=NAME, messages=talk, options=sure) for _ in range(8)])
    assert len({g.message.content for g in got}) == 1
    text = ""
    async for part in await c.chat(model=NAME, messages=talk, options=sure, stream=True):
        text += part.message.content
    assert text == got[0].message.content


asyncio.run(many())
print("ollama (Python): ok")
