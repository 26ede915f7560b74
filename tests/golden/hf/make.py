#!/usr/bin/env python3
"""Make the fixtures of Hugging Face tokenizers in this folder.

  make.py TEXT    TEXT is a file of English text to train on

Needs the packages tokenizers and transformers, from which every expected id comes.

  forms.json      one small byte-level vocabulary; for each published form of normalizer and
                  pre_tokenizer what it is called in tokenizer.ggml.pre and the ids of the texts
  folders.json    small folders of each kind: their files, the ids of the texts without special
                  tokens, and with those that transformers puts around them
  tiktoken.json   a small tiktoken file, the ids of the texts as tiktoken joins bytes
  tok512.model    a SentencePiece model of 512 pieces by the author of llama2.c (MIT), as it was
                  published; its ids are in ../tokenizers/tok512.json
"""
import base64
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent
CORPUS = Path(sys.argv[1]).read_text()[:60000].split("\n\n")
TEXTS = [
    "", " ", "Hello, world!", "  two  spaces   and a tail  ", "don't we'LL I'Ve x'S", "1 12 123 1234 12345,678.90",
    "camelCase HTTPServer snake_case", "line\r\n\r\n  next\n\n\n\tTab", "naïve cafe\u0301 e\u0323\u0302 A\u030a \u212b \u1100\u1161\u11a8",
    "日本語のテキスト、カタカナ。中文123字符 한국어", "if (a[i] == 0x1F) { b += 3.14; } // ok", "...!!! ???\n$5 €6 ½ ٣٤",
    "x \u3000\n<|halt|> <tag>\u00a0 \u2003<tag> y<|halt|>  two\t two ", "\u00a0wide\u3000space\u2028x", "the ternary weights are -1, 0 and +1", "a<|halt|>b <tag> c<|halt|>",
]
# As the published files have them, escapes and all.
GPT2_STEP = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES_STEP = dict(GPT2_STEP, use_regex=False)
TIKTOKEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ENDS"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*ENDS"
         r"|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CJK = "[一-龥ࠀ-一가-퟿]+"


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def letters():
    """The cased letters of deepseek-llm, as in tests/golden/tokenizers/make.py."""
    source = (HERE / "../tokenizers/make.py").read_text()
    begin = source.index("LETTERS = (") + len("LETTERS = ")
    return eval(source[begin:source.index(")\n", begin) + 1])


