"""Questions whose answers are known, so that no teacher is needed: all written for this project (MIT).

exchange(rng) -> [(question, answer)]: sums, kinds of things, opposites, capitals, what words mean, what people do,
how to do simple things, tips, little poems, what to say to somebody.  The teacher is wrong about many of these.  FIXED holds the prompts
by which the finished model is shown; none of them is asked here.  As a program it prints some exchanges.
"""
import random

from choices import choice
from lore import (KINDS, ORDERS, OPPOSITES, CAPITALS, PLACES, MEANINGS, JOBS, FACTS, STEPS, COMFORT, SAYINGS, TIPS,
    POEMS, VERSES, SUBJECTS_OF_POEMS, JOKES, APART, NUMBERS, PLURALS, PASTS, SPELL, SUBJECTS, DOINGS)

FIXED = (
    "Hello!", "Who are you?", "How are you today?", "What is the capital of France?", "What is water?",
    "Why is the sky blue?", "What is the difference between a cat and a dog?", "Give me three tips for sleeping better.",
    "How do I make tea?", "Name five animals.", "Tell me a story about a lost puppy.", "Write a short poem about the moon.",
    "I feel sad today.", "What is two plus three?", "What is the opposite of hot?",
    "Correct the mistakes: He go to school every days.", "What does a farmer do?", "Tell me a joke.",
    "Explain gravity to a child.", "Thank you, goodbye!")


def entries(text):
    return [tuple(part.strip() for part in line.split(":", 1)) for line in text.split("\n")]


def pairs(text):
    return [tuple(w.replace("_", " ") for w in entry.split()) for entry in text.replace("\n", " ").split(",")]


def capital(text):
    return text[0].upper() + text[1:]


KINDS_OF = [(kind, things.split(", ")) for kind, things in entries(KINDS)]
ORDERED = [(kind, things.split(", ")) for kind, things in entries(ORDERS)]
OPPOSITE = [p for p in pairs(OPPOSITES) if len(p) == 2]
CAPITAL, COUNTRY, MEANING, JOB = pairs(CAPITALS), pairs(PLACES), entries(MEANINGS), entries(JOBS)
FACT = [tuple(line.split(" | ")) for line in FACTS.split("\n")]
STEP = [(task, steps.split(" | ")) for task, steps in entries(STEPS)]
TIP = [(what, said.split(" | ")) for what, said in entries(TIPS)]
POEM, NAMED = entries(POEMS), [m for m in MEANING if m[0].startswith(("a ", "an "))]
SAYING = [tuple(side.split(" / ") for side in line.split(" | ")) for line in SAYINGS.split("\n")]
FEELING, PLURAL, PAST = entries(COMFORT), pairs(PLURALS), pairs(PASTS)
DOING = [tuple(d.split(None, 2)) for d in DOINGS.replace("\n", " ").split(", ")]


def numbered(things):
    return "\n".join("%d. %s" % (i, capital(t)) for i, t in enumerate(things, 1))


def in_words(things):
    return capital(", ".join(things[:-1]) + " and " + things[-1] + ".") if len(things) > 1 else capital(things[0]) + "."


def number(rng, n):
    return NUMBERS[n] if n <= 20 and rng.random() < 0.4 else str(n)


def which_kind(rng):
    """What a thing is, of some kinds that have nothing in common."""
    some = rng.sample([k for k in KINDS_OF if k[0] in APART], rng.choice((2, 3, 4)))
    right, things = rng.choice(some)
    thing, names = rng.choice(things), [k for k, _ in some]
    if rng.random() < 0.5:
        return "What kind of thing is it?\n\nAnswer with one of: %s.\n\n%s" % (", ".join(names), thing), right
    return "Does %s belong to %s or %s?" % (thing, ", ".join(names[:-1]), names[-1]), capital("%s belongs to %s." % (thing, right))


def kinds(rng):
    kind, things = rng.choice(KINDS_OF)
    n = min(rng.choice((2, 3, 3, 4, 5, 5, 6, 7, 10)), len(things))
    ask = rng.choice(("Name %s %s.", "List %s %s.", "Give me %s %s.", "Tell me %s %s.", "Can you name %s %s?", "What are %s %s?"))
    return ask % (number(rng, n), kind), numbered(things[:n])


def orders(rng):
    kind, things = rng.choice(ORDERED)
    if rng.random() < 0.3 and "week" in kind or "year" in kind and rng.random() < 0.5:
        i = rng.randrange(len(things) - 1)
        if rng.random() < 0.5:
            return "What comes after %s?" % things[i], "After %s comes %s." % (things[i], things[i + 1])
        return "What comes before %s?" % things[i + 1], "Before %s comes %s." % (things[i + 1], things[i])
    ask = rng.choice(("Name %s.", "List %s.", "What are %s?", "Tell me %s.")) % kind
    if "numbers" in kind:
        ask = "Count from one to ten."
    return ask, rng.choice((numbered, in_words))(things)


