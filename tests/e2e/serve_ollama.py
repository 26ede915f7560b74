"""Ollama's interface: lines, durations, tool calls, lists of models."""
import json
import os
import re

from serve import Server, check, run_all

NAME = "tern-stories:latest"
TALK = {"model": "tern-stories", "messages": [{"role": "user", "content": "Tell me a story."}],
        "options": {"temperature": 0, "num_predict": 10, "num_ctx": 4096, "seed": 3}}
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 12}},
                   "required": ["place"]}}}]
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
END = {"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"}


def post(s, path, body):
    status, h, data = s.ask("POST", path, body)
    return status, h, json.loads(data)


def lines(s, path, body):
    status, h, data = s.ask("POST", path, body)
    check(status == 200 and h["Content-Type"] == "application/x-ndjson", f"{status} {h}")
    check(data.endswith(b"\n"), "the last line is not whole")
    out = [json.loads(x) for x in data.decode().split("\n")[:-1]]
    for x in out:
        check(x["model"] == NAME and TIME.match(x["created_at"]), f"{x}")
    check([x["done"] for x in out] == [False] * (len(out) - 1) + [True], "done")
    check(END <= set(out[-1]) and not END & set(out[0]), f"{out[-1]}")
    check(all(isinstance(out[-1][k], int) and out[-1][k] >= 0 for k in END), f"{out[-1]}")
    return out


def chat():
    with Server() as s:
        status, h, got = post(s, "/api/chat", dict(TALK, stream=False))
        check(status == 200 and h["Content-Type"] == "application/json", f"{status} {h}")
        check(got["model"] == NAME and got["done"] is True and got["done_reason"] == "length", f"{got}")
        check(got["message"]["role"] == "assistant" and got["message"]["content"], f"{got}")
        check(got["eval_count"] == 10 and END <= set(got) and got["total_duration"] > got["eval_duration"], f"{got}")
        out = lines(s, "/api/chat", TALK)  # streams unless told otherwise
        check("".join(x["message"]["content"] for x in out) == got["message"]["content"], f"{out}")
        check(out[-1]["message"] == {"role": "assistant", "content": ""}, f"{out[-1]}")
        check(out[-1]["prompt_eval_count"] == got["prompt_eval_count"], f"{out[-1]}")
        _, _, again = post(s, "/api/chat", dict(TALK, stream=False, model=NAME, keep_alive="5m", think=False))
        check(again["message"] == got["message"], f"{again}")
        _, _, more = post(s, "/api/chat", dict(TALK, stream=False, messages=[
            {"role": "system", "content": "Be brief."}] + TALK["messages"]))
        check(more["prompt_eval_count"] > got["prompt_eval_count"], f"{more}")
        _, _, load = post(s, "/api/chat", {"model": NAME, "messages": []})
        check(load["done"] is True and load["done_reason"] == "load" and load["message"]["content"] == "", f"{load}")
        _, _, got = post(s, "/api/chat", dict(TALK, stream=False, logprobs=True, top_logprobs=2))
        check(len(got["logprobs"]) == 10 and len(got["logprobs"][0]["top_logprobs"]) == 2, f"{got}")
        check("".join(t["token"] for t in got["logprobs"]) == got["message"]["content"], f"{got}")


THINKING = """{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% if enable_thinking %}<think>
{% endif %}{% endif %}"""


def thinking():
    with Server("--chat-template", THINKING) as s:
        _, _, got = post(s, "/api/chat", dict(TALK, stream=False, think=True))
        check(got["message"]["thinking"] and got["message"]["content"] == "", f"{got}")
        out = lines(s, "/api/chat", dict(TALK, think="high"))
        check("".join(x["message"].get("thinking", "") for x in out) == got["message"]["thinking"], f"{out}")
        _, _, got = post(s, "/api/chat", dict(TALK, stream=False, think=False))
        check("thinking" not in got["message"] and got["message"]["content"], f"{got}")
        out = lines(s, "/api/generate", {"model": NAME, "prompt": "Hi", "think": True,
                                         "options": {"num_predict": 5, "temperature": 0}})
        check("".join(x.get("thinking", "") for x in out) and not "".join(x["response"] for x in out), f"{out}")
        _, _, got = post(s, "/api/show", {"model": NAME})
        check("thinking" in got["capabilities"], f"{got}")
        check(got["license"] == "MIT", f"{got}")


def stops():
    with Server() as s:
        _, _, got = post(s, "/api/chat", dict(TALK, stream=False, options={"temperature": 0, "num_predict": 40}))
        word = got["message"]["content"].split()[3]
        _, _, cut = post(s, "/api/chat", dict(TALK, stream=False, options={
            "temperature": 0, "num_predict": 40, "stop": [word]}))
        text = got["message"]["content"]
        check(cut["done_reason"] == "stop" and cut["message"]["content"] == text[:text.index(word)], f"{cut}")


