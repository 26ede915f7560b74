"""Anthropic's Messages: bytes, the order of events, errors."""
import json
import threading

from serve import Server, check, run_all

SECRET = "a-key-that-no-other-server-has-0123"
KEYS = {"anthropic-version": "2023-06-01", "x-api-key": "none"}
TALK = {"model": "tern-stories", "max_tokens": 12, "temperature": 0,
        "messages": [{"role": "user", "content": "Tell me a story."}]}
TOOLS = [{"name": "get_weather", "description": "The weather of a place.",
          "input_schema": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 12},
                                                            "days": {"type": "integer"}},
                           "required": ["place", "days"], "additionalProperties": False}}]


def post(s, body, path="/v1/messages", headers=KEYS):
    status, h, data = s.ask("POST", path, body, headers)
    return status, h, json.loads(data)


def stream(s, body):
    """Events of a stream as (name, value)."""
    status, headers, data = s.ask("POST", "/v1/messages", dict(body, stream=True), KEYS)
    check(status == 200 and headers["Content-Type"] == "text/event-stream", f"{status} {headers}")
    check(headers["Cache-Control"] == "no-store", f"{headers}")
    check(data.endswith(b"\n\n"), "the stream does not end with an empty line")
    out = []
    for part in data.decode().split("\n\n")[:-1]:
        if part.startswith(":"):
            continue
        lines = part.split("\n")
        check(len(lines) == 2 and lines[0].startswith("event: ") and lines[1].startswith("data: "), f"{part!r}")
        name, value = lines[0][7:], json.loads(lines[1][6:])
        check(value["type"] == name, f"{name} says it is {value['type']}")
        out.append((name, value))
    return out


def names(es):
    """Names of events; those that repeat, once."""
    out = []
    for name, _ in es:
        if name != "ping" and (not out or out[-1] != name):
            out.append(name)
    return out


def rebuild(es):
    """The message that a stream tells of, and whether blocks follow one another as they should."""
    m, raw, at = None, {}, None
    for name, v in es:
        if name == "message_start":
            check(m is None, "two messages")
            m = v["message"]
            check(m["content"] == [] and m["stop_reason"] is None and m["stop_sequence"] is None, f"{m}")
        elif name == "content_block_start":
            check(at is None and v["index"] == len(m["content"]), f"{v}")
            at = v["index"]
            m["content"].append(v["content_block"])
            raw[at] = ""
        elif name == "content_block_delta":
            check(v["index"] == at, f"{v}")
            d, b = v["delta"], m["content"][at]
            if d["type"] == "text_delta":
                b["text"] += d["text"]
            elif d["type"] == "thinking_delta":
                b["thinking"] += d["thinking"]
            elif d["type"] == "input_json_delta":
                raw[at] += d["partial_json"]
            else:
                check(False, f"{d}")
        elif name == "content_block_stop":
            check(v["index"] == at, f"{v}")
            if m["content"][at]["type"] == "tool_use":
                m["content"][at]["input"] = json.loads(raw[at])
            at = None
        elif name == "message_delta":
            m.update(v["delta"])
            m["usage"].update(v["usage"])
    check(at is None, "a block stays open")
    return m


def texts(m):
    return "".join(b["text"] for b in m["content"] if b["type"] == "text")


def whole():
    with Server() as s:
        status, headers, m = post(s, TALK)
        check(status == 200 and headers["Content-Type"] == "application/json", f"{status} {headers}")
        check(list(m)[:4] == ["id", "type", "role", "model"] and m["id"].startswith("msg_"), f"{m}")
        check(m["type"] == "message" and m["role"] == "assistant" and m["model"] == "tern-stories", f"{m}")
        check([b["type"] for b in m["content"]] == ["text"] and texts(m), f"{m}")
        check(m["stop_reason"] in ("max_tokens", "end_turn") and m["stop_sequence"] is None, f"{m}")
        u = m["usage"]
        check(0 < u["output_tokens"] <= 12 and u["cache_creation_input_tokens"] == 0, f"{u}")
        _, _, n = post(s, {k: TALK[k] for k in ("model", "messages")}, "/v1/messages/count_tokens")
        check(set(n) == {"input_tokens"}, f"{n}")
        check(u["input_tokens"] + u["cache_read_input_tokens"] == n["input_tokens"], f"{u} {n}")
        # the same words in blocks, with marks for a cache, and further fields that mean nothing here
        blocks = dict(TALK, messages=[{"role": "user", "content": [
            {"type": "text", "text": "Tell me a story.", "cache_control": {"type": "ephemeral"}}]}],
            metadata={"user_id": "u"}, service_tier="auto", thinking={"type": "disabled"})
        _, _, again = post(s, blocks)
        check(texts(again) == texts(m), f"{again}")
        check(again["usage"]["cache_read_input_tokens"] + again["usage"]["input_tokens"] == n["input_tokens"],
              f"{again}")
        _, _, sys1 = post(s, dict(TALK, system="You are brief."))
        _, _, sys2 = post(s, dict(TALK, system=[{"type": "text", "text": "You are brief."}]))
        check(texts(sys1) == texts(sys2), f"{sys1} {sys2}")
        _, _, n2 = post(s, dict(TALK, system="You are brief."), "/v1/messages/count_tokens")
        check(n2["input_tokens"] > n["input_tokens"], f"{n2}")


