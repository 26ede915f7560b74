#!/usr/bin/env python3
"""Make the tokenizer fixtures of this folder.

  make.py DATA    DATA holds tokenizers/ (GGUF vocabularies with .inp and .out), models/tok512.model
                  and text/tinyshakespeare.txt

Needs the packages gguf, tokenizers and sentencepiece. Every expected id or piece comes from
`tokenizers` or `sentencepiece`; where the data has expected ids of its own the two must agree.

  texts.json      the texts that all other files refer to by position
  pieces.json     per pre-tokeniser and text: the lengths in bytes of the words
  <name>.gguf     a small vocabulary; <name>.json: its ids for each text
    gpt-2 (MIT), qwen2, falcon (Apache-2.0): all merges that can happen within the words of the
                  texts, all tokens these need; ids are the positions in the reduced list
    llama-bpe, deepseek-v3: (<name>-special.json: texts with special tokens, and ids) trained here on the texts and public domain text, with those families'
                  word patterns and kinds of special tokens
    tok512:       a SentencePiece model of 512 pieces (MIT), all of it
"""
import json
import random
import sys
from pathlib import Path

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

DATA = Path(sys.argv[1])
HERE = Path(__file__).parent

# ---- texts ------------------------------------------------------------------------------------


def fixture_texts(name):
    base = DATA / "tokenizers" / f"ggml-vocab-{name}.gguf"
    texts = Path(f"{base}.inp").read_bytes().split(b"\n__ggml_vocab_test__\n")
    lines = Path(f"{base}.out").read_text().split("\n")
    return [t.decode() for t in texts], [[int(i) for i in line.split()] for line in lines]


OWN = [
    "The ternary weights are -1, 0 and +1; nothing else.",
    "x'S y'LL z'Re we'vE I'M he'd 'tis 'd 's' ''s",
    "camelCaseWord HTTPServerError snake_case_word SCREAMING_CASE ÉcoleNormale ǅungla ʰello",
    "https://example.org/a/b?c=d&e=1234567890#frag, user@host.tld\r\n\r\n  indented\r\n\ttab",
    "1 12 123 1234 12345 1,234,567.89 ½ ² ① Ⅷ ١٢٣٤ 一二三 0x1F 1e-10",
    "naïve café e\u0301te\u0301 a\u0300\u0301\u0302b \u0301x \u0301",
    "日本語のテキスト、カタカナ、ひらがな。中文字符！한국어 텍스트 แบบไทย हिन्दी ਪੰਜਾਬੀ",
    "a\u00a0b\u3000c\u2003d\u200be\u2028f\u0085g\u1680h\u180ei\u205fj\ufeffk\x1cl\x0bm\x0cn",
    "   leading, trailing   ", "\n", "\r\n", " \n", "\n ", "  \n\n  \n x", "\t\t\n\t\tx", "a\n\n\nb", " ", "  ", "   a",
    "!!! ??? ... --- === +++ $$$ ^^^ ~~~ ||| ``` <<<>>> ((([[[{{{", "$5 + €6 = £7 ± ¥8 × ∞ → ∑ © ™",
    "for (int i = 0; i < n; i++) { sum += a[i] * b[i]; } // 100%\n#define X(y) \\\n\ty\n",
    "👍🏽👨‍👩‍👧‍👦 🇩🇪 ☃️ 🤖.", "«Да», сказал он — «нет»…", "ÀÉÎÕÜ àéîõü ßẞ ŒŸ ΑΒΓ αβγ ЖЗИ жзи Ꭰꭰ Ⴀⴀ ა",
    "!a !A #include @user .5 -x _y *z* &amp; (b) [c] {d} \"q\" 'r' /s\\ |t| ~u~ ^v^ `w`",
    "A\u1e00\u1fbe\u1f7d\u2126\u212a\uff21\uff41\ufb00 ～！（１２３）‘’“”　。",
    "ͶͷΌώѠѡԱաႠⴀⰀⰰꙀꙁꚀꜢꝱꞌꭰ𐐀𐐨𐓘𞤀ƻʔǀ",
]
SPECIAL_TEXTS = [
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhat is 1+1?<|eot_id|>",
    "<|eot_id|><|eot_id|><|eot_id|>", "a <|eot_id|> b<|eot_id", "<|<|eot_id|>|>", "<|begin_of_text|>",
    "<｜begin▁of▁sentence｜><think>hm</think><｜end▁of▁sentence｜>", "a   b <think", "<think> x", "    ",
]
ALPHABET = ["a", "B", "z", "é", "Ж", "中", "の", "ก", "ि", "\u0301", "1", "2", "½", "٣", " ", " ", "\n", "\r", "\t",
            "\u00a0", "\u3000", "'", "s", "L", ".", ",", "$", "-", "!", "`", "_", "/", "😀", "\u200d", "ǅ", "ʰ", "€"]


def random_texts():
    rng = random.Random(7)
    return ["".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 40))) for _ in range(100)]


