"""The native routes: text and tokens, prompts in llama.cpp's form, the document of the interface."""
import json
import os
import shutil
import tempfile

from serve import Server, check, error_of, run_all, wait_until

SMALL = "models/test/stories260K.gguf"
with open("tests/golden/tinystories/expected.json") as f:
    GOLDEN = json.load(f)["stories260K.gguf"]


def post(s, path, body, **kw):
    status, headers, data = s.ask("POST", path, body, **kw)
    return status, json.loads(data)


def events(data):
    """The values of a stream's events, each "data: JSON" and an empty line; comments left out."""
    out = []
    check(data.endswith(b"\n\n"), "the stream does not end with an empty line")
    for part in data.decode().split("\n\n")[:-1]:
        if part.startswith(":"):
            continue
        check(part.startswith("data: ") and "\n" not in part, f"no data line: {part!r}")
        out.append(json.loads(part[6:]))
    return out


def tokens():
    with Server(SMALL, "--threads", "1") as s:
        for case in GOLDEN:
            status, got = post(s, "/tokenize", {"content": case["prompt"], "add_special": True})
            check(status == 200 and got == {"tokens": case["prompt_ids"]}, f"tokens of {case['prompt']!r}: {got}")
            status, got = post(s, "/tokenize", {"content": case["prompt"]})
            check(got["tokens"] == case["prompt_ids"][1:], f"tokens without BOS: {got}")
            status, got = post(s, "/detokenize", {"tokens": case["ids"], "special": False})
            check(got == {"content": case["text"]}, f"text of ids: {got}")
        _, got = post(s, "/tokenize", {"content": "Once upon\n", "with_pieces": True})
        check([t["piece"] for t in got["tokens"]] == [" Once", " upon", "\n"], f"pieces: {got}")
        _, got = post(s, "/tokenize", {"content": "\u0167", "with_pieces": True})
        check([t["piece"] for t in got["tokens"]][-2:] == [[197], [167]], f"pieces of bytes: {got}")
        _, got = post(s, "/tokenize", {"content": "</s>"})
        check(got["tokens"][-1] == 2, f"a control token: {got}")
        _, got = post(s, "/tokenize", {"content": "</s>", "parse_special": False})
        check(2 not in got["tokens"], f"a control token as text: {got}")
        _, got = post(s, "/tokenize", {"content": ""})
        check(got == {"tokens": []}, f"tokens of nothing: {got}")
        _, got = post(s, "/detokenize", {"tokens": [1, 403, 407, 2]})
        check(got["content"].endswith("Once upon</s>"), f"control tokens shown: {got}")
        for path, body, param in [("/tokenize", {}, "content"), ("/tokenize", {"content": 1}, "content"),
                                  ("/tokenize", {"content": "a", "with_pieces": 1}, "with_pieces"),
                                  ("/detokenize", {}, "tokens"), ("/detokenize", {"tokens": [512]}, "tokens[0]"),
                                  ("/detokenize", {"tokens": [1, -1]}, "tokens[1]"),
                                  ("/detokenize", {"tokens": ["a"]}, "tokens[0]")]:
            status, got = post(s, path, body)
            check(status == 400 and got["error"]["param"] == param, f"{path} {body}: {status} {got}")


def templates():
    with Server() as s:
        talk = {"messages": [{"role": "user", "content": "Hi"}]}
        _, got = post(s, "/apply-template", talk)
        begin = "<|user|>\nHi<|end|>\n"
        check(got["prompt"].endswith(begin + "<|assistant|>\n"), f"prompt: {got}")
        _, got = post(s, "/apply-template", dict(talk, add_generation_prompt=False))
        check(got["prompt"].endswith(begin), f"prompt without an answer's beginning: {got}")
        status, got = post(s, "/apply-template", {"messages": [{"role": "user", "content": 3}]})
        check(status == 400, f"content 3: {status} {got}")
        status, got = post(s, "/apply-template", {})
        check(status == 400 and got["error"]["param"] == "messages", f"no messages: {got}")