def streamed():
    with Server() as s:
        _, _, m = post(s, TALK)
        es = stream(s, TALK)
        check(names(es) == ["message_start", "content_block_start", "content_block_delta", "content_block_stop",
                            "message_delta", "message_stop"], f"{names(es)}")
        check(es[0][1]["message"]["usage"]["output_tokens"] == 0, f"{es[0]}")
        check(es[2] == ("ping", {"type": "ping"}), f"{es[2]}")
        got = rebuild(es)
        check(texts(got) == texts(m) and got["stop_reason"] == m["stop_reason"], f"{got} {m}")
        check(got["usage"]["output_tokens"] == m["usage"]["output_tokens"], f"{got} {m}")
        u = got["usage"]
        check(u["input_tokens"] + u["cache_read_input_tokens"] ==
              m["usage"]["input_tokens"] + m["usage"]["cache_read_input_tokens"], f"{u}")


def stops():
    with Server() as s:
        _, _, m = post(s, dict(TALK, max_tokens=40))
        word = texts(m).split()[3]
        _, _, got = post(s, dict(TALK, max_tokens=40, stop_sequences=["zebra", word]))
        check(got["stop_reason"] == "stop_sequence" and got["stop_sequence"] == word, f"{got}")
        check(texts(got) == texts(m)[:texts(m).index(word)], f"{got}")
        got = rebuild(stream(s, dict(TALK, max_tokens=40, stop_sequences=["zebra", word])))
        check(got["stop_reason"] == "stop_sequence" and got["stop_sequence"] == word, f"{got}")
        _, _, got = post(s, dict(TALK, max_tokens=1))
        check(got["stop_reason"] == "max_tokens" and got["usage"]["output_tokens"] == 1, f"{got}")


def prefill():
    """An assistant's message at the end is the beginning of the answer."""
    with Server() as s:
        talk = TALK["messages"] + [{"role": "assistant", "content": "Once upon"}]
        _, _, got = post(s, dict(TALK, messages=talk))
        _, _, prompt = post(s, {"messages": TALK["messages"]}, "/apply-template", {})
        _, _, want = post(s, {"prompt": prompt["prompt"] + "Once upon", "n_predict": 12, "temperature": 0},
                          "/completion", {})
        check(texts(got) == want["content"], f"{got} {want}")


THINKING = """{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% if enable_thinking %}<think>
{% else %}<think></think>{% endif %}{% endif %}"""


def thinking():
    with Server("--chat-template", THINKING) as s:
        for kind, on in [({"type": "enabled", "budget_tokens": 1024}, True), ({"type": "adaptive"}, True),
                         ({"type": "disabled"}, False), (None, False)]:
            ask = dict(TALK, thinking=kind)
            _, _, m = post(s, ask)
            got = rebuild(stream(s, ask))
            check([b["type"] for b in m["content"]] == (["thinking"] if on else ["text"]), f"{kind}: {m}")
            check(got["content"] == m["content"], f"{got} {m}")
            n = m["usage"]["output_tokens_details"]["thinking_tokens"]
            check(n == (m["usage"]["output_tokens"] if on else 0), f"{m}")
        _, _, m = post(s, dict(TALK, thinking={"type": "adaptive", "display": "omitted"}))
        check(m["content"] == [{"type": "thinking", "thinking": "", "signature": ""}], f"{m}")
        back = TALK["messages"] + [
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""},
                                              {"type": "redacted_thinking", "data": "x"},
                                              {"type": "text", "text": "Yes."}]},
            {"role": "user", "content": "Why?"}]
        status, _, m = post(s, dict(TALK, messages=back))
        check(status == 200, f"{status} {m}")


