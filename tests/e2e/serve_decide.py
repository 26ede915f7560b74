"""Decisions of the built server against those of `tern decide`, and what it refuses. serve_decide.py FOLDER"""
import json
import os
import re
import subprocess
import sys
import threading

import serve

folder = sys.argv[1]
MODEL = "tests/golden/folders/qwen2"
TEMPLATE = os.path.join(folder, "template")
with open(TEMPLATE, "w") as f:
    f.write("{% for m in messages %}<|2|>{{ m['role'] }}\n{{ m['content'] }}<|3|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|2|>assistant\n{% endif %}")
MODEL_ARGS = [MODEL, "--chat-template-file", TEMPLATE, "-c", "400", "-t", "1"]


def command(task, items, *args):
    """Results of `tern decide` for the same task."""
    for name, value in ("task", json.dumps(task)), ("items", "\n".join(json.dumps(i) for i in items) + "\n"):
        with open(os.path.join(folder, name), "w") as f:
            f.write(value)
    out = subprocess.run([serve.TERN, "decide", *MODEL_ARGS, "--task", os.path.join(folder, "task"), "-f",
                          os.path.join(folder, "items"), "--json", "-q", "--log-probs", *args],
                         stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)["results"]


def rounded(x):
    """Nine digits are what the command prints."""
    if isinstance(x, float):
        return float(f"{x:.7g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def ask(s, body, status=200, headers=None):
    got, _, data = s.ask("POST", "/v1/decide", body, headers)
    assert got == status, (got, data, s.log())
    return json.loads(data)


def refused(s, body, text, status=400):
    error = ask(s, body, status)["error"]
    assert text in error["message"], error
    return error


def check_same(s):
    """The same numbers as the command's, whatever the batch: 70 inputs are three turns."""
    inputs = [{"input": f"boat {i % 9} {'x' * (i % 5)}", "id": f"n{i}"} for i in range(70)]
    for task in ({"labels": ["wet", "wet, but warm", "dry"], "instruction": "How is it?"},
                 {"kind": "yes_no", "instruction": "Is it wet?", "calibrate": "contextual"},
                 {"kind": "score", "range": [1, 5], "calibrate": "batch", "system": "Be strict."},
                 {"labels": ["wet", "dry"], "chat": False, "normalize": "bytes", "min_p": 0.6}):
        want = command(task, inputs)
        got = ask(s, {**task, "inputs": inputs, "log_probs": True, "model": "qwen2"})
        assert got["object"] == "decisions" and got["model"] == "qwen2" and got["id"].startswith("req_"), got
        assert rounded(got["results"]) == rounded(want), (task, got["results"][0], want[0])
        u = got["usage"]
        assert u["total_tokens"] == u["prompt_tokens"] + u["answer_tokens"]
        assert 0 < u["cached_tokens"] < u["prompt_tokens"], u


def check_beginning(s):
    """What an instruction takes is read for the first request with it, and for no later one."""
    task = {"labels": ["port", "starboard"], "instruction": "Which side of the boat is it? " * 3}
    first = ask(s, {**task, "inputs": ["left"]})
    again = ask(s, {**task, "inputs": ["the right hand"]})
    assert first["usage"]["cached_tokens"] == 0, first["usage"]
    assert again["usage"]["cached_tokens"] > 80, again["usage"]
    assert ask(s, {**task, "inputs": ["left"]})["results"] == first["results"]


def check_keys():
    """One key's beginnings are not another's: what was cached would tell what others ask."""
    with serve.Server(*MODEL_ARGS, "--alias", "qwen2", "--api-key", "alphabeta", "--api-key", "gammadelta") as s:
        task = {"labels": ["port", "starboard"], "instruction": "Which side of the boat is it? " * 3, "inputs": ["x"]}
        as_key = lambda k: ask(s, task, headers={"Authorization": f"Bearer {k}"})["usage"]["cached_tokens"]
        assert as_key("alphabeta") == 0 and as_key("alphabeta") > 80 and as_key("gammadelta") == 0
        ask(s, task, 401)


def check_memory():
    """What is kept of decisions is within --mem, with what is kept of conversations; the answers are the same."""
    tasks = [{"labels": ["port", "starboard"], "instruction": f"{i} Which side of the boat is it? " * 10, "inputs": ["x"]}
             for i in range(10)]
    with serve.Server(*MODEL_ARGS, "--alias", "qwen2") as s:
        want = [ask(s, t)["results"] for t in tasks]
    with serve.Server(*MODEL_ARGS, "--alias", "qwen2", "--mem", "1") as s:
        kept = 0
        for t, w in zip(tasks, want):
            assert ask(s, t)["results"] == w, t
            s.ask("POST", "/v1/completions", {"prompt": t["instruction"], "max_tokens": 4})
            text = s.ask("GET", "/metrics")[2].decode()
            sizes = [float(re.search(rf"^tern_{name}_bytes(?:{{}})? (\S+)", text, re.M).group(1))
                     for name in ["kv", "prefix_cache", "decide_cache"]]
            assert sum(sizes) <= 1 << 20, sizes
            kept = max(kept, sizes[2])
        assert kept > 0, kept


def check_fields(s):
    schema = {"type": "object", "properties": {"wet": {"type": "boolean"}, "hue": {"enum": ["red", "blue"]}},
              "required": ["wet", "hue"], "additionalProperties": False}
    task = {"kind": "extract", "schema": schema, "instruction": "Tell of it."}
    inputs = ["sand", {"input": "a boat", "id": 5}]
    want = command(task, [{"input": "sand"}, inputs[1]])
    for _ in range(2):  # what was kept of the beginning stays as it is
        got = ask(s, {**task, "inputs": inputs})
        assert rounded(got["results"]) == rounded(want), (got, want)
    assert got["usage"]["cached_tokens"] > 0
    assert set(got["results"][1]["fields"]["/hue"]["probabilities"]) == {'"red"', '"blue"'}, got
    refused(s, {**task, "inputs": inputs, "schema": {"type": "object", "not": {}}}, "'not'")
    refused(s, {"labels": ["a", "b"], "inputs": ["x"], "schema": schema}, "'schema'")


def check_calibration(s, path):
    task = {"labels": ["wet", "dry"], "chat": False}
    inputs = [{"input": "rain"}, {"input": "dust"}]
    want = command(task, inputs, "--calibration", path)
    got = ask(s, {**task, "inputs": inputs, "log_probs": True, "calibration": "weather"})["results"]
    assert rounded(got) == rounded(want) and want != command(task, inputs), got
    refused(s, {**task, "inputs": inputs, "calibration": "nothing"}, "'calibration'")
    refused(s, {"labels": ["a", "b", "c"], "chat": False, "inputs": ["x"], "calibration": "weather"}, "made for 2")


def check_refusals(s):
    good = {"labels": ["wet", "dry"], "inputs": ["x"]}
    refused(s, {"inputs": ["x"]}, "no labels")
    refused(s, {"labels": ["wet", "dry"]}, "'inputs'")
    refused(s, {"labels": ["wet", "dry"], "input": "x"}, "known are model, inputs")
    refused(s, {**good, "inputs": []}, "'inputs'")
    refused(s, {**good, "inputs": ["x"] * 1025}, "1 to 1024")
    refused(s, {**good, "inputs": [3]}, "item 1")
    refused(s, {**good, "labels": ["wet"]}, "2 to 256")
    refused(s, {**good, "labels": ["wet", "wet"]}, "one name")
    refused(s, {**good, "log_probs": 1}, "'log_probs'")
    refused(s, {**good, "calibrate": "batch"}, "several inputs")
    refused(s, {**good, "min_p": 2}, "'min_p'")
    refused(s, {**good, "kind": "oracle"}, "'kind'")
    refused(s, {**good, "inputs": ["x " * 400]}, "item 1: a prompt of")
    error = refused(s, {**good, "SECRET": 1}, "unknown member")
    assert "SECRET" not in json.dumps(error)
    assert refused(s, {**good, "model": "other"}, "", 404)["code"] == "model_not_found"
    assert ask(s, {**good, "labels": [{"name": "x" * 70000}, "y"]}, 400)["error"]
    status, _, _ = s.ask("POST", "/v1/decide", "[1]", {"Content-Type": "application/json"})
    assert status == 400
    status, _, _ = s.ask("GET", "/v1/decide")
    assert status == 405


def check_together(s):
    """Many clients at once, a long batch among them, and one that leaves: all others get what they would alone."""
    task = {"labels": ["wet", "dry"], "instruction": "How is it?"}
    alone = [ask(s, {**task, "inputs": [f"day {i}"]})["results"] for i in range(4)]
    got = [None] * 12
    gone = s.connect()
    body = json.dumps({**task, "inputs": [f"night {i}" for i in range(1000)]}).encode()
    gone.sendall(b"POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def one(i):
        n = 200 if i == 0 else 1
        got[i] = ask(s, {**task, "inputs": [f"day {i % 4}"] * n})["results"]

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(got))]
    for t in threads:
        t.start()
    gone.close()
    for t in threads:
        t.join()
    for i, r in enumerate(got):
        assert r[:1] == alone[i % 4], (i, r)
    status, _, _ = s.ask("GET", "/health")
    assert status == 200


def make_calibration(path):
    with open(os.path.join(folder, "gold"), "w") as f:
        for i in range(8):
            f.write(f'{{"input": "rain {i}", "label": "wet"}}\n{{"input": "dust {i}", "label": "dry"}}\n')
    subprocess.run([serve.TERN, "decide", *MODEL_ARGS, "-no-cnv", "--labels", "wet,dry", "--fit",
                    os.path.join(folder, "gold"), "-o", path, "-q"], stdout=subprocess.DEVNULL, check=True)


calibration = os.path.join(folder, "weather.json")
make_calibration(calibration)
with serve.Server(*MODEL_ARGS, "--alias", "qwen2", "--decide-calibration", f"weather={calibration}") as s:
    check_same(s)
    check_beginning(s)
    check_fields(s)
    check_calibration(s, calibration)
    check_refusals(s)
    check_together(s)
    assert s.stop() == 0, s.log()
check_keys()
check_memory()