def completion():
    with Server(SMALL, "--threads", "1") as s:
        for case in GOLDEN[:4]:
            ask = {"prompt": case["prompt"], "n_predict": len(case["ids"]), "temperature": 0, "return_tokens": True}
            status, got = post(s, "/completion", ask)
            # other software's ids, as far as it was sure of them
            sure = case["certain"]
            check(status == 200 and got["tokens"][:sure] == case["ids"][:sure], f"ids: {got}")
            check(got["stop"] is True and got["stop_type"] == "limit" and got["stopping_word"] == "", f"stop: {got}")
            check(got["tokens_predicted"] == len(case["ids"]) and
                  got["tokens_evaluated"] == len(case["prompt_ids"]), f"counts: {got}")
            check(got["prompt"] == case["prompt"] and got["truncated"] is False, f"prompt: {got}")
            _, again = post(s, "/completion", dict(ask, prompt=case["prompt_ids"]))
            check(again["content"] == got["content"], "ids as the prompt give another answer")
            status, headers, data = s.ask("POST", "/completion", dict(ask, stream=True))
            check(headers["Content-Type"] == "text/event-stream", f"{headers}")
            es = events(data)
            check("".join(e["content"] for e in es) == got["content"], "the stream's text differs")
            check(sum((e["tokens"] for e in es[:-1]), []) == got["tokens"], "the stream's ids differ")
            check([e["stop"] for e in es] == [False] * (len(es) - 1) + [True], "stop")
            check(es[-1]["timings"]["predicted_n"] == len(case["ids"]), f"timings: {es[-1]}")
        first = GOLDEN[0]
        _, got = post(s, "/completion", {"prompt": first["prompt"], "n_predict": 40, "temperature": 0,
                                         "stop": ["zebra", "Lily"]})
        check(got["stop_type"] == "word" and got["stopping_word"] == "Lily", f"stop: {got}")
        check(got["content"].lstrip() == "Once upon a time, there was a little girl named ", f"text: {got}")
        mixed = {"prompt": [1, "Once upon", 261], "n_predict": 1, "temperature": 0}
        _, got = post(s, "/completion", mixed)
        check(got["tokens_evaluated"] == 4, f"mixed prompt: {got}")
        _, got = post(s, "/completion", {"prompt": ["Once", "Lily"], "n_predict": 2, "temperature": 0})
        check([g["index"] for g in got] == [0, 1] and got[0]["prompt"] == "Once", f"two prompts: {got}")
        _, got = post(s, "/completion", {"prompt": "Once", "n_predict": 2, "temperature": 0,
                                         "response_fields": ["content", "generation_settings/top_k", "no"]})
        check(set(got) == {"content", "top_k"} and got["top_k"] == 40, f"fields: {got}")
        _, got = post(s, "/completion", {"prompt": "Once", "n_predict": 0, "return_tokens": True})
        check(got["content"] == "" and got["tokens"] == [], f"nothing: {got}")
        _, got = post(s, "/completion", {"prompt": "Once", "n_predict": 5, "choice": ["yes", "no"]})
        check(got["content"] in ("yes", "no"), f"choice: {got}")


def probabilities():
    with Server(SMALL, "--threads", "1") as s:
        ask = {"prompt": "Once", "n_predict": 3, "temperature": 0, "n_probs": 4}
        _, got = post(s, "/completion", ask)
        for t in got["completion_probabilities"]:
            top = t["top_logprobs"]
            check(len(top) == 4 and top[0]["id"] == t["id"] and top[0]["logprob"] == t["logprob"] <= 0, f"{t}")
            check(bytes(t["bytes"]).decode() == t["token"], f"{t}")
        check("".join(t["token"] for t in got["completion_probabilities"]) == got["content"], f"{got}")
        _, got = post(s, "/completion", dict(ask, post_sampling_probs=True))
        for t in got["completion_probabilities"]:
            check(t["prob"] == 1.0 and t["top_probs"][0]["prob"] == 1.0, f"greedy is sure: {t}")
        _, _, data = s.ask("POST", "/completion", dict(ask, stream=True))
        n = sum(len(e.get("completion_probabilities", [])) for e in events(data))
        check(n == 3, f"{n} probabilities in the stream")


