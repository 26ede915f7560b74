"""Questions with listed answers, as `tern decide` asks them and as people do: all written for this project (MIT).

choice(rng) -> (question, answer): is a text praise or complaint, what is it about, is a mail wanted.  Reviews are made
of parts, so that there are many of them.
"""
THINGS = """food, soup, bread, coffee, room, hotel, film, book, phone, computer, camera, car, bicycle, jacket, dress, chair, table, lamp,
music, concert, garden, shop, service, waiter, teacher, doctor, driver, trip, holiday, party, game, lesson, house, bed, view, price,
packaging, delivery, software, battery, screen, sound, taste, smell, design""".replace("\n", " ").split(", ")
GOOD = """good, great, wonderful, excellent, lovely, beautiful, perfect, fantastic, amazing, pleasant, nice, superb, delightful, brilliant,
outstanding, better than expected, worth every cent, just right, a pleasure, very good, really nice, first class""".replace("\n", " ").split(", ")
BAD = """bad, terrible, awful, horrible, poor, disappointing, dreadful, unpleasant, useless, annoying, worse than expected, far too
expensive, a waste of money, a disaster, very bad, really poor, not good, not what I ordered, broken, second rate""".replace("\n", " ").split(", ")
PRAISE = """I like it very much. | I love it. | We were very happy. | I would buy it again. | I can recommend it to everybody. | Everything
worked at once. | It made my day. | Thank you so much! | The people there were friendly and helpful. | We will come back. | It is the
best I have ever had. | My children love it. | I am glad that I found it. | We had a great time. | They answered at once and were
kind. | It is easy to use. | It came on time and in good shape. | I smiled all day. | A real joy. | Five stars from me. | It looks even
better than in the picture. | We felt at home. | The staff went out of their way to help us. | Fresh, tasty and cheap. | Clean, quiet
and comfortable. | What a pleasure! | I could not be happier. | It does just what it should. | I am impressed. | Well done!"""
COMPLAINT = """I do not like it. | I hate it. | We were very unhappy. | I would not buy it again. | I cannot recommend it to anybody. | Nothing
worked. | It ruined my day. | I am angry. | The people there were unfriendly and slow. | We will never come back. | It is the worst I have ever
had. | My children hated it. | I am sorry that I bought it. | We had a terrible time. | They never answered. | It is hard to use. | It
came too late and was damaged. | I sent it back. | A real shame. | One star from me. | It looks nothing like the picture. | We did not
feel welcome. | Nobody helped us. | Stale, tasteless and overpriced. | Dirty, loud and cramped. | What a disappointment! | I have never been
so upset. | It fell apart after a week. | I am let down. | Please give me a refund. | It stopped working. | It made me ill."""
TOPICS = """food: The bread is still warm. | We cooked rice with beans. | This soup needs more salt. | She baked an apple pie. | The cheese tastes of
nuts. | He ate two sandwiches for lunch. | Mix the flour with the eggs. | The restaurant serves fish.
sport: Our team won the match. | She runs ten miles every week. | He scored in the last minute. | The players left the field. | The race
begins at noon. | They train for the marathon. | The goalkeeper caught the ball. | She won a medal in swimming.
weather: It will rain tomorrow. | The wind is strong today. | We expect snow in the mountains. | The sky is clear. | It was the hottest day of
the year. | There is fog in the valley. | A storm is coming from the west. | The temperature fell below zero.
animals: The dog sleeps in its basket. | A fox ran across the field. | Elephants live in herds. | The cat caught a mouse. | Birds build
nests in spring. | The horse eats hay. | Whales can hold their breath for an hour. | The rabbit hid in its hole.
travel: Our flight leaves at six. | We took the train to Rome. | I have lost my passport. | The hotel is near the station. | They drove along
the coast. | Which bus goes to the airport? | She packed two suitcases. | We visited three countries.
music: She plays the violin. | The band has a new singer. | He wrote a song about home. | The choir sings on Sunday. | Turn up the volume. | The
concert was sold out. | The drummer is very young. | I listen to the piano every evening.
school: The pupils wrote a test. | Our teacher is ill today. | She forgot her homework. | The lesson begins at eight. | He studies history at
the university. | The class learned to read. | I got a good mark in maths. | The exam was difficult.
health: I have a headache. | The doctor looked at my throat. | She broke her arm. | Take the pills twice a day. | He has a fever. | The
nurse changed the bandage. | My back hurts. | The hospital has forty beds.
money: The price went up again. | I paid by card. | The bank lent him a thousand dollars. | She saves a little every month. | Taxes are
due in April. | He sold his shares. | The bill was too high. | The rent is due on Monday.
work: I start my new job on Monday. | The meeting was moved to Tuesday. | She wrote a report for her boss. | He was promoted. | The office
closes at five. | We hire two engineers. | My colleague is on leave. | The factory makes chairs.
computers: The program crashed again. | I forgot my password. | The update takes an hour. | She wrote a script in Python. | My laptop is slow. | The
server is down. | Click on the button to save the file. | The screen stays black."""
WANTED = """Lunch at noon? | The meeting is moved to three. | Can you send me the report? | Happy birthday, dear Anna! | I will be late
today. | Here are the pictures of our trip. | Mum, when do you come home? | Thanks for your help yesterday. | Your library books are due on
Friday. | See you at the station. | Please bring some milk. | The class begins at nine."""
UNWANTED = """You have won a prize! Click here. | Make money fast from home! | Buy cheap pills now. | Free phone, only today! | Your account is locked,
send us your password. | Lose ten pounds in a week! | Claim your free gift card now. | You are our lucky winner! | Cheap loans without
questions. | Act now, this offer ends tonight! | Hot deals, 90 % off! | Double your money in a day."""


