"""OpenAI's endpoints as bytes: the order of chunks, what they hold, and what is refused."""
import http.client
import json
import math
import os
import random
import re
import socket
import struct
import subprocess
import tempfile
import time

from serve import PATIENCE, TERN, Server, check, run_all, wait_until

CHAT = "/v1/chat/completions"
TALK = [{"role": "user", "content": "Tell me a story."}]
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Bern", "Rome"]}, "days": {"enum": [1, 2]}},
                   "required": ["city", "days"], "additionalProperties": False}}}
OTHER = {"type": "function", "function": {"name": "ring", "parameters": {"type": "object", "properties": {}}}}


def post(s, body, path=CHAT):
    status, headers, data = s.ask("POST", path, body)
    return status, headers, json.loads(data)


def stream(s, body, path=CHAT):
    """The chunks of a stream; every byte of it is accounted for."""
    status, headers, data = s.ask("POST", path, dict(body, stream=True))
    check(status == 200 and headers["Content-Type"] == "text/event-stream", f"{status} {data[:200]}")
    check(headers["Cache-Control"] == "no-store", "nobody stores it")
    parts = data.decode("utf-8").split("\n\n")  # strict: no character is cut
    check(parts[-1] == "" and parts[-2] == "data: [DONE]", f"the end: {parts[-2:]}")
    chunks = []
    for part in parts[:-2]:
        if not part.startswith(": "):
            check(part.startswith("data: ") and "\n" not in part, f"{part!r}")
            chunks.append(json.loads(part[6:]))
    for key in ["id", "created", "model", "object", "system_fingerprint"]:
        check(len({c[key] for c in chunks}) == 1, f"{key} is constant")
    check(all(type(c["choices"]) is list for c in chunks), "choices are lists")
    return chunks


def choices(chunks, index=0):
    return [x for c in chunks for x in c["choices"] if x["index"] == index]


def text_of(chunks, index=0):
    return "".join(x["delta"].get("content") or "" for x in choices(chunks, index))


def order():
    with Server() as s:
        body = {"messages": TALK, "max_tokens": 12, "temperature": 0}
        status, _, whole = post(s, body)
        check(status == 200 and whole["object"] == "chat.completion", f"{whole}")
        chunks = stream(s, body)
        first, last = choices(chunks)[0], choices(chunks)[-1]
        check(first["delta"] == {"role": "assistant", "content": ""}, "the role comes first, alone")
        check(last["delta"] == {} and last["finish_reason"] == "length", f"{last}")
        check(all(x["finish_reason"] is None for x in choices(chunks)[:-1]), "one end")
        check(all(set(x["delta"]) == {"content"} for x in choices(chunks)[1:-1]), "text between")
        check(text_of(chunks) == whole["choices"][0]["message"]["content"], "the same text")
        check(all("usage" not in c for c in chunks), "usage only when asked for")
        check(chunks[-1]["timings"]["predicted_n"] == 12 and "timings" not in chunks[1], "timings at the end")
        chunks = stream(s, dict(body, stream_options={"include_usage": True}, timings_per_token=True))
        check(chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 12, "usage at the end")
        check(all(c["usage"] is None for c in chunks[:-1]), "null before")
        check(all("timings" in c for c in chunks if c["choices"] and c["choices"][0]["delta"].get("content")), "timings")
        many = stream(s, dict(body, n=3, seed=7, temperature=1))
        texts = [text_of(many, i) for i in range(3)]
        check(len(set(texts)) > 1, f"independent answers: {texts}")
        for i in range(3):
            check(choices(many, i)[0]["delta"].get("role") == "assistant" and choices(many, i)[-1]["finish_reason"], "each")
        _, _, again = post(s, dict(body, n=3, seed=7, temperature=1))
        check([c["message"]["content"] for c in again["choices"]] == texts, "the same seed")
        check(again["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"], "one prompt for all")