def formats():
    with Server() as s:
        schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"],
                  "additionalProperties": False}
        o = {"temperature": 0, "num_predict": 60}
        _, _, got = post(s, "/api/chat", dict(TALK, stream=False, format=schema, options=o))
        check(isinstance(json.loads(got["message"]["content"])["age"], int), f"{got}")
        out = lines(s, "/api/generate", {"model": NAME, "prompt": "Hi", "format": schema, "options": o})
        check(isinstance(json.loads("".join(x["response"] for x in out))["age"], int), f"{out}")
        _, _, got = post(s, "/api/chat", dict(TALK, stream=False, format="json",
                                              options={"temperature": 0, "num_predict": 100}))
        check(got["done_reason"] == "length" or isinstance(json.loads(got["message"]["content"]), dict), f"{got}")
        check(got["message"]["content"].lstrip().startswith("{"), f"{got}")
        _, _, got = post(s, "/api/chat", dict(TALK, stream=False, format=""))
        check(got["done"] is True, f"{got}")


def tools():
    with Server() as s:
        ask = dict(TALK, tools=TOOLS, options={"temperature": 0, "num_predict": 60})
        status, _, got = post(s, "/api/chat", dict(ask, stream=False))
        check(status == 200, f"{got}")  # it may call, or not
        for c in got["message"].get("tool_calls", []):
            check(isinstance(c["function"]["arguments"], dict), f"{c}")
        talk = TALK["messages"] + [
            {"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "get_weather", "arguments": {"place": "here"}}}]},
            {"role": "tool", "content": "rain", "tool_name": "get_weather"}]
        status, _, got = post(s, "/api/chat", dict(ask, messages=talk, stream=False))
        check(status == 200, f"{got}")


def generate():
    with Server() as s:
        o = {"temperature": 0, "num_predict": 8}
        _, _, got = post(s, "/api/generate", {"model": NAME, "prompt": "Hi", "stream": False, "options": o})
        check(got["response"] and got["done_reason"] == "length" and END <= set(got), f"{got}")
        out = lines(s, "/api/generate", {"model": NAME, "prompt": "Hi", "options": o})
        check("".join(x["response"] for x in out) == got["response"], f"{out}")
        check(out[-1]["context"] == got["context"], f"{out[-1]}")
        _, _, talk = post(s, "/api/chat", dict(TALK, stream=False, options=o,
                                               messages=[{"role": "user", "content": "Hi"}]))
        check(talk["message"]["content"] == got["response"], f"{talk}")
        # it goes on where it ended: what it has read so far counts
        _, _, more = post(s, "/api/generate", {"model": NAME, "prompt": "And?", "stream": False, "options": o,
                                               "context": got["context"]})
        check(more["prompt_eval_count"] > len(got["context"]), f"{more}")
        check(more["context"][:len(got["context"])] == got["context"], f"{more}")
        _, _, raw = post(s, "/api/generate", {"model": NAME, "prompt": "Hi", "raw": True, "stream": False,
                                              "options": o})
        _, _, plain = post(s, "/completion", {"prompt": "Hi", "temperature": 0, "n_predict": 8})
        check(raw["response"] == plain["content"] and "context" not in raw, f"{raw} {plain}")
        _, _, with_system = post(s, "/api/generate", {"model": NAME, "prompt": "Hi", "system": "Be brief.",
                                                      "stream": False, "options": o})
        check(with_system["prompt_eval_count"] > got["prompt_eval_count"], f"{with_system}")
        _, _, load = post(s, "/api/generate", {"model": NAME})
        check(load["done_reason"] == "load" and load["response"] == "", f"{load}")


def models():
    with Server() as s:
        for method in ("GET", "HEAD"):
            status, h, data = s.ask(method, "/api/tags")
            check(status == 200 and (data == b"") == (method == "HEAD"), f"{status}")
        check(s.ask("HEAD", "/")[0] == 200, "clients look whether somebody is there")
        m = json.loads(s.ask("GET", "/api/tags")[2])["models"][0]
        check(m["name"] == m["model"] == NAME and m["size"] == os.path.getsize("models/tern-stories.gguf") and len(m["digest"]) >= 12, f"{m}")
        check(m["details"]["format"] == "gguf" and m["details"]["family"] == "bitnet-b1.58", f"{m}")
        check(TIME.match(m["modified_at"]), f"{m}")
        p = json.loads(s.ask("GET", "/api/ps")[2])["models"][0]
        check(p["name"] == NAME and p["size_vram"] == 0 and p["context_length"] == 512, f"{p}")
        check(TIME.match(p["expires_at"]), f"{p}")
        v = json.loads(s.ask("GET", "/api/version")[2])
        check(re.match(r"^\d+\.\d+\.\d+$", v["version"]), f"{v}")
        for body in ({"model": NAME}, {"name": "tern-stories"}, {"model": NAME, "verbose": True}):
            status, _, got = post(s, "/api/show", body)
            check(status == 200 and got["capabilities"] == ["completion", "tools", "embedding"], f"{status} {got}")
            check("<|assistant|>" in got["template"], f"{got}")
            info = got["model_info"]
            check(info["general.architecture"] == "bitnet-b1.58" and
                  info["bitnet-b1.58.context_length"] == 512, f"{info}")
        for path in ("/api/pull", "/api/create", "/api/push", "/api/copy"):
            status, _, got = post(s, path, {"model": "zebra"})
            check(status == 501 and isinstance(got["error"], str) and "zebra" not in got["error"], f"{status} {got}")
        status, _, got = s.ask("DELETE", "/api/delete", {"model": "zebra"})
        check(status == 501, f"{status}")


def vectors():
    with Server() as s:
        _, _, one = post(s, "/api/embed", {"model": NAME, "input": "Lily"})
        check(len(one["embeddings"]) == 1 and len(one["embeddings"][0]) == 256, "shape")
        check(abs(sum(x * x for x in one["embeddings"][0]) - 1) < 1e-5, "length")
        check(one["prompt_eval_count"] > 0 and one["total_duration"] > 0 and one["model"] == NAME, f"{one['model']}")
        _, _, two = post(s, "/api/embed", {"model": NAME, "input": ["Tom", "Lily"], "keep_alive": 0})
        check(two["embeddings"][1] == one["embeddings"][0], "a text's vector depends on others")
        _, _, short = post(s, "/api/embed", {"model": NAME, "input": "Lily", "dimensions": 8})
        check(len(short["embeddings"][0]) == 8, "dimensions")
        long = "Once upon a time " * 400
        status, _, got = post(s, "/api/embed", {"model": NAME, "input": long})
        check(status == 200 and len(got["embeddings"]) == 1, f"{status}")
        status, _, got = post(s, "/api/embed", {"model": NAME, "input": long, "truncate": False})
        check(status == 400, f"{status} {got}")
        status, _, old = post(s, "/api/embeddings", {"model": NAME, "prompt": "Lily"})
        check(status == 200 and len(old["embedding"]) == 256, f"{status}")


def errors():
    with Server() as s:
        cases = [("/api/chat", dict(TALK, messages=[{"role": "zebra", "content": "a"}]), "messages[0]"),
                 ("/api/chat", dict(TALK, messages=[{"content": "a"}]), "messages[0].role"),
                 ("/api/chat", dict(TALK, messages=[{"role": "user", "content": 3}]), "messages[0].content"),
                 ("/api/chat", dict(TALK, messages=[{"role": "user", "content": "a", "images": ["zebra"]}]), "images"),
                 ("/api/chat", dict(TALK, format="zebra"), "format"), ("/api/chat", dict(TALK, think="zebra"), "think"),
                 ("/api/chat", dict(TALK, options={"temperature": "zebra"}), "options.temperature"),
                 ("/api/chat", dict(TALK, options={"mirostat": 1}), "mirostat"),
                 ("/api/chat", dict(TALK, options=3), "options"),
                 ("/api/generate", {"prompt": "a", "suffix": "zebra"}, "suffix"),
                 ("/api/generate", {"prompt": "a", "template": "zebra"}, "template"),
                 ("/api/generate", {"prompt": "a", "images": ["zebra"]}, "images"),
                 ("/api/generate", {"prompt": "a", "context": ["zebra"]}, "token ids"),
                 ("/api/generate", {"prompt": 3}, "prompt"), ("/api/embed", {}, "input"),
                 ("/api/chat", dict(TALK, messages=[{"role": "user", "content": "Once upon " * 600}]), "512")]
        for path, body, where in cases:
            status, _, e = post(s, path, body)
            check(status == 400 and set(e) == {"error"} and where in e["error"], f"{path} {body}: {status} {e}")
            check("zebra" not in json.dumps(e), f"input comes back: {e}")
        for path in ("/api/chat", "/api/generate", "/api/show", "/api/embed"):
            status, _, e = post(s, path, dict(TALK, model="zebra", prompt="a", input="a"))
            check(status == 404 and set(e) == {"error"} and "zebra" not in e["error"], f"{path}: {status} {e}")


run_all([chat, thinking, stops, formats, tools, generate, models, vectors, errors])