def parts(text):
    return [p.strip() for p in text.replace("\n", " ").split("|")]


def topics(text):
    """Lines that begin with a name and a colon begin a topic; others go on."""
    out, name = {}, None
    for line in text.split("\n"):
        head, mark, tail = line.partition(": ")
        if mark and head.isalpha():
            name, line = head, tail
            out[name] = ""
        out[name] += " " + line
    return {name: parts(lines) for name, lines in out.items()}


PRAISES, COMPLAINTS, MAILS, JUNK = parts(PRAISE), parts(COMPLAINT), parts(WANTED), parts(UNWANTED)
TOPIC = topics(TOPICS)
# what is asked, the answer for praise, the answer for complaints
MOODS = (("Is this review positive or negative?", "positive", "negative"), ("Does the writer like it?", "yes", "no"),
         ("What is the sentiment of this text?", "positive", "negative"), ("Is the writer happy or unhappy?", "happy", "unhappy"),
         ("Is this good or bad?", "good", "bad"), ("Is this praise or a complaint?", "praise", "complaint"),
         ("Is the customer content?", "yes", "no"), ("Does the customer complain?", "no", "yes"))


def asked(rng, instruction, labels, text, right):
    """As the program asks, or as people do."""
    if rng.random() < 0.6:
        listed = rng.sample(labels, len(labels))
        how = "Answer yes or no." if set(labels) == {"yes", "no"} else "Answer with one of: %s." % ", ".join(listed)
        return "%s\n\n%s\n\n%s" % (instruction, how, text), right
    answer = right[0].upper() + right[1:] + "."
    return rng.choice(("%s %s", "%s \"%s\"")) % (instruction, text), answer


def review(rng, good):
    """One or two sentences of one mind."""
    said = lambda: "The %s was %s." % (rng.choice(THINGS), rng.choice(GOOD if good else BAD))
    both = lambda: "The %s was %s and the %s was %s." % (rng.choice(THINGS), rng.choice(GOOD if good else BAD),
                                                          rng.choice(THINGS), rng.choice(GOOD if good else BAD))
    what = lambda: "What %s %s!" % (lambda a: ("an" if a[0] in "aeiou" else "a", a + " " + rng.choice(THINGS)))(
        rng.choice(GOOD[:13] if good else BAD[:10]))
    own = lambda: rng.choice(PRAISES if good else COMPLAINTS)
    kinds = rng.sample((said, both, own, own, what), rng.choice((1, 1, 2)))
    return " ".join(k() for k in kinds)


def mood(rng):
    instruction, praise, complaint = rng.choice(MOODS)
    good = rng.random() < 0.5
    return asked(rng, instruction, [praise, complaint], review(rng, good), praise if good else complaint)


def about(rng):
    names = rng.sample(sorted(TOPIC), rng.choice((2, 3, 4, 5)))
    right = rng.choice(names)
    text = " ".join(rng.sample(TOPIC[right], rng.choice((1, 1, 2))))
    if rng.random() < 0.25:
        name = rng.choice(names)
        return asked(rng, "Is this about %s?" % name, ["yes", "no"], text, "yes" if name == right else "no")
    ask = rng.choice(("What is this about?", "What is the topic of this text?", "Which topic is it?"))
    return asked(rng, ask, names, text, right)


def mail(rng):
    wanted = rng.random() < 0.5
    text = rng.choice(MAILS if wanted else JUNK)
    if rng.random() < 0.3:
        return asked(rng, "Is this mail wanted?", ["yes", "no"], text, "yes" if wanted else "no")
    ask = rng.choice(("Is this mail wanted?", "Is this spam?", "What kind of mail is this?"))
    return asked(rng, ask, ["ham", "spam"], text, "ham" if wanted else "spam")


def choice(rng):
    return rng.choices((mood, about, mail), (5, 4, 1))[0](rng)