NFC = {"type": "NFC"}
ENDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
FORMS = [  # pre, normalizer, pre_tokenizer
    ("dbrx", None, sequence(split(TIKTOKEN.replace("DIGITS", r"\p{N}{1,3}")), BYTES_STEP)),
    ("qwen2", NFC, sequence(split(TIKTOKEN.replace("DIGITS", r"\p{N}")), BYTES_STEP)),
    ("qwen35", NFC, sequence(split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"), BYTES_STEP)),
    ("llada-moe", None, sequence(split(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
        BYTES_STEP)),
    ("seed-coder", None, sequence(split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"), BYTES_STEP)),
    ("minicpm5", None, sequence(split(r"\p{N}{1,3}"), split(TIKTOKEN.replace("DIGITS", r"\p{N}+")), BYTES_STEP)),
    ("gpt-4o", None, sequence(split(CASED.replace("ENDS", ENDS).replace("DIGITS", r"\p{N}{1,3}"), "Removed", True),
                              BYTES_STEP)),
    ("tekken", None, sequence(split(CASED.replace("ENDS", "").replace("DIGITS", r"\p{N}")), BYTES_STEP)),
    ("gpt-2", None, GPT2_STEP),
    ("gpt-2", {"type": "Sequence", "normalizers": [NFC]}, sequence(GPT2_STEP)),
    ("smollm", None, sequence({"type": "Digits", "individual_digits": True}, GPT2_STEP)),
    ("falcon", None, sequence({"type": "Punctuation", "behavior": "Contiguous"}, GPT2_STEP,
                              {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]"))),
    ("steps:punct+words+ascii1", None, sequence({"type": "Punctuation", "behavior": "Contiguous"}, GPT2_STEP,
                                               {"type": "Digits", "individual_digits": True})),
    ("steps:punct1+digits3+words", None, sequence({"type": "Punctuation"}, split(r"\p{N}{1,3}"), GPT2_STEP)),
    ("steps:line+ascii3+llama3", None, sequence(split("[\r\n]"), split("[0-9]{3}"), split(
        TIKTOKEN.replace("DIGITS", r"\p{N}{1,3}")), BYTES_STEP)),
    ("deepseek-coder", {"type": "Sequence", "normalizers": []}, sequence(
        split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK),
        {"type": "Digits", "individual_digits": True}, BYTES_STEP)),
    ("deepseek-llm", None, sequence(
        split("[\r\n]"), split(rf"\s?[{letters()}]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"),
        split(CJK), {"type": "Digits", "individual_digits": False}, BYTES_STEP)),
    ("deepseek-v3", {"type": "Sequence", "normalizers": []}, sequence(
        split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"),
        split("""[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"""
              """| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"""), BYTES_STEP)),
]


def ids_of(tokenizer):
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]


def base(model):
    """Whatever else a file must have."""
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True,
                                                                      "trim_offsets": True, "use_regex": True},
            "model": model}


def load(value):
    return Tokenizer.from_str(json.dumps(value))


def train(pieces, alphabet, n_merge, max_len):
    """Byte-pair encoding as published, ties broken by text: the same merges each time."""
    words = [[list(piece), n] for piece, n in sorted(Counter(pieces).items())]
    merges, known = [], set(alphabet)
    while len(merges) < n_merge:
        pairs = Counter()
        for word, n in words:
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = min((p for p in pairs if len(p[0] + p[1]) <= max_len and {*p} <= known and p[0] + p[1] not in alphabet),
                   key=lambda p: (-pairs[p], p))
        merges.append(best)
        known.add("".join(best))
        for word, _ in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i:i + 2] = ["".join(best)]
                i += 1
    tokens = list(alphabet)
    tokens += [t for t in dict.fromkeys(l + r for l, r in merges) if t not in set(tokens)]
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {t: i for i, t in enumerate(tokens)}, "merges": [list(m) for m in merges]}


def train_bytes(n_merge):
    """Trained on whole lines cut loosely, so that merges cross what the forms cut. Only digits stand apart
    from others, also those that spell bytes: Falcon's form has a step for that which its vocabulary
    makes needless, and which converters leave out."""
    cut = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                                   pre_tokenizers.Digits(individual_digits=False)])
    lines = TEXTS * 6 + [line for part in CORPUS[:30] for line in part.split(". ")]
    return train([piece for line in lines for piece, _ in cut.pre_tokenize_str(line)],
                 sorted(pre_tokenizers.ByteLevel.alphabet()), n_merge, 8)


def forms():
    model = train_bytes(440)
    model["merges"] = [" ".join(m) for m in model["merges"]]
    rows = []
    for pre, normalizer, pre_tokenizer in FORMS:
        t = base(model)
        t["normalizer"], t["pre_tokenizer"] = normalizer, pre_tokenizer
        rows.append({"pre": pre, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "ids": ids_of(load(t))})
    return {"texts": TEXTS, "model": model, "forms": rows}


# ---- folders ----------------------------------------------------------------------------------


def folder(tokenizer, config, **files):
    """Ids as transformers gives them, which reads all the files."""
    value = json.loads(tokenizer.to_str())
    with tempfile.TemporaryDirectory() as path:
        (Path(path) / "tokenizer.json").write_text(json.dumps(value))
        (Path(path) / "tokenizer_config.json").write_text(json.dumps(config))
        (Path(path) / "config.json").write_text('{"model_type": "llama"}')
        t = PreTrainedTokenizerFast.from_pretrained(path)
        around = [t(text)["input_ids"] for text in TEXTS]
    return {"files": {"tokenizer.json": value, "tokenizer_config.json": config, **files},
            "ids": ids_of(tokenizer), "around": around}


def stripping():
    """Added tokens that take white space along."""
    value = base(train_bytes(40))
    value["pre_tokenizer"] = GPT2_STEP
    t = load(value)
    t.add_special_tokens([AddedToken("<|halt|>", normalized=False, special=True, lstrip=True)])
    t.add_tokens([AddedToken("<tag>", normalized=False, rstrip=True)])
    t.add_tokens([AddedToken("two", normalized=False, lstrip=True, rstrip=True)])
    return folder(t, {})