def refusals():
    with Server(SMALL, "--threads", "1") as s:
        for body, param in [({}, "prompt"), ({"prompt": 3}, "prompt"), ({"prompt": [1.5]}, "prompt"),
                            ({"prompt": ["a", ["b", {}]]}, "prompt"), ({"prompt": [512]}, "prompt"),
                            ({"prompt": "a", "n_predict": -2}, "n_predict"),
                            ({"prompt": "a", "mirostat": 1}, "mirostat"),
                            ({"prompt": "a", "grammar": "root ::= \"a", }, "grammar"),
                            ({"prompt": "a", "regex": "a", "choice": ["a"]}, "grammar"),
                            ({"prompt": "a", "image_data": []}, "image_data"),
                            ({"prompt": "a", "temperature": "hot"}, "temperature")]:
            status, _, data = s.ask("POST", "/completion", body)
            got = json.loads(data)["error"]
            check(status == 400 and (got["param"] or "").startswith(param), f"{body}: {status} {got}")
            check("zebra" not in data.decode(), "input comes back")
        status, _, data = s.ask("POST", "/completion", {"prompt": "Once upon a time " * 400})
        check(status == 400 and error_of(data) == "context_length_exceeded", f"{status} {data}")
        for method in ("GET", "DELETE"):
            status, headers, _ = s.ask(method, "/completion")
            check(status == 405 and "POST" in headers["Allow"], f"{method}: {status} {headers['Allow']}")


def slots():
    with Server("--parallel", "3") as s:
        status, _, data = s.ask("GET", "/slots")
        got = json.loads(data)
        check(status == 200 and [g["id"] for g in got] == [0, 1, 2], f"slots: {status} {got}")
        check(not any(g["is_processing"] for g in got), f"idle: {got}")
        post(s, "/completion", {"prompt": "Once upon a time", "n_predict": 4, "temperature": 0})

        def slots_now():
            return json.loads(s.ask("GET", "/slots")[2])
        check(wait_until(lambda: not any(g["is_processing"] for g in slots_now())), "never idle again")
        got = slots_now()
        check(1 <= sum(g.get("n_decoded", 0) for g in got) <= 4, f"what ran last: {got}")


