#!/usr/bin/env python3
"""Decisions by transformers in float32, fits by SciPy.

    python make.py         (needs torch, transformers, scipy)

cases.json   extracts: of some fields whose values a schema lists, how likely each is; cases: tasks as docs/DECIDE.md has them, for tests/golden/folders/qwen2, with each label's
             log-probability and probability
fits.json    labelled log-probabilities, the temperature and biases that SciPy finds for them, held-out
             probabilities, and figures
"""
import json
import math
import os

import numpy as np
import scipy.optimize
import scipy.stats
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "folders", "qwen2")
TEMPLATE = ("{% for m in messages %}{{ '<|2|>' + m['role'] + '\\n' + m['content'] + '<|3|>\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|2|>assistant\\n' }}{% endif %}")
END = "<|3|>"

model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)


def ids(text):
    return tokenizer(text, add_special_tokens=False).input_ids


def log_prob(tokens, n_given):
    with torch.no_grad():
        x = torch.log_softmax(model(torch.tensor([tokens])).logits[0].double(), -1)
    return sum(x[i - 1, tokens[i]].item() for i in range(n_given, len(tokens)))


def texts_of(label):
    if isinstance(label, str):
        return [label]
    text = label.get("text", label["name"])
    return text if isinstance(text, list) else [text]


def name_of(label):
    return label if isinstance(label, str) else label["name"]


def labels_of(task, item):
    if task.get("kind") == "yes_no":
        return [{"name": "yes", "text": ["Yes", "yes"]}, {"name": "no", "text": ["No", "no"]}]
    if task.get("kind") == "score":
        return [str(i) for i in range(task["range"][0], task["range"][1] + 1)]
    return task.get("labels") or item["labels"]


def listing(task, labels):
    if task.get("kind") == "extract":
        return "Answer with a JSON object of this schema: " + json.dumps(task["schema"], separators=(",", ":"))
    if task.get("kind") == "yes_no":
        return "Answer yes or no."
    if task.get("kind") == "score":
        return f"Answer with a number from {labels[0]} to {labels[-1]}."
    if any(not isinstance(l, str) and "description" in l for l in labels):
        return "Answer with one of these:" + "".join(
            "\n- " + texts_of(l)[0] + (": " + l["description"] if not isinstance(l, str) and "description" in l else "")
            for l in labels)
    return "Answer with one of: " + ", ".join(texts_of(l)[0] for l in labels) + "."


def shared_labels(task):
    return task.get("labels") or task.get("kind") in ("yes_no", "score", "extract")


def head(task, labels, listed):
    s = task["instruction"] + "\n\n" if task.get("instruction") else ""
    if listed and shared_labels(task):
        s += listing(task, labels) + "\n\n"
    return s


def with_list(task, labels, text, listed):
    return text + "\n\n" + listing(task, labels) if listed and not shared_labels(task) else text


def render(messages, generation=True):
    s = "".join(f"<|2|>{r}\n{c}<|3|>\n" for r, c in messages)
    return s + ("<|2|>assistant\n" if generation else "")


def prompt(task, item, labels):
    listed = task.get("list_labels", task["chat"])
    if task["chat"]:
        messages = [("system", task["system"])] if task.get("system") else []
        h = head(task, labels, listed)
        for e in task.get("examples", []):
            messages += [("user", h + e["input"]), ("assistant", e["label"])]
            h = ""
        messages.append(("user", h + with_list(task, labels, item["input"], listed) + task.get("cue", "")))
        return render(messages)
    cue = task.get("cue", "\nAnswer:")
    strip = (lambda s: s.rstrip("\n")) if cue.startswith("\n") else (lambda s: s)
    s = task["system"] + "\n\n" if task.get("system") else ""
    s += head(task, labels, listed)
    for e in task.get("examples", []):
        s = strip(s + e["input"]) + cue + " " + e["label"] + "\n\n"
    return strip(s + with_list(task, labels, item["input"], listed)) + cue