def words():
    """What templates see of blocks: /apply-template has the same conversation as plain messages."""
    with Server() as s:
        def count(messages, **more):
            status, _, got = post(s, dict({"model": "tern-stories", "messages": messages}, **more),
                                  "/v1/messages/count_tokens")
            check(status == 200, f"{got}")
            return got["input_tokens"]

        def plain(messages):
            _, _, got = post(s, {"messages": messages}, "/apply-template", {})
            _, _, got = post(s, {"content": got["prompt"]}, "/tokenize", {})
            return len(got["tokens"])
        user = {"role": "user", "content": "Hi"}
        check(count([user]) == plain([user]), "one message")
        check(count([user], system="Be kind.") == plain([{"role": "system", "content": "Be kind."}, user]), "system")
        check(count([{"role": "system", "content": "Be kind."}, user], system="Be brief.") > count([user], system="Be brief."),
              "a second system message")
        document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}}
        check(count([{"role": "user", "content": [document]}]) == plain([user]), "a document")
        twice = count([user, user])  # one turn
        check(plain([user]) < twice < plain([user, user]), f"{twice}")
        status, headers, _ = s.ask("POST", "/v1/messages", dict(TALK, wings=2, max_tokens=1), KEYS)
        check(status == 200 and headers["Tern-Ignored"] == "wings", f"{headers}")


def tools():
    with Server() as s:
        ask = dict(TALK, tools=TOOLS, max_tokens=120)
        for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
            _, _, m = post(s, dict(ask, tool_choice=dict(choice, disable_parallel_tool_use=True)))
            calls = [b for b in m["content"] if b["type"] == "tool_use"]
            check(m["stop_reason"] == "tool_use" and len(calls) == 1, f"{m}")
            check(calls[0]["name"] == "get_weather" and calls[0]["id"].startswith("toolu_"), f"{m}")
            check(set(calls[0]["input"]) == {"place", "days"} and isinstance(calls[0]["input"]["days"], int), f"{m}")
            es = stream(s, dict(ask, tool_choice=dict(choice, disable_parallel_tool_use=True)))
            starts = [dict(v["content_block"]) for n, v in es if n == "content_block_start"]
            got = rebuild(es)
            check([b["input"] for b in got["content"] if b["type"] == "tool_use"] == [calls[0]["input"]], f"{got}")
            check(got["stop_reason"] == "tool_use", f"{got}")
            check(starts[-1]["type"] == "tool_use" and starts[-1]["input"] == {}, f"{starts}")
            check(sum(n == "content_block_delta" and v["delta"]["type"] == "input_json_delta" for n, v in es) > 1,
                  "arguments come whole")
        _, _, m = post(s, dict(ask, tool_choice={"type": "none"}))
        check(all(b["type"] == "text" for b in m["content"]), f"{m}")
        # and the way back
        call = calls[0]
        talk = TALK["messages"] + [
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, call]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call["id"], "content": "rain", "is_error": False},
                {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "sun"}]},
                {"type": "text", "text": "And now?"}]}]
        status, _, m = post(s, dict(ask, messages=talk, max_tokens=4))
        check(status == 200 and m["stop_reason"] == "max_tokens", f"{status} {m}")


def schemas():
    with Server() as s:
        schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"],
                  "additionalProperties": False}
        ask = dict(TALK, max_tokens=60, output_config={"format": {"type": "json_schema", "schema": schema}})
        _, _, m = post(s, ask)
        got = json.loads(texts(m))
        check(set(got) == {"age"} and isinstance(got["age"], int), f"{m}")