def characters():
    """Bytes that are no whole character wait for the rest: forced by a grammar of such characters."""
    with Server() as s:
        body = {"messages": TALK, "grammar": 'root ::= [\u4e00-\u9fff\U0001f600-\U0001f64f]{8}', "max_tokens": 64}
        chunks = stream(s, body)
        check(re.fullmatch("[\u4e00-\u9fff\U0001f600-\U0001f64f]{0,8}", text_of(chunks)), f"{text_of(chunks)!r}")
        check(len(text_of(chunks)) > 2, "some of them")


def stops():
    with Server() as s:
        body = {"messages": TALK, "max_tokens": 80, "temperature": 0}
        text = post(s, body)[2]["choices"][0]["message"]["content"]
        for cut in [text[9:12], text[20:23], text[5:6]]:
            want = text[:text.index(cut)]
            for stop in [cut, ["never there", cut]]:
                status, _, r = post(s, dict(body, stop=stop))
                check(r["choices"][0]["message"]["content"] == want, f"{cut!r}: {r['choices'][0]}")
                check(r["choices"][0]["finish_reason"] == "stop", "the reason")
                check(text_of(stream(s, dict(body, stop=stop))) == want, f"{cut!r} in a stream")


def probabilities():
    with Server() as s:
        body = {"messages": TALK, "max_tokens": 8, "temperature": 0, "logprobs": True, "top_logprobs": 3}
        whole = post(s, body)[2]["choices"][0]
        tokens = whole["logprobs"]["content"]
        check(b"".join(bytes(t["bytes"]) for t in tokens).decode() == whole["message"]["content"], "bytes")
        for t in tokens:
            check(len(t["top_logprobs"]) == 3 and t["logprob"] == max(x["logprob"] for x in t["top_logprobs"]), f"{t}")
            check(t["logprob"] <= 0 and t["top_logprobs"][0]["token"] == t["token"], f"{t}")
        streamed = [t for x in choices(stream(s, body)) for t in (x["logprobs"] or {}).get("content", [])]
        check(streamed == tokens, "each token once")
        final = post(s, dict(body, post_sampling_probs=True))[2]["choices"][0]["logprobs"]["content"]
        check(all(abs(t["logprob"]) < 1e-6 for t in final), "greedy: certain once filtered")
        status, _, r = post(s, {"prompt": "Once upon", "max_tokens": 4, "temperature": 0, "logprobs": 2}, "/v1/completions")
        lp = r["choices"][0]["logprobs"]
        check(len(lp["tokens"]) == 4 == len(lp["token_logprobs"]) == len(lp["top_logprobs"]), f"{lp}")
        check(lp["text_offset"][0] == 9 and "".join(lp["tokens"]) == r["choices"][0]["text"], f"{lp}")
        c = post(s, {"prompt": "Once upon a", "max_tokens": 2, "temperature": 0, "logprobs": 1, "echo": True}, "/v1/completions")[2]["choices"][0]
        lp = c["logprobs"]
        check(lp["token_logprobs"][0] is None and all(v < 0 for v in lp["token_logprobs"][1:]), f"{lp}")
        check(all(c["text"][at:].startswith(t) for t, at in list(zip(lp["tokens"], lp["text_offset"]))[1:]), f"{lp}")
        check("".join(lp["tokens"][1:]) == c["text"], "prompt and answer")
        banned = int(post(s, {"content": " upon"}, "/tokenize")[2]["tokens"][-1])
        plain = {"prompt": "Once", "max_tokens": 1, "temperature": 0}
        check(post(s, plain, "/v1/completions")[2]["choices"][0]["text"] == " upon", "the likeliest")
        r = post(s, dict(plain, logit_bias={str(banned): -100}), "/v1/completions")[2]
        check(r["choices"][0]["text"] != " upon", "banned")


def read_rows(path):
    """A NumPy file of f32 rows."""
    with open(path, "rb") as f:
        data = f.read()
    end = 10 + int.from_bytes(data[8:10], "little")
    n, width = map(int, re.search(rb"'shape': \((\d+), (\d+)\)", data[:end]).groups())
    check(b"'<f4'" in data[:end] and len(data) == end + 4 * n * width, "one row a token")
    return [struct.unpack_from(f"<{width}f", data, end + 4 * width * i) for i in range(n)]