SHARED, _ = fixture_texts("gpt-2")
TEXTS = SHARED + OWN + random_texts()

# ---- words ------------------------------------------------------------------------------------
# As the tokenizer.json files of these families have them.

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = ENDS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ENDS"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*ENDS"
         r"|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481"
    "\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b"
    "\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b"
    "\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df"
    "\U0001e900-\U0001e943")


def split(*patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]


WORDS = {
    "llama-bpe": split(LLAMA3),
    "qwen2": split(QWEN2),
    "qwen35": split(ENDS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
                    r"|\s+(?!\S)|\s+"),
    "llada-moe": split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
                       r"|\s*[\r\n]|\s+(?!\S)|\s+"),
    "seed-coder": split(ENDS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+"
                        r"|\s+(?!\S)|\s+"),
    "gpt-4o": split(CASED.replace("ENDS", ENDS + "?").replace("DIGITS", r"\p{N}{1,3}")),
    "tekken": split(CASED.replace("ENDS", "").replace("DIGITS", r"\p{N}")),
    "minicpm5": split(r"\p{N}{1,3}", LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}+")),
    "gpt-2": split(GPT2),
    "starcoder": [pre_tokenizers.Digits(individual_digits=True)] + split(GPT2),
    "falcon": [pre_tokenizers.Punctuation("contiguous")] + split(GPT2) + split("[0-9][0-9][0-9]"),
    "default": split(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "deepseek-coder": split("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK)
                      + [pre_tokenizers.Digits(individual_digits=True)],
    "deepseek-llm": split("[\r\n]", rf"\s?[{LETTERS}]+",
                          r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", CJK)
                    + [pre_tokenizers.Digits(individual_digits=False)],
    "deepseek-v3": split(r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                         r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
                         r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""),
}


def words_of(name, text):
    seq = pre_tokenizers.Sequence(WORDS[name])
    return [piece for piece, _ in seq.pre_tokenize_str(text)] if text else []


def byte_level(name):
    return pre_tokenizers.Sequence(WORDS[name] + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# ---- vocabularies -----------------------------------------------------------------------------

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def write_gguf(path, model, pre, tokens, types, merges=None, scores=None, **ids):
    w = gguf.GGUFWriter(str(path), "test")
    w.add_tokenizer_model(model)
    if pre:
        w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if scores is not None:
        w.add_token_scores(scores)
    if merges is not None:
        w.add_token_merges(merges)
    for key, value in ids.items():
        if isinstance(value, bool):
            w.add_bool(f"tokenizer.ggml.{key}", value)
        else:
            w.add_uint32(f"tokenizer.ggml.{key}", value)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def dump(name, value):
    rows = ",\n".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in value)
    (HERE / name).write_text(f"[\n{rows}\n]\n")


def bpe(tokens, merges, name, specials=(), **options):
    vocab = {t: i for i, t in enumerate(tokens)}
    t = Tokenizer(models.BPE(vocab, [tuple(m.split(" ", 1)) for m in merges], **options))
    t.pre_tokenizer = byte_level(name)
    t.decoder = decoders.ByteLevel()
    return t


def encode(t, text):
    return t.encode(text, add_special_tokens=False).ids


def reduce(name):
    """Keep the merges whose result stands within a word of the texts."""
    r = gguf.GGUFReader(str(DATA / "tokenizers" / f"ggml-vocab-{name}.gguf"))

    def array(key):
        f = r.fields[f"tokenizer.ggml.{key}"]
        return [f.parts[i] for i in f.data]

    tokens = [bytes(p).decode() for p in array("tokens")]
    types = [int(p[0]) for p in array("token_type")]
    merges = [bytes(p).decode() for p in array("merges")]
    full = bpe(tokens, merges, name)
    texts, expected = fixture_texts(name)
    for text, ids in zip(texts, expected):
        assert encode(full, text) == ids, (name, text)
    within = set()
    for text in TEXTS:
        for piece, _ in byte_level(name).pre_tokenize_str(text):
            within.update(piece[i:j] for i in range(len(piece)) for j in range(i + 1, min(len(piece), i + 40) + 1))
    merges = [m for m in merges if m.replace(" ", "") in within]
    letters = pre_tokenizers.ByteLevel.alphabet()
    needed = {part for m in merges for part in (*m.split(" "), m.replace(" ", ""))} | set(letters)
    keep = [i for i, t in enumerate(tokens) if t in needed or types[i] == CONTROL]
    new_id = {old: new for new, old in enumerate(keep)}
    ids = {k: new_id[int(r.fields[f"tokenizer.ggml.{k}"].parts[-1][0])]
           for k in ("bos_token_id", "eos_token_id") if f"tokenizer.ggml.{k}" in r.fields}
    write_gguf(HERE / f"{name}.gguf", "gpt2", name, [tokens[i] for i in keep], [types[i] for i in keep], merges, **ids)
    dump(f"{name}.json", [[new_id[i] for i in encode(full, text)] for text in TEXTS])


def train(name, size, specials, ignore_merges=False, **ids):
    """Specials: (text, type), appended. With ignore_merges some tokens lose their last merge, so that
    only whole words can give them."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = byte_level(name)
    corpus = (DATA / "text" / "tinyshakespeare.txt").read_text()[:200000].split("\n\n")
    t.train_from_iterator(TEXTS * 3 + corpus, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(t.to_str())["model"]
    tokens = [k for k, _ in sorted(model["vocab"].items(), key=lambda kv: kv[1])]
    merges = [" ".join(m) for m in model["merges"]]
    if ignore_merges:
        parts = {p for m in merges for p in m.split(" ")}
        last = [m for m in merges if m.replace(" ", "") not in parts]
        dropped = set(last[::5])
        merges = [m for m in merges if m not in dropped]
    t = bpe(tokens, merges, name, ignore_merges=ignore_merges)
    t.add_tokens([AddedToken(s, normalized=False) for s, kind in specials if kind == USER])
    rows = [encode(t, text) for text in TEXTS]
    if ignore_merges:
        assert rows != [encode(bpe(tokens, merges, name), text) for text in TEXTS]
    named = {k: len(tokens) + v if k.endswith("_id") else v for k, v in ids.items()}
    write_gguf(HERE / f"{name}.gguf", "gpt2", name, tokens + [s for s, _ in specials], [NORMAL] * len(tokens) + [k for _, k in specials],
               merges, **named)
    dump(f"{name}.json", rows)
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s, kind in specials if kind == CONTROL])
    dump(f"{name}-special.json", [[text, encode(t, text)] for text in SPECIAL_TEXTS])


def sentence_piece(name):
    sp = sentencepiece.SentencePieceProcessor(model_file=str(DATA / "models" / f"{name}.model"))
    n = sp.vocab_size()
    kind = [UNKNOWN if sp.is_unknown(i) else CONTROL if sp.is_control(i) else BYTE if sp.is_byte(i)
            else UNUSED if sp.is_unused(i) else NORMAL for i in range(n)]
    write_gguf(HERE / f"{name}.gguf", "llama", None, [sp.id_to_piece(i) for i in range(n)], kind,
               scores=[sp.get_score(i) for i in range(n)], bos_token_id=1, eos_token_id=2, unknown_token_id=0,
               remove_extra_whitespaces=sp.encode("a  b ") == sp.encode("a b"))
    dump(f"{name}.json", [sp.encode(text) for text in TEXTS])


def fuzz_seeds():
    """Vocabularies of a few tokens for tests/fuzz."""
    folder = HERE / "../../fuzz/corpus/tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    tokens = list("abcd ĠĊ12.") + ["ab", "abc", "Ġa", "<s>", "</s>", "<|eot_id|>", "USER", "", "<unk>"]
    types = [NORMAL] * 14 + [CONTROL] * 3 + [USER, UNUSED, UNKNOWN]
    merges = ["a b", "ab c", "Ġ a"]
    for name, pre in (("byte-level", "llama-bpe"), ("many-passes", "deepseek-llm"), ("no-pre", None)):
        write_gguf(folder / name, "gpt2", pre, tokens, types, merges, bos_token_id=14, eos_token_id=15,
                   unknown_token_id=19, add_eos_token=True)
    tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "<0xC3>", "▁", "a", "b", "ab", "▁a", "b▁", "USER"]
    types = [UNKNOWN, CONTROL, CONTROL, BYTE, BYTE] + [NORMAL] * 6 + [USER]
    write_gguf(folder / "sentence-piece", "llama", None, tokens, types, scores=[float(-i) for i in range(12)],
               remove_extra_whitespaces=True)


dump("texts.json", TEXTS)
(HERE / "pieces.json").write_text("{\n" + ",\n".join(
    f"{json.dumps(name)}: " + json.dumps([[len(p.encode()) for p in words_of(name, t)] for t in TEXTS],
                                         separators=(",", ":")) for name in WORDS) + "\n}\n")
for vocabulary in ("gpt-2", "qwen2", "falcon"):
    reduce(vocabulary)
train("llama-bpe", 1500,
      [("<|begin_of_text|>", CONTROL), ("<|end_of_text|>", CONTROL), ("<|start_header_id|>", CONTROL),
       ("<|end_header_id|>", CONTROL), ("<|eot_id|>", CONTROL), ("<|eot_id|><|eot_id|>", CONTROL)],
      ignore_merges=True, bos_token_id=0, eos_token_id=1)
train("deepseek-v3", 1500,
      [("<think>", USER), ("  ", USER), ("<｜begin▁of▁sentence｜>", CONTROL), ("<｜end▁of▁sentence｜>", CONTROL)],
      bos_token_id=2, eos_token_id=3, add_bos_token=True)
sentence_piece("tok512")
fuzz_seeds()