def one_of(rng):
    kind, things = rng.choice(KINDS_OF)
    thing = rng.choice(things)
    if rng.random() < 0.4:
        return rng.choice(("Name one of the %s.", "Give me an example of %s.")) % kind, capital(thing) + "."
    if rng.random() < 0.5:
        return "Is %s one of the %s?" % (thing, kind), "Yes, %s is one of the %s." % (thing, kind)
    (kind, things), (other, _) = rng.sample([k for k in KINDS_OF if k[0] in APART], 2)
    thing = rng.choice(things)
    return "Is %s one of the %s?" % (thing, other), "No, %s is not one of the %s." % (thing, other)


def sums(rng):
    a, b = rng.randrange(1, 11), rng.randrange(1, 11)
    if rng.random() < 0.25:
        a, b = rng.randrange(1, 51), rng.randrange(1, 21)
    words = max(a, b) <= 10 and rng.random() < 0.5
    say = lambda n: NUMBERS[n] if words and n <= 20 else str(n)
    kind = rng.choice(("plus", "plus", "plus", "minus", "times"))
    if kind == "minus":
        a, b = max(a, b), min(a, b)
    if kind == "times":
        a, b = rng.randrange(1, 11), rng.randrange(1, 11)
    c = {"plus": a + b, "minus": a - b, "times": a * b}[kind]
    sign = {"plus": "+", "minus": "-", "times": "x"}[kind]
    if not words and rng.random() < 0.3:
        return rng.choice(("What is %d %s %d?", "%d %s %d = ?")) % (a, sign, b), "%d %s %d = %d" % (a, sign, b, c)
    what = "%s %s %s" % (say(a), kind, say(b))
    return rng.choice(("What is %s?", "How much is %s?", "What does %s make?")) % what, capital("%s is %s." % (what, say(c)))


def numbers(rng):
    a, b = rng.sample(range(1, 100), 2)
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice(("Which is larger, %d or %d?", "Which is bigger, %d or %d?")) % (a, b), "%d is larger than %d." % (max(a, b), min(a, b))
    if kind == 1:
        return "Is %d an even number?" % a, ("Yes, %d is an even number." if a % 2 == 0 else "No, %d is an odd number.") % a
    if kind == 2:
        return "What comes after %d?" % a, "After %d comes %d." % (a, a + 1)
    if kind == 3:
        return "Half of %d?" % (2 * a), "Half of %d is %d." % (2 * a, a)
    have, more, thing = rng.randrange(1, 10), rng.randrange(1, 10), rng.choice(("apples", "books", "coins", "eggs", "balls"))
    return "I have %d %s and get %d more. How many do I have?" % (have, thing, more), "You have %d %s." % (have + more, thing)


def opposites(rng):
    a, b = rng.choice(OPPOSITE)
    if rng.random() < 0.3 and (a, b) not in (("light", "dark"), ("heavy", "light"), ("old", "new")):
        a, b = b, a
    ask = rng.choice(("What is the opposite of %s?", "What is the opposite of \"%s\"?", "Give me the opposite of %s.", "Opposite of %s?"))
    return ask % a, "The opposite of %s is %s." % (a, b)


def places(rng):
    if rng.random() < 0.6:
        country, city = rng.choice(CAPITAL)
        if rng.random() < 0.25:
            return "Which country has the capital %s?" % city, "%s is the capital of %s." % (city, country)
        ask = rng.choice(("What is the capital of %s?", "What is the capital city of %s?", "Name the capital of %s.", "Tell me the capital of %s."))
        return ask % country, "The capital of %s is %s." % (country, city)
    country, where, language = rng.choice(COUNTRY)
    if rng.random() < 0.5:
        return rng.choice(("Where is %s?", "On which continent is %s?")) % country, capital("%s is in %s." % (country, where))
    return rng.choice(("What language do people speak in %s?", "Which language is spoken in %s?")) % country, "In %s people speak %s." % (country, language)


def meanings(rng):
    thing, what = rng.choice(MEANING)
    ask = rng.choice(("What is %s?", "What is %s?", "What is %s?", "Explain %s in simple words.", "Describe %s in one sentence.",
                      "Tell me what %s is.", "What do you call %s?", "Define %s.", "Explain %s to a child.", "Can you explain what %s is?"))
    if "call" in ask:
        return ask % what, "That is called %s." % thing
    return ask % thing, capital("%s is %s." % (thing, what))