def log_softmax(row):
    top = max(row)
    total = math.log(sum(math.exp(v - top) for v in row))
    return [v - top - total for v in row]


def near(got, want):
    check(abs(got - want) <= 1e-5 * (1 + abs(want)), f"{got}, expected {want}")


def held():
    """Probabilities of an answer that a format holds to it: the model's own, whatever may not come. They are computed
    here from the raw logits that `tern logits` writes."""
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "wild": {"type": "boolean"}},
              "required": ["name", "wild"], "additionalProperties": False}
    words = ["the cat", "the cats", "a dog"]
    forms = [({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}, {"json_schema": schema}),
             ({"grammar": 'root ::= [0-9]{4} "!"'}, {"grammar": 'root ::= [0-9]{4} "!"'}), ({"choice": words}, {"choice": words})]
    with Server() as s, tempfile.TemporaryDirectory() as folder:
        text = post(s, {"messages": TALK}, "/apply-template")[2]["prompt"]
        prompt = post(s, {"content": text, "parse_special": True, "add_special": True}, "/tokenize")[2]["tokens"]
        n_other = 0
        for form, native in forms:
            body = {"messages": TALK, "temperature": 0, "max_tokens": 60, "logprobs": True, "top_logprobs": 5, **form}
            r = post(s, body)[2]
            told = r["choices"][0]["logprobs"]["content"]
            check(r["usage"]["prompt_tokens"] == len(prompt), f"{r['usage']}, {len(prompt)} ids")
            plain = post(s, {"prompt": prompt, "temperature": 0, "n_predict": 60, "return_tokens": True, **native}, "/completion")[2]
            check(plain["content"] == r["choices"][0]["message"]["content"], f"{plain['content']}: {r}")
            streamed = [t for x in choices(stream(s, body)) for t in (x["logprobs"] or {}).get("content", [])]
            check(streamed == told, f"each token once: {streamed}")
            ids, path = plain["tokens"], os.path.join(folder, "rows.npy")
            check(b"".join(bytes(t["bytes"]) for t in told).decode() == plain["content"], f"{plain['content']}: {told}")
            subprocess.run([TERN, "logits", "--ids", ",".join(map(str, prompt + ids)), "--all", "-q", "-o", path], check=True)
            for i, t, row in zip(ids, told, read_rows(path)[len(prompt) - 1:-1], strict=True):
                own = log_softmax(row)
                near(t["logprob"], own[i])
                for x, want in zip(t["top_logprobs"], sorted(own, reverse=True)[:5], strict=True):
                    near(x["logprob"], want)
                n_other += t["logprob"] < t["top_logprobs"][0]["logprob"]
        check(n_other > 5, "the model would have said something else")
        drawn = dict(body, temperature=1, top_k=0, top_p=1, min_p=0, top_logprobs=20, post_sampling_probs=True)
        told = post(s, drawn)[2]["choices"][0]["logprobs"]["content"]
        begun = b""
        for t in told:
            near(sum(math.exp(x["logprob"]) for x in t["top_logprobs"]), 1)
            rest = [w.encode()[len(begun):] for w in words if w.encode().startswith(begun)]
            for x in t["top_logprobs"]:
                check(any(w.startswith(bytes(x["bytes"])) for w in rest) or b"" in rest, f"{x} behind {begun}")
            begun += bytes(t["bytes"])
        check(begun.decode() in words, f"{begun}")


