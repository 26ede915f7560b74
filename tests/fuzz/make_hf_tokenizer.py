#!/usr/bin/env python3
"""Make the seeds of the target hf_tokenizer: small folders, as fuzz_hf_tokenizer.c reads them.

Needs nothing but Python. Inputs that once failed stand beside them under other names."""
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus" / "hf_tokenizer"
NAMES = ["tokenizer.model", "tokenizer.json", "original/tokenizer.model", "tokenizer_config.json", "added_tokens.json",
         "special_tokens_map.json", "generation_config.json", "config.json", "chat_template.jinja", "chat_template.json"]
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")


def seed(name, files, rows="0"):
    records = []
    for file, content in files.items():
        if not isinstance(content, (bytes, str)):
            content = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        if isinstance(content, str):
            content = content.encode()
        assert b"\x1e" not in content
        records.append(bytes([ord("a") + NAMES.index(file)]) + content)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_bytes(rows.encode() + b"\x1e".join(records))


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def piece(text, score, kind):
    import struct
    return message(1, message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind]))


seed("byte-level", {
    "tokenizer.json": {
        "added_tokens": [{"id": 5, "content": "<s>", "special": True}, {"id": 6, "content": "</s>", "special": False}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}, BYTES]},
        "post_processor": {"type": "Sequence", "processors": [BYTES, {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}}}]},
        "model": {"type": "BPE", "ignore_merges": True, "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3, "abc": 4},
                  "merges": ["a b", "ab c"]}},
    "tokenizer_config.json": {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True,
                              "chat_template": [{"name": "default", "template": "x"}, {"name": "b", "template": "y"}]},
    "generation_config.json": {"eos_token_id": [6, 4, 3]}}, "@")
seed("digits", {"tokenizer.json": {
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, dict(BYTES, use_regex=True)]},
    "model": {"vocab": {"1": 0, "2": 1, "12": 2}, "merges": [["1", "2"]]}},
    "special_tokens_map.json": {"bos_token": "12"}, "config.json": {"eos_token_id": 1}})
SPACES = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                              {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
VOCAB = {"<unk>": 0, "<s>": 1, "</s>": 2, "<0xC3>": 3, "▁": 4, "a": 5, "b": 6, "ab": 7, "▁ab": 8, "▁▁": 9}
seed("spaces", {"tokenizer.json": {
    "added_tokens": [{"id": 9, "content": "▁▁"}, {"id": 0, "content": "<unk>", "special": True}],
    "normalizer": SPACES, "pre_tokenizer": None,
    "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": VOCAB,
              "merges": [["▁", "▁"], ["a", "b"], ["▁", "ab"]]}},
    "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}})
seed("by-merges", {"tokenizer.json": {
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
    "model": {"type": "BPE", "vocab": dict(VOCAB, **{"ba": 10, "aba": 11}),
              "merges": [["a", "b"], ["b", "a"], ["ab", "a"]]}}})
seed("sentencepiece", {
    "tokenizer.model": piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("<0x41>", 0, 6) +
    piece("▁", -1, 1) + piece("a", -2, 1) + piece("▁a", -3, 1) + piece("▁▁", 0, 4) +
    message(2, b"\x18\x02\xc0\x02\x00\xc8\x02\x01\xd0\x02\x02\xd8\x02" + b"\xff" * 9 + b"\x01") +
    message(3, message(1, b"identity") + b"\x18\x01\x20\x01\x28\x01"),
    "added_tokens.json": {"<more>": 8, "<|turn|>": 9},
    "tokenizer_config.json": {"added_tokens_decoder": {"8": {"content": "<more>", "special": True}}},
    "chat_template.jinja": "{{ bos_token }}"}, "@")
seed("tiktoken", {"original/tokenizer.model": "YQ== 0\nYg== 1\nIA== 2\nYWI= 3\nIGFi 4\nYWJh 5\n"})
seed("tiktoken-config", {"tokenizer.model": "YQ== 0\r\nYg== 1\r\nYWI= 2", "chat_template.json": {"chat_template": "x"},
                         "tokenizer_config.json": {"added_tokens_decoder": {"7": {"content": "<s>"}}}}, "8")
