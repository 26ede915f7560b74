#!/usr/bin/env python3
"""Prepare the training data of tern-stories.

Reads TinyStories text files, mends them, trains a byte-level BPE vocabulary
and writes packed token rows, one file per epoch:

    OUT/tokenizer.json     Hugging Face tokenizer (llama-bpe pre-tokeniser)
    OUT/epoch_NN.npy       uint16 [rows, context + 1]; bit 15 = no loss here
    OUT/dev.npy            the same for stories kept out of training
    OUT/heldout.txt        the mended held-out text, for perplexity

Every epoch shows each story once, either plain or as the answer in a short
conversation; the next epoch swaps the two and draws new phrasings.

    prepare.py --out OUT --heldout valid.txt train1.txt train2.txt ...
"""
import argparse
import json
import os
import random
import re

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

EOT_TEXT, USER, ASSISTANT, SYSTEM, END = (
    "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
SPECIALS = [EOT_TEXT, USER, ASSISTANT, SYSTEM, END]
LLAMA_BPE = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
             r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
NO_LOSS = 0x8000

# ---------------------------------------------------------------- mending

# UTF-8 punctuation once read as Windows-1252 (the last byte of a closing
# quote has no character there and is lost, hence the bare pair at the end).
MOJIBAKE = [("â€œ", '"'), ("â€\x9d", '"'), ("â€™", "'"), ("â€˜", "'"),
            ("â€“", " - "), ("â€”", " - "), ("â€¦", "..."), ("â€Š", " "), ("â€", '"')]
PLAIN = {"“": '"', "”": '"', "’": "'", "‘": "'", "–": " - ", "—": " - ", "…": "...",
         "«": '"', "»": '"', "\u00a0": " ", "\t": " ", "\r": "\n"}


def mend(text):
    for bad, good in MOJIBAKE:
        text = text.replace(bad, good)
    for bad, good in PLAIN.items():
        text = text.replace(bad, good)
    text = re.sub(r" +", " ", text)
    return re.sub(r" ?\n ?", "\n", text)


def split_stories(text):
    """Stories of one file, paragraphs parted by one blank line."""
    if EOT_TEXT in text:
        marked = True
        stories = text.split(EOT_TEXT)
    else:  # paragraphs are parted by blank lines, stories by a single newline
        marked = False
        stories = re.split(r"(?<!\n)\n(?!\n)", text)
    stories = [re.sub(r"\n+", "\n\n", s.strip()) for s in stories]
    # the first and last piece of a cut file may start or stop in mid-story
    good = []
    for i, story in enumerate(stories):
        if len(story) < 150 or len(story) > 4000:
            continue
        if i == 0 and not story[0].isupper():
            continue
        if story[-1] not in ".!?\"'":
            continue
        if i == len(stories) - 1 and marked and not text.rstrip().endswith(EOT_TEXT):
            continue
        if not (story[0].isupper() or story[0] == '"'):
            continue
        good.append(story)
    return good


# ------------------------------------------------------------- requests

NOUNS = set("""
ant apple armadillo baby bag ball balloon banana barn basket bath beach bead bear bed bee bell bench
bike bird biscuit blanket block boat book bottle bow bowl box branch bread bridge broom brush bubble
bucket bug bunny bus bush butterfly button cabin cake camel camera candle candy car card carrot castle
cat caterpillar cave chair cheese chick chicken chocolate circus cloud clown coat coin cookie cow crab
crayon crown cup dad daisy dance deer desk diamond dinosaur doctor dog doll dolphin donkey door dragon
drawing dream dress drum duck eagle egg elephant elf engine fairy farm farmer feather fence fire fish
flag flower fly forest fork fox frog fruit game garden gate ghost giant gift giraffe glass glove
goat gold goose grandma grandpa grape grass guitar hammer hat helicopter hen hill hippo hole honey horse
hospital hotel house ice-cream insect island jacket jam jar jellyfish jewel juice jungle kangaroo key king
kite kitten knife knight ladder ladybug lake lamb lamp leaf lemon leopard letter library lion lizard
lollipop machine magic map mask meadow medal melon mermaid milk mirror mitten mole monkey monster moon
mountain mouse mud mug muffin mushroom music necklace needle nest net note nurse nut ocean octopus
onion orange ostrich owl paint painting palace pan panda pancake park parrot party path peach peacock pear
pebble pen pencil penguin phone piano picnic picture pie pig pigeon pillow pirate pizza plane plant plate
playground policeman pond pony pool potato present prince princess puddle pumpkin puppet puppy purse puzzle
queen rabbit race radio rain rainbow rat ring river robot rock rocket rope rose sailor salad sand sandwich
scarf school scooter sea seed shark sheep shell ship shirt shoe shop shovel skirt slide snail snake snow
snowflake snowman soap sock soldier song soup spider spoon spring squirrel star statue stick stone storm
stove strawberry sun sweater sweet swing sword table tail tea teacher teddy tent ticket tiger toad tomato
tooth towel tower town toy tractor train treasure tree triangle truck trumpet tub turtle umbrella unicorn
valley van vase vegetable village violin volcano wagon wall watch water wave whale wheel whistle wind
window wing witch wizard wolf worm yard yarn zebra zoo
""".split())
PLAIN_NOUN = {"magic", "music", "water", "snow", "rain", "sand", "mud", "gold", "bread", "cheese", "honey",
              "milk", "juice", "grass", "soap", "tea", "jam", "yarn", "paint", "chocolate", "ice-cream", "soup",
              "candy", "fruit", "wind"}
THE_NOUN = {"sun", "moon", "ocean", "sea", "beach", "park", "zoo", "circus", "playground"}
NOT_NAMES = set("""I Once One The They He She It But So And When Then After From Mom Mommy Mama Dad Daddy Mum Mummy
Papa Grandma Grandpa Yes No Thank Thanks Hello Hi Let What Why How Who Where You We My Your Suddenly Finally
Every That This There Later Soon As At In On If Please Okay Ok Oh Wow Look Hey Sorry Can Do Are Is Now Good Mr
Mrs Miss Don't I'm It's Let's That's You're Sir End All Come Be Some Her His Their Just Not For To A An Of With
Christmas Halloween Monday Tuesday Wednesday Thursday Friday Saturday Sunday God Go Maybe Time Never Always""".split())
THEMES = [
    (r"\bshar(e|ed|ing)\b", ["learns to share", "shares", "has to share"]),
    (r"\bsorry\b", ["says sorry", "learns to say sorry"]),
    (r"\bbrave\b", ["is brave", "learns to be brave"]),
    (r"\b(lost|looked everywhere|can't find|couldn't find)\b", ["gets lost", "loses something"]),
    (r"\bnew friends?\b", ["makes a new friend", "finds a friend"]),
    (r"\b(scared|afraid|frightened)\b", ["is scared", "is afraid"]),
    (r"\b(helped|to help)\b", ["helps a friend", "likes to help"]),
    (r"\b(dance|danced|dancing)\b", ["likes to dance"]),
    (r"\b(sing|sang|singing)\b", ["likes to sing"]),
    (r"\b(lie|lied|truth)\b", ["learns to tell the truth"]),
    (r"\b(clean|cleaned)\b", ["has to clean up"]),
    (r"\bangry\b", ["gets angry"]),
    (r"\bcareful\b", ["learns to be careful"]),
    (r"\bpatient\b", ["learns to be patient"]),
    (r"\b(kind|kindness)\b", ["is kind", "learns to be kind"]),
    (r"\bgive up\b", ["does not give up"]),
    (r"\b(surprise|surprised)\b", ["gets a surprise"]),
    (r"\b(rain|rainy|storm)\b", ["plays in the rain"]),
]
DETERMINERS = set("a an the his her their my your our its this that some two three many of".split())
HERO = re.compile(r"\b(boy|girl|dog|cat|bird|bear|rabbit|bunny|mouse|fish|frog|fox|lion|duck|squirrel|monkey|pig|"
                  r"princess|prince|king|queen|elephant|bee|butterfly|puppy|kitten|turtle|dragon|fairy|robot)\b")

TELL = ["Tell me a story", "Write a story", "Can you tell me a story", "Please tell me a story", "Make up a story",
        "I want a story", "I would like a story", "Write a short story", "Tell me a short story", "Give me a story",
        "Could you write a story", "Tell a story", "Please write a story", "Tell me a little story",
        "Write me a story", "Can you write a story", "Could you tell me a story", "I want to hear a story",
        "tell me a story", "write a story", "a story", "Story", "Tell me a tale", "Can I have a story"]
ASKING = ("Can", "Could", "May")
BARE = TELL + ["Tell me a bedtime story", "Tell me another story", "Once upon a time", "Tell me something nice",
               "I am bored", "I can't sleep", "What story do you know?", "Do you know a story?", "Go", "Tell me a fairy tale",
               "Surprise me", "Another one", "Tell me a new story", "Hello, tell me a story", "Hi! Can you tell me a story"]
GREETINGS = ["hello", "Hello", "Hi", "hi", "Hey", "Hello!", "Hi!", "Good morning", "hey there", "Hi there!", "Good evening!"]
GREETING_ANSWERS = ["Hello! What story would you like to hear?", "Hi! Do you want to hear a story?",
                    "Hello! I like to tell stories. What should the story be about?",
                    "Hi there! I can tell you a story about a dog, a cat or a dragon. Which one would you like?"]
THANKS = ["Thank you", "thanks", "Thanks!", "Thank you!", "That was nice", "I liked that story", "Good story!", "Great, thank you."]
THANKS_ANSWERS = ["You are welcome! Do you want to hear another story?", "I am glad you liked it! Shall I tell you another one?",
                  "You are welcome! What should the next story be about?"]
WHO = ["Who are you?", "What are you?", "What is your name?", "who are you", "What can you do?", "What do you do?", "Help"]
WHO_ANSWERS = ["I am a little storyteller. Tell me what you would like to hear about, and I will tell you a story.",
               "I tell little stories. You can ask me for a story about a dog, a princess or anything you like.",
               "I am a very small language model that tells stories. Ask me for a story about your favorite animal!"]
OTHER = ["What is the capital of France?", "What is 2 + 2?", "How do I cook rice?", "Write a program in C.", "Who was the first president?",
         "What is the weather today?", "Translate this into German.", "How old is the earth?", "What time is it?", "Explain gravity.",
         "What is the meaning of life?", "Solve this equation.", "Who won the game?", "What is a computer?", "Why is the sky blue?"]
OTHER_ANSWERS = ["I do not know that. I only know little stories. Would you like to hear one?",
                 "I am sorry, I can only tell stories. What should the story be about?",
                 "That is too hard for me! But I can tell you a story. What would you like it to be about?"]
GO_ON = ["What happened next?", "Go on.", "Go on", "And then?", "what happened next", "Please go on.", "Tell me more.", "Continue",
         "And what happened then?", "More!", "How does it end?", "Please continue the story.", "Then what?", "continue", "next"]
CONTINUE = ["Continue this story: ", "Finish this story: ", "Please continue: ", "How does this story go on? ", "Write the rest of this story: "]
SYSTEMS = ["You are a helpful assistant.", "You are a storyteller.", "You tell stories for children.", "You are a friendly assistant who tells stories."]


def article(noun):
    if noun in THE_NOUN:
        return "the " + noun
    if noun in PLAIN_NOUN:
        return noun
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def facts(story):
    """Name of the hero, the things and the themes of a story."""
    named = re.search(r"\b(?:named|called|name was) ([A-Z][a-z]+)\b", story)
    counts = {}
    for name in re.findall(r"(?<=[a-z,] )([A-Z][a-z]+)\b", story):
        if name not in NOT_NAMES:
            counts[name] = counts.get(name, 0) + 1
    names = sorted((n for n in counts if counts[n] >= 2), key=lambda n: -counts[n])
    if named and named.group(1) not in NOT_NAMES:
        names = [named.group(1)] + [n for n in names if n != named.group(1)]
    words = re.findall(r"[a-z]+(?:-[a-z]+)?", story.lower())
    found, where = {}, {}
    for i, word in enumerate(words):
        if not DETERMINERS.intersection(words[max(0, i - 2):i]):
            continue  # most likely a verb: "they watch", "to fly"
        for form in (word, word[:-1] if word.endswith("s") else word):
            if form in NOUNS:
                found[form] = found.get(form, 0) + 1
                where.setdefault(form, i)
                break
    # what the story is about: named more than once, or early
    nouns = [n for n in found if found[n] > 1 or where[n] < 40] or list(found)
    nouns = sorted(nouns, key=lambda n: (-found[n], where[n]))[:5]
    themes = [t for pattern, group in THEMES if re.search(pattern, story) for t in group]
    hero = HERO.search(story[:200])
    return names, nouns, themes, hero.group(1) if hero else None


def request(story, rng):
    """One user message whose answer this story could be."""
    names, nouns, themes, hero = facts(story)
    tell = rng.choice(TELL)
    kind = rng.random()
    if kind < 0.12 or not nouns:
        text = rng.choice(BARE)
    elif kind < 0.37:
        text = tell + " about " + article(rng.choice(nouns[:3]))
    elif kind < 0.60 and len(nouns) > 1:
        a, b = rng.sample(nouns[:3], 2)
        text = tell + " about " + article(a) + " and " + article(b)
    elif kind < 0.75 and names:
        who = names[0]
        if len(names) > 1 and rng.random() < 0.4:
            who = names[0] + " and " + names[1]
        elif rng.random() < 0.4:
            who = who + " and " + article(rng.choice(nouns[:3]))
        text = tell + rng.choice([" about ", " about "]) + who
    elif kind < 0.90 and themes and hero:
        text = tell + rng.choice([" where ", " in which "]) + article(hero) + " " + rng.choice(themes)
    elif kind < 0.95 and hero and names:
        text = tell + " about " + article(hero) + rng.choice([" named ", " called "]) + names[0]
    else:
        some = rng.sample(nouns[:5], min(len(nouns), 3))
        if rng.random() < 0.5:
            text = tell + " with the words " + ", ".join(some)
        else:
            text = tell + " about " + article(some[0])
    if text[-1] not in "?.!":
        text += rng.choice(["?", "", "?"]) if text.startswith(ASKING) else rng.choice([".", ".", "", "!", ", please."])
    if rng.random() < 0.05:
        text = text[0].lower() + text[1:]
    return text


def halves(story):
    """The story parted at a paragraph or sentence end near the middle."""
    cuts = [m.end() for m in re.finditer(r"\n\n", story)] or [m.end() for m in re.finditer(r"[.!?]\"? ", story)]
    cuts = [c for c in cuts if 0.25 < c / len(story) < 0.75]
    if not cuts:
        return None
    cut = min(cuts, key=lambda c: abs(c - len(story) / 2))
    return story[:cut].strip(), story[cut:].strip()


def dialogue(story, rng):
    """Messages [(role, text), ...] that show this story as an answer."""
    turns = []
    if rng.random() < 0.06:
        turns.append(("system", rng.choice(SYSTEMS)))
    kind = rng.random()
    if kind < 0.04:
        turns += [("user", rng.choice(GREETINGS)), ("assistant", rng.choice(GREETING_ANSWERS))]
    elif kind < 0.06:
        turns += [("user", rng.choice(WHO)), ("assistant", rng.choice(WHO_ANSWERS))]
    elif kind < 0.09:
        turns += [("user", rng.choice(OTHER)), ("assistant", rng.choice(OTHER_ANSWERS))]
    parts = halves(story)
    kind = rng.random()
    if kind < 0.15 and parts:
        turns += [("user", request(story, rng)), ("assistant", parts[0]), ("user", rng.choice(GO_ON)), ("assistant", parts[1])]
    elif kind < 0.22:
        first = re.match(r"(.{20,}?[.!?]\"?)\s+(?=[A-Z\"])", story, re.S)
        if first:
            turns += [("user", rng.choice(CONTINUE) + first.group(1).replace("\n\n", " ")), ("assistant", story[first.end():])]
        else:
            turns += [("user", request(story, rng)), ("assistant", story)]
    else:
        turns += [("user", request(story, rng)), ("assistant", story)]
    if rng.random() < 0.06:
        turns += [("user", rng.choice(THANKS)), ("assistant", rng.choice(THANKS_ANSWERS))]
    return turns


# ------------------------------------------------------------- tokens

def train_tokenizer(stories, vocab_size):
    tok = Tokenizer(models.BPE(ignore_merges=True))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA_BPE), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tok.train_from_iterator(stories, trainer)
    return tok


