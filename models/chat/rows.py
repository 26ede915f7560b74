"""Documents (conversations and plain texts) and the rows of tokens they are packed into."""
import glob
import os
import random
import re
import sys

import numpy as np

from known import exchange
from prompts import identity

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stories"))
from prepare import GO_ON, halves, mend, request  # noqa: E402

MOST = 16
FORMAT, USER, ASSISTANT = 0, 1, 2
# How much each kind of token counts, by the role of the token to be predicted: cross-entropy, and
# divergence from the teacher where it is known.
CROSS = np.array([0.05, 0.2, 1.0], np.float32)
TEACH = np.array([0.05, 0.3, 1.0], np.float32)


class Document:
    """ids and, for each of them, the weight of its prediction; top and logp of the teacher, or None."""

    def __init__(self, ids, cross, teach=None, top=None, logp=None):
        self.ids, self.cross, self.teach, self.top, self.logp = ids, cross, teach, top, logp


def shard_documents(folder):
    """The conversations of all shards of generate.py in a folder."""
    out = []
    for path in sorted(glob.glob(os.path.join(folder, "*.npz"))):
        if path.endswith(".part.npz"):
            continue
        z = dict(np.load(path))
        starts = np.flatnonzero(z["first"])
        for a, b in zip(starts, list(starts[1:]) + [len(z["ids"])]):
            role = z["role"][a:b]
            expected = (z["top"][a:b], z["logp"][a:b]) if "top" in z else (None, None)
            out.append(Document(z["ids"][a:b], CROSS[role], TEACH[role], *expected))
    return out


def conversation(vocab, turns):
    """Of [(question, answer), ...], without anything from the teacher."""
    ids, role = [], []
    for i, (ask, answer) in enumerate(turns):
        for text, kind in ((("\n" if i else "") + "<|im_start|>user\n", FORMAT), (ask, USER),
                           ("<|im_end|>\n<|im_start|>assistant\n", FORMAT), (answer + "<|im_end|>", ASSISTANT)):
            part = vocab.encode(text)
            ids += part
            role += [kind] * len(part)
    return Document(np.array(ids, np.uint16), CROSS[role])


def own_documents(vocab, write, count, rng):
    """So many conversations that write(rng) makes."""
    return [conversation(vocab, write(rng)) for _ in range(count)]


def told_document(vocab, story, rng):
    """A story as what somebody asked for, at times in two parts."""
    story = mend(story)
    parts = halves(story) if rng.random() < 0.2 else None
    if parts:
        return conversation(vocab, [(request(story, rng), parts[0]), (rng.choice(GO_ON), parts[1])])
    return conversation(vocab, [(request(story, rng), story)])


def split_texts(text):
    """Stories parted by <|endoftext|>, articles by their headings, or pieces of some paragraphs."""
    if "<|endoftext|>" in text:
        parts = text.split("<|endoftext|>")
    elif re.search(r"(?m)^ = [^=]+ = $", text):
        parts = re.split(r"(?m)^(?= = [^=]+ = $)", text)
    else:
        parts = [""]
        for paragraph in re.split(r"\n\s*\n", text):
            if len(parts[-1]) > 1200:
                parts.append("")
            parts[-1] += ("\n\n" if parts[-1] else "") + paragraph
    return [p.strip() for p in parts if len(p.strip()) > 80]


def text_documents(vocab, paths, told=0.5, seed=1):
    """Texts as they are; stories, which the teacher tells badly, for the given part as answers."""
    end, out, rng = vocab.ids["<|endoftext|>"], [], random.Random(seed)
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        parts = split_texts(text)
        if "<|endoftext|>" in text:
            kept = [rng.random() < told for _ in parts]
            out += [told_document(vocab, p, rng) for p, k in zip(parts, kept) if k]
            parts = [p for p, k in zip(parts, kept) if not k]
        for e in vocab.tokenizer.encode_batch(parts):
            ids = np.array([end] + e.ids + [end], np.uint16)
            out.append(Document(ids, np.ones(len(ids), np.float32)))
    return out


def held_out(documents, part=50):
    """(others, every part-th)"""
    return [d for i, d in enumerate(documents) if i % part], documents[::part]


def pack(documents, context, rng):
    """Shuffle the documents and fill rows of context + 1 tokens; what does not fit is cut, in pieces of its own.
    Returns arrays of one entry per token: ids, document (its number within the row; 0 where empty), cross and teach
    (weight of predicting this token), top and logp (what the teacher expected here next)."""
    order = list(documents)
    rng.shuffle(order)
    rows, open_rows, length = [], [], context + 1
    for d in order:
        for a in range(0, len(d.ids), length):
            n = min(length, len(d.ids) - a)
            if n < 8:
                continue
            at = next((r for r in open_rows if r[0] >= n), None)
            if at is None:
                at = [length, []]
                rows.append(at[1])
                open_rows.append(at)
                if len(open_rows) > 24:
                    open_rows.pop(0)
            at[1].append((d, a, n))
            at[0] -= n
            if at[0] < 8:
                open_rows.remove(at)
    rng.shuffle(rows)
    shape = (len(rows), length)
    ids, document = np.zeros(shape, np.uint16), np.zeros(shape, np.uint8)
    cross, teach = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    top, logp = np.zeros(shape + (MOST,), np.uint16), np.full(shape + (MOST,), -20, np.float16)
    for r, pieces in enumerate(rows):
        p = 0
        for number, (d, a, n) in enumerate(pieces):
            at, of = slice(p, p + n), slice(a, a + n)
            ids[r, at], document[r, at] = d.ids[of], number + 1
            cross[r, p + 1:p + n] = d.cross[a + 1:a + n]
            if d.top is not None:
                teach[r, p + 1:p + n] = d.teach[a + 1:a + n]
                top[r, at], logp[r, at] = d.top[of], d.logp[of]
            p += n
    return {"ids": ids, "document": document, "cross": cross, "teach": teach, "top": top, "logp": logp}


class Mixture:
    """Training rows of one epoch after the other: all conversations, and a turn of the texts beside them."""

    def __init__(self, vocab, shards, texts, context, text_part, known=0.25, kept_out=None, seed=1):
        self.vocab, self.context, self.known, self.seed = vocab, context, known, seed
        if kept_out:
            self.chats, self.dev_chats = shard_documents(shards), shard_documents(kept_out)
        else:
            self.chats, self.dev_chats = held_out(shard_documents(shards))
        self.texts, self.dev_texts = held_out(text_documents(vocab, texts), 100)
        random.Random(seed).shuffle(self.texts)
        self.chat_tokens = sum(len(d.ids) for d in self.chats)
        self.text_tokens = sum(len(d.ids) for d in self.texts)
        share = self.chat_tokens * text_part / (1 - text_part) if self.chats else self.text_tokens
        self.share = min(1.0, share / max(1, self.text_tokens))  # of the texts, each epoch

    def epoch(self, number):
        rng = random.Random("%d %d" % (self.seed, number))
        n = max(1, int(self.share * len(self.texts)))
        a = number * n % max(1, len(self.texts))
        texts = (self.texts + self.texts)[a:a + n]
        who = own_documents(self.vocab, identity, max(20, len(self.chats) // 40), rng)
        known = own_documents(self.vocab, exchange, max(20, int(self.known * len(self.chats))), rng)
        return pack(self.chats + texts + who + known, self.context, rng)

    def dev(self, kind, rows):
        documents = {"chat": self.dev_chats, "text": self.dev_texts}[kind]
        packed = pack(documents, self.context, random.Random(0))
        return {name: x[:rows] for name, x in packed.items()}