def byte_level():
    model = train_bytes(240)
    model["ignore_merges"] = True
    parts = {p for m in model["merges"] for p in m}
    dropped = [m for m in model["merges"] if "".join(m) not in parts][::5]
    model["merges"] = [m for m in model["merges"] if m not in dropped]
    value = base(model)
    value["pre_tokenizer"] = FORMS[0][2]
    t = load(value)
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in ("<|begin|>", "<|halt|>", "<|pad|>")])
    t.add_tokens([AddedToken("<tag>", normalized=False)])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", t.token_to_id("<|begin|>"))])])
    return folder(t, {
        "bos_token": {"__type": "AddedToken", "content": "<|begin|>"}, "eos_token": "<|halt|>", "pad_token": "<|pad|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "{{ bos_token }}D"}]})


def spaces(normalizer, pre_tokenizer, n_merge, all_pairs, added=()):
    """BPE over characters. all_pairs: every pair that makes a token is a merge, as in files made from
    SentencePiece's, else only those that training found."""
    lines = [line.replace(" ", "▁") for line in TEXTS * 3 + CORPUS[:30]]
    letters = sorted(c for c, n in Counter("".join(lines)).items() if n > 3)
    alphabet = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + letters
    model = train(lines, alphabet, n_merge, 6)
    plain = {k: v for k, v in model["vocab"].items() if v >= 259}
    if all_pairs:
        rank = {"".join(m): i for i, m in reversed(list(enumerate(model["merges"])))}
        model["merges"] = [[t[:i], t[i:]] for t in sorted(rank, key=rank.get) for i in range(1, len(t))
                           if t[:i] in plain and t[i:] in plain]
    model.update(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    value = base(model)
    value["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    value["normalizer"], value["pre_tokenizer"] = normalizer, pre_tokenizer
    t = load(value)
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in ("<unk>", "<s>", "</s>", "<|halt|>")])
    t.add_tokens([AddedToken(s, normalized=False) for s in added])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return folder(t, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
LLAMA = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE]}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
OLD_METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}
GEMMA = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}


def tiktoken():
    """Ranks are the places of the tokens; of the neighbours that are a token together the lowest joins."""
    letter = {c: b for b, c in byte_letters().items()}
    tokens = [bytes(letter[c] for c in t) for t in train_bytes(240)["vocab"]]
    rank = {t: i for i, t in enumerate(tokens)}
    cut = load(dict(base(train_bytes(1)), pre_tokenizer=FORMS[0][2])).pre_tokenizer

    def join(piece):
        if piece in rank:
            return [rank[piece]]
        parts = [piece[i:i + 1] for i in range(len(piece))]
        while True:
            best = min((rank.get(l + r, len(rank)), i) for i, (l, r) in enumerate(zip(parts, parts[1:])))
            if best[0] == len(rank):
                return [rank[p] for p in parts]
            parts[best[1]:best[1] + 2] = [parts[best[1]] + parts[best[1] + 1]]

    ids = [[i for piece, _ in cut.pre_tokenize_str(text) for i in join(bytes(letter[c] for c in piece))]
           for text in TEXTS]
    return {"file": "".join(f"{base64.b64encode(t).decode()} {i}\n" for t, i in rank.items()), "texts": TEXTS,
            "ids": ids}


def byte_letters():
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def write(name, value, depth):
    """One line per entry, so that differences can be read."""
    def dump(v, d):
        if d and isinstance(v, dict):
            return "{\n" + ",\n".join(json.dumps(k) + ": " + dump(x, d - 1) for k, x in v.items()) + "\n}"
        if d and isinstance(v, list):
            return "[\n" + ",\n".join(dump(x, d - 1) for x in v) + "\n]"
        return json.dumps(v, separators=(",", ":"))
    (HERE / name).write_text(dump(value, depth) + "\n")


write("forms.json", forms(), 2)
write("tiktoken.json", tiktoken(), 1)
write("folders.json", {"texts": TEXTS, "folders": {
    "byte-level": byte_level(),
    "llama": spaces(LLAMA, None, 240, True, ("<tag>",)),
    "trained": spaces(LLAMA, None, 240, False, ("<tag>",)),
    "first": spaces(None, METASPACE, 240, True),
    "always": spaces(None, OLD_METASPACE, 240, True),
    "stripping": stripping(),
    "gemma": spaces(REPLACE, GEMMA, 240, True, ("<tag>",)),
}}, 3)