def jobs(rng):
    who, does = rng.choice(JOB)
    if rng.random() < 0.25:
        return "Who %s?" % does, capital(who) + " does."
    return rng.choice(("What does %s do?", "What is the job of %s?", "What does %s do all day?")) % who, capital("%s %s." % (who, does))


def facts(rng):
    return rng.choice(FACT)


def steps(rng):
    task, how = rng.choice(STEP)
    if rng.random() < 0.3:
        n = rng.choice((2, 3))
        return "Give me %s tips on how to %s." % (number(rng, n), task.replace("my ", "your ")), numbered(how[:n])
    ask = rng.choice(("How do I %s?", "How can I %s?", "Teach me to %s.", "Explain step by step how to %s.", "What is the best way to %s?"))
    return ask % task, rng.choice((numbered, " ".join))(how)


def tips(rng):
    what, said = rng.choice(TIP)
    n = rng.choice((3, 3, len(said)))
    ask = rng.choice(("Give me %s tips for %s.", "Give me %s tips on %s.", "List %s tips for %s.", "I need %s tips for %s.", "What are %s tips for %s?"))
    return ask % (number(rng, n), what), numbered(said[:n])


def poems(rng):
    ask = rng.choice(("Write a poem about %s.", "Write a short poem about %s.", "Write a short poem about %s.", "Can you write a poem about %s?",
                      "Tell me a poem about %s.", "Make a rhyme about %s."))
    if rng.random() < 0.4:
        what, lines = rng.choice(POEM)
    else:
        what, lines = rng.choice(SUBJECTS_OF_POEMS), rng.choice(VERSES.split("\n"))
        lines = lines.replace("%s", what)
    return ask % what, lines.replace(" / ", "\n")


def differences(rng):
    (one, what), (other, else_) = rng.sample(NAMED, 2)
    ask = rng.choice(("What is the difference between %s and %s?", "What's the difference between %s and %s?", "How does %s differ from %s?"))
    return ask % (one, other), "%s is %s. %s is %s." % (capital(one), what, capital(other), else_)


def comfort(rng):
    feeling, words = rng.choice(FEELING)
    return rng.choice(("I feel %s.", "I feel so %s.", "I feel very %s.", "I feel %s this morning.", "I feel a bit %s.", "I am %s.", "I'm %s.", "I am %s today.", "I'm so %s.")) % feeling, words


def sayings(rng):
    return tuple(rng.choice(side) for side in rng.choice(SAYING))


def jokes(rng):
    return rng.choice(("Tell me a funny joke.", "Tell me another joke.", "Do you know a joke?", "Make me laugh.",
                       "Can you tell me a joke?")), rng.choice(JOKES.split("\n"))


def forms(rng):
    kind = rng.randrange(4)
    if kind == 0:
        one, many = rng.choice(PLURAL)
        return rng.choice(("What is the plural of %s?", "What is the plural of \"%s\"?")) % one, "The plural of %s is %s." % (one, many)
    if kind == 1:
        now, then = rng.choice(PAST)
        return rng.choice(("What is the past tense of %s?", "What is the past tense of \"%s\"?")) % now, "The past tense of %s is %s." % (now, then)
    if kind == 2:
        word = rng.choice(SPELL.split())
        return "How do you spell \"%s\"?" % word, "-".join(word.upper())
    who, (bad, good, rest) = rng.choice(SUBJECTS), rng.choice(DOING)
    ask = rng.choice(("Correct the mistakes: %s", "Correct this sentence: %s", "Correct the mistake: %s"))
    return ask % "%s %s %s." % (who, bad, rest), "%s %s %s." % (who, good, rest)


GROUPS = ((32, kinds), (5, orders), (4, one_of), (14, sums), (6, numbers), (10, opposites), (12, places), (36, meanings), (6, jobs),
          (40, facts), (8, steps), (12, comfort), (12, tips), (10, poems), (10, differences), (28, choice), (4, which_kind), (16, sayings), (4, jokes), (6, forms))
SHOWN = {q.lower().rstrip(".?!") for q in FIXED}


def exchange(rng):
    """One to three questions with their answers; never one of FIXED."""
    out, wanted = [], rng.choices((1, 2, 3), (6, 3, 1))[0]
    while len(out) < wanted:
        got = rng.choices([g for _, g in GROUPS], [w for w, _ in GROUPS])[0](rng)
        if got[0].lower().rstrip(".?!") not in SHOWN and got[0] not in [q for q, _ in out]:
            out.append((got[0].lower().rstrip(".?!") if rng.random() < 0.1 else got[0], got[1]))
    return out


if __name__ == "__main__":
    source = random.Random(1)
    for question, answer in exchange(source) + exchange(source) + exchange(source):
        print("%s\n    %s" % (question, answer.replace("\n", "\n    ")))