def common(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def score(task, item):
    """Each label's log-probability; prefixes of other texts count for what they alone are."""
    labels = labels_of(task, item)
    p = prompt(task, item, labels)
    end = task.get("end", "auto")
    end = (END if task["chat"] else "") if end == "auto" else "" if end == "none" else end
    given = ids(p)
    texts = [(i, t, ids(p + ("" if task["chat"] else " ") + t) + ids(end))
             for i, l in enumerate(labels) for t in texts_of(l)]
    n_given = min([len(given)] + [min(common(given, t), len(t) - 1) for _, _, t in texts])
    probs = [math.exp(log_prob(t, n_given)) for _, _, t in texts]
    starts = lambda a, b: len(a) < len(b) and b[:len(a)] == a
    alone = []
    for k, (_, _, t) in enumerate(texts):
        longer = [u for u in range(len(texts)) if starts(t, texts[u][2])]
        # Of those that go on, the ones that no other text between leads to.
        direct = [u for u in longer if not any(starts(texts[v][2], texts[u][2]) for v in longer)]
        alone.append(probs[k] - sum(probs[u] for u in direct))
    out = [0.0] * len(labels)
    for (i, text, t), x in zip(texts, alone):
        norm = {"sum": 1, "tokens": len(t) - n_given, "bytes": len(text.encode())}[task.get("normalize", "sum")]
        out[i] += math.exp(math.log(x) / norm)
    return [math.log(x) for x in out]


def softmax(x):
    x = np.exp(np.array(x) - np.max(x))
    return x / x.sum()


def decide(case):
    task, items = case["task"], case["items"]
    s = [score(task, i) for i in items]
    if task.get("calibrate") == "contextual":
        for k, item in enumerate(items):
            free = [softmax(score(task, {**item, "input": f})) for f in task.get("content_free", ["N/A", "[MASK]", ""])]
            s[k] = (np.array(s[k]) - np.log(np.mean(free, 0))).tolist()
    if task.get("calibrate") == "batch":
        prior = np.mean([softmax(x) for x in s], 0)
        s = [(np.array(x) - np.log(prior)).tolist() for x in s]
    case["log_probs"] = s
    case["p"] = [softmax(x).tolist() for x in s]
    return case


def extract(case):
    """How likely the values of a field are behind what an answer has said before, with what follows it."""
    p = prompt(case["task"], {"input": case["input"]}, []) + case["said"]
    texts = [ids(p + json.dumps(v) + case["next"]) for v in case["values"]]
    n_given = min(common(ids(p), t) for t in texts)
    case["probabilities"] = dict(zip(map(json.dumps, case["values"]),
                                     softmax([log_prob(t, n_given) for t in texts]).tolist()))
    return case


SCHEMA = {"type": "object", "properties": {"wet": {"type": "boolean"}, "hue": {"enum": ["red", "redder", 3]}},
          "required": ["wet", "hue"], "additionalProperties": False}
# said: what the model has written before the field's value, blanks as it likes them.
EXTRACTS = [
    {"task": {"kind": "extract", "schema": SCHEMA, "chat": chat, "instruction": "Say"}, "input": text, "path": "/wet",
     "said": said, "next": ",", "values": [True, False]}
    for chat, text, said in ((True, "a boat", '{"wet": '), (True, "sand", '{"wet": '), (False, "a boat", ' {"wet": '),
                             (False, "sand", ' {"wet":'))]
I = lambda *texts: [{"input": t} for t in texts]
CASES = [
    {"task": {"chat": False, "labels": ["yes", "yes, but", "no"]}, "items": I("Is it wet?", "cab\n")},
    {"task": {"chat": False, "labels": ["yes", "yes, but", "yes, but not now"], "end": "\n"}, "items": I("Is it wet?")},
    {"task": {"chat": False, "labels": ["a", "b", "ab"], "cue": " a", "end": "none"}, "items": I("the c", "so")},
    {"task": {"chat": False, "labels": ["red", "blue-green"], "normalize": "tokens", "instruction": "Which one?",
              "examples": [{"input": "sky", "label": "blue-green"}, {"input": "rose", "label": "red"}]},
     "items": I("tern", "moss", "rust")},
    {"task": {"chat": False, "labels": ["red", "blue-green"], "normalize": "bytes", "list_labels": True},
     "items": I("tern")},
    {"task": {"chat": True, "labels": ["yes", "yes, but", "no"], "instruction": "Is it?", "system": "Be brief."},
     "items": I("wet", "cabs")},
    {"task": {"chat": True, "labels": [{"name": "good", "text": ["Good", "good", "fine"], "description": "it is liked"},
                                       {"name": "bad", "description": "it is not"}, "other"], "end": "none"},
     "items": I("a tern", "")},
    {"task": {"chat": True, "kind": "yes_no", "instruction": "Dry?", "calibrate": "contextual"}, "items": I("wet", "sand")},
    {"task": {"chat": True, "kind": "score", "range": [-1, 11], "examples": [{"input": "x", "label": "10"}]},
     "items": I("wet", "sand")},
    {"task": {"chat": True, "labels": ["p", "q"], "calibrate": "batch", "cue": " ?"}, "items": I("1", "22", "333", "a b")},
    {"task": {"chat": False, "calibrate": "contextual", "content_free": ["N/A", "-"], "instruction": "Say"},
     "items": [{"input": "x", "labels": ["one", "two", "three"]}, {"input": "y", "labels": ["ab", "abab"]}]},
    {"task": {"chat": True}, "items": [{"input": "x", "labels": ["one", "two"]}]},
]


# ---- fits ---------------------------------------------------------------------------------------

RIDGES = [math.inf, 1.0, 0.1, 0.01, 0.001]


def solve(s, gold, ridge, n_bias):
    k = 0 if math.isinf(ridge) else n_bias
    n = len(s)

    x = np.full((n, max(map(len, s))), -1e30)
    for i, row in enumerate(s):
        x[i, :len(row)] = row
    there, at = x > -1e29, (np.arange(n), gold)

    def loss(v):
        z = np.where(there, v[0] * x + (v[1:] if k else 0.0), -1e30)
        z = z - z.max(1, keepdims=True)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        p[at] -= 1
        grad = np.concatenate([[(p * np.where(there, x, 0.0)).sum() / n + 1e-4 * (v[0] - 1)],
                               p.sum(0) / n + ridge * v[1:] if k else []])
        p[at] += 1
        return (-np.log(p[at]).mean() + 0.5e-4 * (v[0] - 1) ** 2 + (0.5 * ridge * (v[1:] ** 2).sum() if k else 0.0),
                grad)

    start = np.zeros(1 + k)
    start[0] = 1.0
    return scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B",
                                   bounds=[(1e-3, None)] + [(None, None)] * k,
                                   options={"ftol": 1e-16, "gtol": 1e-11, "maxiter": 5000}).x