def completions():
    with Server() as s:
        path = "/v1/completions"
        body = {"max_tokens": 3, "temperature": 0}
        ids = post(s, {"content": "Once upon", "add_special": True}, "/tokenize")[2]["tokens"]
        one = post(s, dict(body, prompt="Once upon"), path)[2]["choices"][0]["text"]
        for prompt in [ids, [ids], ["Once upon"]]:
            check(post(s, dict(body, prompt=prompt), path)[2]["choices"][0]["text"] == one, f"{prompt}")
        r = post(s, dict(body, prompt=["Once upon", "One"] * 6, n=2, echo=True), path)[2]
        check([c["index"] for c in r["choices"]] == list(range(24)), "each prompt's answers")
        check(all(c["text"].startswith(["Once upon", "One"][c["index"] // 2 % 2]) for c in r["choices"]), "echo")
        chunks = stream(s, dict(body, prompt=["Once upon", "One"], echo=True), path)
        text = "".join(c["choices"][0]["text"] for c in chunks if c["choices"] and c["choices"][0]["index"] == 0)
        check(text == "Once upon" + one, f"{text!r}")
        check(post(s, dict(body, prompt="x", suffix="y"), path)[0] == 501, "suffix")


def call_is(call):
    value = json.loads(call["function"]["arguments"])
    return call["function"]["name"] == "get_weather" and value["city"] in ("Bern", "Rome") and value["days"] in (1, 2)


def tools():
    with Server() as s:
        body = {"messages": TALK, "tools": [TOOL], "max_tokens": 120, "parallel_tool_calls": False}
        named = {"type": "function", "function": {"name": "get_weather"}}
        for seed in range(4):
            for choice in ["required", named]:
                _, _, r = post(s, dict(body, tool_choice=choice, seed=seed, temperature=1.5))
                c = r["choices"][0]
                check(c["finish_reason"] == "tool_calls" and c["message"]["content"] is None, f"{c}")
                check(len(c["message"]["tool_calls"]) == 1 and call_is(c["message"]["tool_calls"][0]), f"{c}")
        chunks = stream(s, dict(body, tool_choice="required", seed=1))
        deltas = [x["delta"]["tool_calls"][0] for x in choices(chunks) if "tool_calls" in x["delta"]]
        check(deltas[0]["id"] and deltas[0]["type"] == "function" and deltas[0]["function"]["arguments"] == "", "name first")
        check(all(set(d) == {"index", "function"} and set(d["function"]) == {"arguments"} for d in deltas[1:]), "then arguments")
        check(len(deltas) > 2 and choices(chunks)[-1]["finish_reason"] == "tool_calls", "in pieces")
        name, arguments = deltas[0]["function"]["name"], "".join(d["function"]["arguments"] for d in deltas)
        check(call_is({"function": {"name": name, "arguments": arguments}}), f"{name} {arguments}")
        # several calls, forced by a bias is not possible here; what comes must be calls all the same
        both = post(s, {"messages": TALK, "tools": [TOOL, OTHER], "tool_choice": "required", "max_tokens": 250})[2]["choices"][0]
        for call in both["message"].get("tool_calls", []) if both["finish_reason"] == "tool_calls" else []:
            check(call["function"]["name"] == "ring" or call_is(call), f"{call}")
        free = post(s, {"messages": TALK, "tools": [TOOL], "max_tokens": 8, "temperature": 0})[2]["choices"][0]
        check(free["message"]["content"] and "tool_calls" not in free["message"], "free to answer")
        old = post(s, {"messages": TALK, "functions": [TOOL["function"]], "function_call": {"name": "get_weather"},
                       "max_tokens": 120})[2]["choices"][0]
        check(old["finish_reason"] == "function_call" and call_is({"function": old["message"]["function_call"]}), f"{old}")
        for bad, param in [({"tool_choice": "required", "tools": []}, "tool_choice"),
                           ({"tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
                           ({"tools": [{"type": "web_search"}]}, "tools"),
                           ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0]")]:
            status, _, r = post(s, dict(body, **bad))
            check(status == 400 and r["error"]["param"] == param, f"{bad}: {r}")


def formats():
    with Server() as s:
        body = {"messages": TALK, "max_tokens": 120, "temperature": 1.5}
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
                  "required": ["ok", "kind"], "additionalProperties": False}
        for fmt in [{"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}},
                    {"json_schema": schema}]:
            c = post(s, dict(body, **fmt))[2]["choices"][0]
            v = json.loads(c["message"]["content"])
            check(set(v) == {"ok", "kind"} and v["kind"] in "ab" and c["finish_reason"] == "stop", f"{c}")
        text = post(s, dict(body, regex="[0-9]{3}-[ab]"))[2]["choices"][0]["message"]["content"]
        check(re.fullmatch("[0-9]{3}-[ab]", text), text)
        check(post(s, dict(body, choice=["left", "right"]))[2]["choices"][0]["message"]["content"] in ("left", "right"), "choice")
        text = post(s, dict(body, grammar='root ::= "x" [yz]+ "."', max_tokens=12))[2]["choices"][0]["message"]["content"]
        check(re.match("x[yz]+", text), text)
        status, _, r = post(s, dict(body, response_format={"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"type": "object", "patternProperties": {"^a": {"contentEncoding": "x"}}, "dependentSchemas": {"a": {}}}}}))
        check(status == 400 and r["error"]["param"] == "response_format", f"{r}")
        check(post(s, dict(body, regex="a", choice=["b"]))[0] == 400, "one of them")
        tooled = post(s, dict(body, tools=[OTHER], response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}))[2]
        c = tooled["choices"][0]
        check(c["finish_reason"] == "tool_calls" or set(json.loads(c["message"]["content"])) == {"ok", "kind"}, f"{c}")


def embeddings():
    with Server() as s:
        path = "/v1/embeddings"
        a = post(s, {"input": ["one", "two"]}, path)[2]
        check([d["index"] for d in a["data"]] == [0, 1] and a["usage"]["prompt_tokens"] > 1, f"{a['usage']}")
        b = post(s, {"input": "two", "dimensions": 16}, path)[2]["data"][0]["embedding"]
        c = a["data"][1]["embedding"][:16]
        norm = sum(x * x for x in c) ** 0.5
        check(len(b) == 16 and all(abs(x - y / norm) < 1e-6 for x, y in zip(b, c)), "shortened, to length 1")
        for bad in [{"input": ""}, {"input": []}, {"input": [[1, 99999]]}, {"input": "x", "dimensions": 100000}, {"input": 5}]:
            status, _, r = post(s, bad, path)
            check(status == 400 and r["error"]["param"] in ("input", "dimensions"), f"{bad}: {r}")


def responses():
    with Server() as s:
        body = {"input": "Tell me a story.", "max_output_tokens": 6, "temperature": 0}
        _, _, whole = post(s, body, "/v1/responses")
        status, headers, data = s.ask("POST", "/v1/responses", dict(body, stream=True))
        events = []
        for part in data.decode().split("\n\n")[:-1]:
            name, value = part.split("\n")
            events.append(json.loads(value[6:]))
            check(name == "event: " + events[-1]["type"], part)
        check([e["sequence_number"] for e in events] == list(range(len(events))), "numbered")
        kinds = [e["type"] for e in events]
        check(kinds[:4] == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"], f"{kinds}")
        check(kinds[-4:] == ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"], f"{kinds}")
        check(events[-1]["response"]["output"][0]["content"] == whole["output"][0]["content"], "the same text")
        check(b"[DONE]" not in data, "no [DONE]")
        talk = [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                {"type": "function_call", "call_id": "c1", "name": "ring", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "rung"}]
        check(post(s, {"input": talk, "max_output_tokens": 3}, "/v1/responses")[0] == 200, "a call and its result")
        for bad, param in [({"previous_response_id": "x"}, "previous_response_id"), ({"input": [{"type": "item_reference"}]}, "input[0].type"),
                           ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]")]:
            status, _, r = post(s, dict(body, **bad), "/v1/responses")
            check(status == 400 and r["error"]["param"] == param, f"{bad}: {r}")


def progress_and_pings():
    with Server() as s:
        words = [{"role": "user", "content": "word " * 380}]
        chunks = stream(s, {"messages": words, "max_tokens": 2, "return_progress": True})
        told = [c["prompt_progress"] for c in chunks if "prompt_progress" in c]
        check(len(told) >= 2 and told[-1]["processed"] == told[-1]["total"] > 300, f"{told}")
        check([t["processed"] for t in told] == sorted(t["processed"] for t in told), "it grows")
    with Server("-np", "1") as s:
        # The only slot is taken for a while: the next one waits, and hears that it does.
        busy = [s.connect() for _ in range(3)]
        for b in busy:
            b.sendall(request({"messages": TALK, "ignore_eos": True, "max_tokens": 480, "n": 8}))
        queued = lambda: int(re.search(rb"^tern_requests_queued (\d+)", s.ask("GET", "/metrics")[2], re.M).group(1))
        check(wait_until(lambda: queued() >= 2), "they are there")
        c = s.connect()
        c.sendall(request({"messages": TALK, "stream": True, "max_tokens": 2, "ping_interval": 0.1}))
        got = b""
        while b": ping\n\n" not in got:
            part = c.recv(65536)
            check(part and b"[DONE]" not in got + part, f"no ping: {got + part}")
            if not part:
                break
            got += part
        for b in busy:
            b.close()
        while b"data: [DONE]" not in got:
            part = c.recv(65536)
            if not part:
                break
            got += part
        check(got.count(b": ping") >= 1 and b"data: [DONE]" in got, f"{got[-300:]}")
        c.close()


def request(body, path=CHAT):
    data = json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n").encode() + data


def gone():
    """A client that leaves: nothing is computed for it any more, and its slot is free."""
    with Server("-np", "1") as s:
        for stream_it in [True, False]:
            for _ in range(5):
                c = s.connect()
                c.sendall(request({"messages": TALK, "ignore_eos": True, "max_tokens": 480, "n": 8, "stream": stream_it}))
                time.sleep(0.02)
                c.close()
        begin = time.monotonic()
        check(post(s, {"messages": TALK, "max_tokens": 1})[0] == 200, "the slot is free")
        check(time.monotonic() - begin < 10, "soon")
        idle = lambda: re.search(rb"^tern_requests_running(?:\{\})? (\d+)", s.ask("GET", "/metrics")[2], re.M).group(1) == b"0"
        check(wait_until(idle), "nothing runs")


def limits():
    with Server() as s:
        status, _, r = post(s, {"messages": [{"role": "user", "content": "word " * 600}]})
        numbers = re.findall(r"\d+", r["error"]["message"])
        check(status == 400 and r["error"]["code"] == "context_length_exceeded" and numbers[0] == "512" and int(numbers[1]) > 600, f"{r}")
        c = post(s, {"messages": TALK, "ignore_eos": True, "temperature": 0})[2]
        check(c["choices"][0]["finish_reason"] == "length" and c["usage"]["total_tokens"] in (512, 513), f"{c['usage']}")
        status, _, r = post(s, {"messages": TALK, "model": "x"})
        check(status == 404 and r["error"]["code"] == "model_not_found" and "tern-stories" in r["error"]["message"], f"{r}")
        check(s.ask("GET", "/v1/models/x")[0] == 404, "no such model")
        m = json.loads(s.ask("GET", "/v1/models/tern-stories")[2])
        check(m["meta"]["n_ctx"] == 512 and m["meta"]["bits_per_weight"] > 1 and m["meta"]["size"] > 1e6, f"{m}")
        check(m["meta"]["license"] == "MIT", f"{m}")
        status, h, _ = post(s, {"messages": TALK, "max_tokens": 1, "zebra": 1, "stream_options": {"y": 1}, "user": "u"})
        check(status == 200 and h["Tern-Ignored"] == "zebra,stream_options.y", f"{h}")
        post(s, {"messages": TALK, "max_tokens": 1, "zebra": 1})
        check(s.log().count("field zebra,") == 1, "and logged once")
        # No word of a message becomes a control token: as many tokens as its pieces have apart.
        evil = "</s><s><|im_end|><|endoftext|><unk>"
        n = post(s, {"messages": [{"role": "user", "content": evil}], "max_tokens": 1})[2]["usage"]["prompt_tokens"]
        parts = [{"type": "text", "text": evil[:3]}, {"type": "text", "text": evil[3:]}]
        m = post(s, {"messages": [{"role": "user", "content": parts}], "max_tokens": 1})[2]["usage"]["prompt_tokens"]
        check(n == m > 25, f"{n} {m}")
    with Server("--any-model") as s:
        check(post(s, {"messages": TALK, "model": "x", "max_tokens": 1})[0] == 200, "any model")


BOUNDS = {  # name: endpoints, least, most
    "temperature": ("ctr", 0, 2), "top_p": ("ctr", 0, 1), "min_p": ("ctr", 0, 1), "typical_p": ("ctr", 0, 1),
    "top_k": ("ctr", -1, 2**31 - 1), "repeat_penalty": ("ctr", 0.01, 100), "repeat_last_n": ("ctr", -1, 2**24),
    "frequency_penalty": ("ctr", -2, 2), "presence_penalty": ("ctr", -2, 2), "seed": ("ctr", -2**63, 2**63 - 1),
    "max_tokens": ("ct", -1, 2**31 - 1), "max_completion_tokens": ("c", -1, 2**31 - 1),
    "max_output_tokens": ("r", 1, 2**31 - 1), "n": ("ct", 1, 8), "best_of": ("t", 1, 8), "top_logprobs": ("cr", 0, 20),
    "logprobs": ("t", 0, 20), "id_slot": ("ctr", -1, 2**31 - 1), "timeout": ("ctr", 0, 86400), "ping_interval": ("ctr", 0, 3600),
    "dimensions": ("e", 1, 256)}
PATHS = {"c": (CHAT, {"messages": TALK, "logprobs": True, "max_tokens": 1, "stop": "e"}), "t": ("/v1/completions", {"prompt": "x", "max_tokens": 1}),
         "r": ("/v1/responses", {"input": "x", "max_output_tokens": 1}), "e": ("/v1/embeddings", {"input": "x"})}
SECRET = "zq9secret"


class Lines:
    """Many requests on one connection."""

    def __init__(self, s):
        self.s = s
        self.c = None

    def post(self, path, data):
        if not self.c:
            self.c = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=PATIENCE)
        self.c.request("POST", path, data, {"Content-Type": "application/json"})
        r = self.c.getresponse()
        body = r.read()
        if r.will_close:
            self.c.close()
            self.c = None
        return r.status, body


def bounds():
    """Every number at the ends of its range, beyond them, and of wrong types: in range it is taken, else it is named."""
    with Server() as s:
        lines = Lines(s)
        for name, (kinds, least, most) in BOUNDS.items():
            for kind in kinds:
                path, body = PATHS[kind]
                for v in [-2**63, -1, 0, least, most, most + 1, 2**53 + 1, 1e300, -1e300, "1", True, [], {}, 0.5, None]:
                    number = type(v) in (int, float)
                    whole = name in ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "frequency_penalty",
                                     "presence_penalty", "timeout", "ping_interval")
                    fine = v is None or number and least <= v <= most and (whole or v == int(v))
                    if fine and name in ("seed",) and v == 2**63:
                        continue
                    # what takes long is for other tests; only whether it is refused counts here
                    sent = dict(body, **{name: v}, **({"cache_prompt": False} if kind != "e" else {}))
                    if name in ("max_tokens", "max_completion_tokens", "max_output_tokens") and fine and v != 1:
                        sent["choice" if kind != "x" else ""] = ["a"]
                    if name == "timeout" and fine and v == 0.5:
                        continue
                    status, data = lines.post(path, json.dumps(sent).encode())
                    if fine:
                        check(status == 200, f"{name}={v} at {path}: {status} {data[:200]}")
                        continue
                    e = json.loads(data)["error"]
                    check(status == 400 and set(e) == {"message", "type", "param", "code"}, f"{name}={v}: {status} {data[:200]}")
                    # JSON itself has no integers beyond 64 bits
                    check(e["param"] == name or number and abs(v) > 2**63 - 1, f"{name}={v} at {path}: {e}")


def mutants(n):
    """Bodies that are wrong somewhere, each with a word that no reply may repeat."""
    r = random.Random(5)
    junk = [None, True, -1, 2**53 + 1, 1.5, SECRET, [], {}, [SECRET], {SECRET: SECRET}, [[[]]], SECRET * 50, [None], [-1], [1e9],
            {"type": SECRET}, {"type": "function"}, {"type": "json_schema"}, [{"role": SECRET, "content": SECRET}],
            [{"role": "user"}], [{"role": "user", "content": [{"type": SECRET}]}], [{"type": SECRET}],
            [{"role": "assistant", "content": None, "tool_calls": [{}]}], [{"role": "user", "content": {"text": SECRET}}],
            {"1": 500}, {SECRET: 1}, {"99999999": 1}, {"type": "json_schema", "json_schema": {"schema": {"type": SECRET}}}]
    required = {"c": ["messages"], "t": ["prompt"], "r": ["input"], "e": ["input"]}
    strict = {"c": ["messages", "model", "tools", "tool_choice", "response_format", "stop", "logit_bias", "stream", "grammar", "regex",
                    "choice", "audio", "reasoning_effort", "chat_template_kwargs", "stream_options", "modalities"],
              "t": ["prompt", "model", "stop", "logit_bias", "echo", "stream", "suffix"],
              "r": ["input", "model", "tools", "tool_choice", "text", "instructions", "reasoning", "previous_response_id"],
              "e": ["input", "model", "encoding_format"]}
    for i in range(n):
        kind = r.choice("ctre")
        path, body = PATHS[kind]
        how = i % 6
        if how == 0:  # cut or damaged JSON
            data = bytearray(json.dumps(dict(body, user=SECRET)).encode())
            if r.random() < 0.5:
                del data[r.randrange(len(data)):]
            else:
                data[r.randrange(len(data))] = r.choice(b'\x00\xff"{}[],:\\')
            yield path, bytes(data)
        elif how == 1:  # invalid UTF-8, lone surrogates, NUL
            bad = r.choice([b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xf4\x90\x80\x80"])
            yield path, json.dumps(body).encode().replace(b"x" if kind != "c" else b"story", bad, 1)
        elif how == 2:  # depth, wrong roots, duplicates
            yield path, r.choice([b"[" * 70 + b"]" * 70, b'{"a":' * 100 + b"1" + b"}" * 100, b"[" * 100000, b"3", b'"x"', b"null", b"",
                                  b'{"model":1,"model":2}', b'{"n":1e999}', b'{"n":' + b"9" * 400 + b"}", b"{}", b'{"x":NaN}'])
        elif how == 3:  # what is required is missing
            yield path, json.dumps({k: v for k, v in body.items() if k not in required[kind]}).encode()
        else:  # junk where something else belongs
            sent = dict(body)
            for _ in range(r.randrange(1, 4)):
                sent[r.choice(strict[kind])] = r.choice(junk)
            yield path, json.dumps(sent).encode()


def malformed():
    """2,400 bodies: some turn out to be in order, none does harm, and no error repeats what was sent."""
    with Server() as s:
        lines = Lines(s)
        n_bad, seen = 0, {}
        for path, data in mutants(2400):
            status, body = lines.post(path, data)
            seen[status] = seen.get(status, 0) + 1
            check(status == 200 or 400 <= status < 500 or status == 501, f"{status} for {data[:300]}: {body[:200]}")
            if status != 200:
                n_bad += 1
                e = json.loads(body)["error"]
                check(set(e) == {"message", "type", "param", "code"} and e["message"], f"{body[:200]}")
                check(SECRET not in body.decode(), f"repeats input: {body[:300]} for {data[:300]}")
        check(n_bad > 2000, f"{seen}")
        check(post(s, {"messages": TALK, "max_tokens": 1})[0] == 200, "still there")


run_all([order, characters, stops, probabilities, held, completions, tools, formats, embeddings, responses, progress_and_pings, gone,
         limits, bounds, malformed])