def saved_slots():
    folder = tempfile.mkdtemp()
    story = "Once upon a time there was a little girl named Lily. She loved to play outside in the park. " * 6
    ask = {"prompt": story, "n_predict": 12, "temperature": 0, "n_probs": 3}
    mine, yours = ({"Authorization": f"Bearer {k * 32}"} for k in "ab")
    serve = [SMALL, "--threads", "1", "-np", "1", "--prefix-cache", "memory", "--slot-save-path", folder]

    def act(s, what, name=None, slot=0, **kw):
        return post(s, f"/slots/{slot}?action={what}", {"filename": name} if name is not None else None, **kw)

    def told(got):
        return got["content"], got["completion_probabilities"]
    try:
        with Server(*serve) as s:
            status, got = act(s, "save", "a.bin")
            check(status == 404, f"nothing to save: {status} {got}")
            _, first = post(s, "/completion", ask)
            check(first["tokens_cached"] == 0, f"new: {first}")
            status, got = act(s, "save", "a.bin")
            n = got.get("n_saved", 0)
            check(status == 200 and got["id_slot"] == 0 and got["filename"] == "a.bin", f"save: {status} {got}")
            check(n >= first["tokens_evaluated"] and got["timings"]["save_ms"] > 0, f"save: {got}")
            check(got["n_written"] == os.path.getsize(f"{folder}/a.bin") > 0, f"bytes: {got}")
            status, erased = act(s, "erase")
            check(status == 200 and erased == {"id_slot": 0, "n_erased": n}, f"erase: {status} {erased}")
            check(post(s, "/completion", ask)[1]["tokens_cached"] == 0, "erased, and still there")
        with Server(*serve) as s:
            status, got = act(s, "restore", "a.bin")
            check(status == 200 and got["n_restored"] == n and got["n_read"] == os.path.getsize(f"{folder}/a.bin") and
                  got["timings"]["restore_ms"] > 0, f"restore: {status} {got}")
            _, again = post(s, "/completion", ask)
            check(again["tokens_cached"] == first["tokens_evaluated"] - 1, f"read again: {again}")
            check(told(again) == told(first), "another answer than before")
            for name in ("", ".a", "../a", "a/b", "a b", "a\n", "\u00e4", None, 3):
                status, got = act(s, "save", name) if name is not None else post(s, "/slots/0?action=save", {})
                check(status == 400 and got["error"]["param"] == "filename", f"{name!r}: {status} {got}")
            for path in ("/slots/1?action=save", "/slots/x?action=save", "/slots/0?action=zebra", "/slots/0"):
                status, got = post(s, path, {"filename": "a.bin"})
                check(status == 400 and "zebra" not in got["error"]["message"], f"{path}: {status} {got}")
            status, got = act(s, "restore", "b.bin")
            check(status == 404 and folder not in json.dumps(got), f"no such file: {status} {got}")
            with open(f"{folder}/bad.bin", "wb") as f:
                f.write(open(f"{folder}/a.bin", "rb").read()[:-3000])
            status, got = act(s, "restore", "bad.bin")
            check(status == 400 and "cut short" in got["error"]["message"] and folder not in json.dumps(got),
                  f"a damaged file: {status} {got}")
        with Server("-np", "1", "--slot-save-path", folder) as s:
            status, got = act(s, "restore", "a.bin")
            check(status == 400 and "another model" in got["error"]["message"], f"another model: {status} {got}")
        with Server(*serve, "--api-key", "a" * 32, "--api-key", "b" * 32) as s:
            post(s, "/completion", ask, headers=mine)
            check(act(s, "save", "a.bin", headers=yours)[0] == 404, "another's slot is saved")
            check(act(s, "erase", headers=yours)[0] == 404, "another's slot is erased")
            status, got = act(s, "save", "k.bin", headers=mine)
            check(status == 200 and got["filename"] == "k.bin", f"{status} {got}")
            check(act(s, "restore", "k.bin", headers=yours)[0] == 404, "another's file is there")
            check(act(s, "restore", "a.bin", headers=mine)[0] == 404, "nobody's file is there")
            check(act(s, "restore", "k.bin", headers=mine)[0] == 200, "the own file")
    finally:
        shutil.rmtree(folder)
    with Server(SMALL, "--threads", "1") as s:
        for what in ("save", "restore", "erase"):
            status, got = act(s, what, "a.bin")
            check(status == 501 and "--slot-save-path" in got["error"]["message"], f"{what}: {status} {got}")


def document():
    with Server() as s:
        status, headers, data = s.ask("GET", "/openapi.json")
        d = json.loads(data)
        check(status == 200 and d["openapi"] == "3.1.0", f"{status}")
        for path, method in [("/v1/messages", "post"), ("/api/chat", "post"), ("/tokenize", "post"),
                             ("/health", "get")]:
            check(method in d["paths"].get(path, {}), f"{method} {path} is not in it")
        # what it names is there, and nothing without a key's check but what says so
        for path, item in d["paths"].items():
            for method in item:
                status, _, _ = s.ask("OPTIONS", path.replace("{", "").replace("}", ""))
                check(status in (200, 204), f"{path}: {status}")
        status, headers, data = s.ask("GET", "/docs")
        check(status == 200 and headers["Content-Type"].startswith("text/html"), f"{status} {headers}")
        check(b"//" not in data.replace(b"://", b"") or b"http" not in data, "the page names another server")
        check("default-src 'none'" in headers["Content-Security-Policy"], "no policy")


run_all([tokens, templates, completion, probabilities, refusals, slots, saved_slots, document])