def errors():
    with Server() as s:
        user = TALK["messages"]
        cases = [
            ({"max_tokens": None}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"), ({"messages": []}, "messages"),
            ({"messages": None}, "messages"), ({"temperature": 1.5}, "temperature"), ({"system": 3}, "system"),
            ({"system": [{"type": "image"}]}, "system[0].type"),
            ({"messages": [{"role": "zebra", "content": "a"}]}, "messages[0].role"),
            ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
            ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
             "messages[0].content[0].type"),
            ({"messages": user + [{"role": "assistant", "content": [
                {"type": "tool_use", "id": "a", "name": "b", "input": "zebra"}]}]}, "messages[1].content[0].input"),
            ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
             "messages[0].content[0].tool_use_id"),
            ({"messages": [{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "zebra"}]}]}]},
             "messages[0].content[0].content[0].type"),
            ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name"),
            ({"tools": [{"name": "a"}]}, "tools[0].input_schema"),
            ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
            ({"tool_choice": {"type": "any"}}, "tool_choice"),
            ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "zebra"}}, "tool_choice.name"),
            ({"tools": TOOLS, "tool_choice": {"type": "zebra"}}, "tool_choice.type"),
            ({"thinking": {"type": "zebra"}}, "thinking.type"), ({"stop_sequences": [""]}, "stop_sequences"),
            ({"output_config": {"format": {"type": "zebra"}}}, "output_config.format.type"),
            ({"mcp_servers": [{}]}, "mcp_servers"), ({"container": "c"}, "container"), ({"stream": 1}, "stream"),
        ]
        for change, where in cases:
            body = {k: v for k, v in dict(TALK, **change).items() if v is not None}
            status, headers, e = post(s, body)
            check(status == 400 and e["type"] == "error", f"{change}: {status} {e}")
            check(e["error"]["type"] == "invalid_request_error" and where in e["error"]["message"], f"{change}: {e}")
            check("zebra" not in json.dumps(e), f"input comes back: {e}")
            check(e["request_id"] == headers["request-id"], f"{e} {headers}")
        status, _, e = post(s, dict(TALK, model="zebra"))
        check(status == 404 and e["error"]["type"] == "not_found_error" and "zebra" not in json.dumps(e), f"{e}")
        status, _, e = post(s, dict(TALK, messages=[{"role": "user", "content": "Once upon a time " * 400}]))
        check(status == 400 and e["error"]["type"] == "invalid_request_error" and "512" in e["error"]["message"],
              f"{e}")
        status, _, data = s.ask("POST", "/v1/messages", b"{", {"Content-Type": "application/json"})
        e = json.loads(data)
        check(status == 400 and e["error"]["type"] == "invalid_request_error", f"{e}")
        status, _, data = s.ask("GET", "/v1/messages")
        e = json.loads(data)
        check(status == 405 and e["type"] == "error", f"{status} {e}")
    with Server("--api-key", SECRET) as s:
        status, _, e = post(s, TALK)
        check(status == 401 and e["error"]["type"] == "authentication_error", f"{status} {e}")
        status, _, e = post(s, dict(TALK, max_tokens=1), headers=dict(KEYS, **{"x-api-key": SECRET}))
        check(status == 200, f"{status} {e}")
        status, _, e = post(s, dict(TALK, max_tokens=1), headers={"Authorization": "Bearer " + SECRET})
        check(status == 200, f"{status} {e}")


def cached():
    """What was read once is not read again, and usage says so; never for another key."""
    ask = dict(TALK, max_tokens=2, system="Once upon a time there was a kind dog. " * 20)
    with Server("--api-key", SECRET, "--api-key", SECRET + "4") as s:
        def usage(key):
            status, _, m = post(s, ask, headers={"x-api-key": key})
            check(status == 200, f"{m}")
            return m["usage"]
        first, second, other = usage(SECRET), usage(SECRET), usage(SECRET + "4")
        check(first["cache_read_input_tokens"] < 20, f"{first}")
        check(second["cache_read_input_tokens"] > 150, f"{second}")
        check(other["cache_read_input_tokens"] == first["cache_read_input_tokens"], f"{other}")
        check(len({u["input_tokens"] + u["cache_read_input_tokens"] for u in (first, second, other)}) == 1, "sums")


def busy():
    """More than the server takes: its clients know 529, and when to come again."""
    with Server("-np", "1", "--queue", "0") as s:
        got = []

        def ask():
            got.append(post(s, dict(TALK, max_tokens=300)))
        many = [threading.Thread(target=ask) for _ in range(12)]
        for t in many:
            t.start()
        for t in many:
            t.join()
        refused = [(h, e) for status, h, e in got if status == 529]
        check({status for status, _, _ in got} == {200, 529}, f"{[status for status, _, _ in got]}")
        for h, e in refused:
            check(e["error"]["type"] == "overloaded_error" and int(h["Retry-After"]) > 0, f"{h} {e}")


run_all([whole, streamed, stops, prefill, thinking, words, tools, schemas, errors, cached, busy])