def predict(v, x):
    return softmax(v[0] * np.array(x) + (v[1:] if len(v) > 1 else 0.0))


def cross(s, gold, n_bias):
    """The ridge of least held-out loss; folds are every fifth example."""
    best, least = None, math.inf
    for r in RIDGES if n_bias else RIDGES[:1]:
        total = 0.0
        for f in range(5):
            train = [i for i in range(len(s)) if i % 5 != f]
            v = solve([s[i] for i in train], [gold[i] for i in train], r, n_bias)
            total += sum(-math.log(predict(v, s[i])[gold[i]]) for i in range(f, len(s), 5))
        if total < least - 1e-12:
            best, least = r, total
    return best


def positions(n, fold):
    """Folds within what an outer fold leaves are by the whole list's number over five."""
    return [i for i in range(n) if i % 5 != fold]


def cross_within(s, gold, n_bias, fold):
    best, least = None, math.inf
    rest = positions(len(s), fold)
    for r in RIDGES if n_bias else RIDGES[:1]:
        total = 0.0
        for f in range(5):
            train = [i for i in rest if i // 5 % 5 != f]
            v = solve([s[i] for i in train], [gold[i] for i in train], r, n_bias)
            total += sum(-math.log(predict(v, s[i])[gold[i]]) for i in rest if i // 5 % 5 == f)
        if total < least - 1e-12:
            best, least = r, total
    return best


def figures(p, gold):
    n = len(p)
    conf = np.array([max(x) for x in p])
    right = np.array([float(np.argmax(x) == g) for x, g in zip(p, gold)])
    bins = np.minimum((conf * 15).astype(int), 14)
    ece = sum(abs(conf[bins == b].sum() - right[bins == b].sum()) for b in range(15)) / n
    loss = np.array([-math.log(x[g]) for x, g in zip(p, gold)])
    brier = np.array([sum((x[k] - (k == g)) ** 2 for k in range(len(x))) for x, g in zip(p, gold)])
    interval = scipy.stats.binomtest(int(right.sum()), n).proportion_ci(0.95, "wilson")
    error = lambda x: 1.959963984540054 * x.std(ddof=1) / math.sqrt(n)
    return {"accuracy": [right.mean(), interval.low, interval.high],
            "log_loss": [loss.mean(), loss.mean() - error(loss), loss.mean() + error(loss)],
            "brier": [brier.mean(), brier.mean() - error(brier), brier.mean() + error(brier)], "ece": ece}


def fit(seed, n, n_label, sharp, shift):
    r = np.random.default_rng(seed)
    s, gold = [], []
    for i in range(n):
        k = n_label if n_label else int(r.integers(2, 5))
        truth = r.normal(size=k) * 1.5
        p = softmax(truth + (shift[:k] if shift else 0.0))
        gold.append(int(r.choice(k, p=p)))
        s.append([round(float(x), 4) for x in truth * sharp - 3.0])
    n_bias = n_label if n_label else 0
    ridge = cross(s, gold, n_bias)
    v = solve(s, gold, ridge, n_bias)
    held = [None] * n
    for f in range(5):
        rest = positions(n, f)
        w = solve([s[i] for i in rest], [gold[i] for i in rest], cross_within(s, gold, n_bias, f), n_bias)
        for i in range(f, n, 5):
            held[i] = predict(w, s[i]).tolist()
    return {"s": s, "gold": gold, "n_bias": n_bias, "ridge": None if math.isinf(ridge) else ridge,
            "temperature": 1 / v[0], "bias": v[1:].tolist(), "held": held,
            "before": figures([softmax(x) for x in s], gold), "after": figures(held, gold)}


if __name__ == "__main__":
    def rounded(x):
        if isinstance(x, float):
            return float(f"{x:.9g}")
        if isinstance(x, dict):
            return {k: rounded(v) for k, v in x.items()}
        return [rounded(v) for v in x] if isinstance(x, list) else x

    with open(os.path.join(HERE, "cases.json"), "w") as f:
        json.dump({"template": TEMPLATE, "cases": rounded([decide(c) for c in CASES]),
                   "extracts": rounded([extract(c) for c in EXTRACTS])}, f, indent=1)
    with open(os.path.join(HERE, "fits.json"), "w") as f:
        json.dump(rounded([fit(1, 120, 3, 2.5, [1.0, 0.0, -1.0]), fit(2, 60, 2, 0.6, None), fit(3, 80, 0, 3.0, None)]), f)