class Coder:
    def __init__(self, tok):
        self.tok = tok
        self.special = {s: tok.token_to_id(s) for s in SPECIALS}
        self.newline = self.encode("\n")

    def encode(self, text):
        return self.tok.encode(text, add_special_tokens=False).ids

    def plain(self, story):
        bos = self.special[EOT_TEXT]
        return [bos | NO_LOSS] + self.encode(story) + [bos]

    def chat(self, turns):
        """<|endoftext|> { <|role|> \\n text <|end|> \\n } <|endoftext|>; loss on answers only."""
        out = [self.special[EOT_TEXT] | NO_LOSS]
        for role, text in turns:
            ids = self.encode(text)
            out += [t | NO_LOSS for t in [self.special["<|%s|>" % role]] + self.newline]
            if role == "assistant":
                out += ids + [self.special[END]]
            else:
                out += [t | NO_LOSS for t in ids + [self.special[END]]]
            out += [t | NO_LOSS for t in self.newline]
        return out


def pack(documents, width, rng):
    """Best-fit packing of whole documents into rows of `width` tokens; longer ones are cut."""
    pad = NO_LOSS
    rows, free = [], {}
    for doc in sorted(documents, key=len, reverse=True):
        doc = doc[:width]
        fit = next((f for f in range(len(doc), width) if free.get(f)), None)
        if fit is None:
            row = len(rows)
            rows.append(list(doc))
            left = width - len(doc)
        else:
            row = free[fit].pop()
            rows[row] = (doc + rows[row]) if rng.random() < 0.5 else (rows[row] + doc)
            left = fit - len(doc)
        free.setdefault(left, []).append(row)
    out = np.full((len(rows), width), pad, np.uint16)
    for i, row in enumerate(rows):
        out[i, :len(row)] = row
    return out[np.random.default_rng(rng.randrange(1 << 30)).permutation(len(rows))]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", required=True)
    ap.add_argument("--heldout", required=True, help="text never trained on")
    ap.add_argument("--vocab", type=int, default=4096)
    ap.add_argument("--context", type=int, default=512)
    ap.add_argument("--epochs", type=int, default=8)
    ap.add_argument("--dev", type=int, default=150, help="stories kept out of training to watch the loss")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("files", nargs="+")
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    rng = random.Random(args.seed)

    stories = []
    for path in args.files:
        with open(path, encoding="utf-8", errors="replace") as f:
            found = split_stories(mend(f.read()))
        print("%-34s %6d stories" % (os.path.basename(path), len(found)))
        stories += found
    stories = list(dict.fromkeys(stories))
    rng.shuffle(stories)
    dev, stories = stories[:args.dev], stories[args.dev:]
    print("%d stories for training, %d bytes" % (len(stories), sum(len(s.encode()) for s in stories)))

    tok = train_tokenizer(stories, args.vocab)
    tok.save(os.path.join(args.out, "tokenizer.json"))
    code = Coder(tok)

    for epoch in range(args.epochs):
        docs = [code.plain(s) if (i + epoch) % 2 else code.chat(dialogue(s, rng)) for i, s in enumerate(stories)]
        rows = pack(docs, args.context + 1, rng)
        np.save(os.path.join(args.out, "epoch_%02d.npy" % epoch), rows)
        if epoch == 0:
            tokens = sum(map(len, docs))
            print("epoch: %d rows, %d tokens, %.1f %% filled, %d documents cut" % (
                len(rows), tokens, 100 * tokens / rows.size, sum(len(d) > args.context + 1 for d in docs)))
    np.save(os.path.join(args.out, "dev.npy"), pack([code.plain(s) for s in dev], args.context + 1, rng))
    with open(args.heldout, encoding="utf-8", errors="replace") as f:
        text = mend(f.read())
    with open(os.path.join(args.out, "heldout.txt"), "w", encoding="utf-8") as f:
        f.write(re.sub(r"\n+", "\n\n", text).strip() + "\n")
    with open(os.path.join(args.out, "samples.json"), "w", encoding="utf-8") as f:
        json.dump([dialogue(s, rng) for s in stories[:60]], f, indent=1)


if __name__ == "__main__":
    main()
