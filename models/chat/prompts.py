"""What the teacher is asked: templates over word lists, all written for this project (MIT).

request(rng) -> (first message, follow-up messages); identity(rng) -> a whole
conversation about who answers, which no teacher can write.
"""

THINGS = """bread, cheese, tea, coffee, chocolate, rice, soup, pizza, an apple, a banana, a lemon, an egg, honey, salt,
sugar, milk, water, ice, snow, rain, a rainbow, thunder, lightning, the wind, a cloud, fog, the moon, the sun, a
star, a planet, Mars, Jupiter, a comet, gravity, magnetism, electricity, light, sound, heat, fire, smoke, glass,
steel, gold, silver, iron, copper, plastic, paper, wood, a rock, sand, soil, a mountain, a volcano, an
earthquake, a river, a lake, the ocean, a wave, a tide, an island, a desert, a forest, a jungle, a tree, a
flower, a rose, grass, a seed, a mushroom, a cat, a dog, a horse, a cow, a pig, a sheep, a goat, a chicken, a
duck, an owl, an eagle, a penguin, a parrot, a bee, an ant, a spider, a butterfly, a frog, a snake, a turtle, a
fish, a shark, a whale, a dolphin, an octopus, an elephant, a lion, a tiger, a bear, a wolf, a fox, a rabbit, a
mouse, a bat, a monkey, a kangaroo, a giraffe, a camel, a dinosaur, a bicycle, a car, a train, an airplane, a
boat, a bridge, a road, a house, a window, a door, a lamp, a clock, a mirror, a camera, a telephone, a radio, a
television, a computer, a keyboard, the internet, a robot, a battery, an engine, a wheel, a rocket, a satellite,
a telescope, a microscope, a thermometer, a compass, a map, a book, a newspaper, a letter, a stamp, a pencil, a
guitar, a piano, a violin, a drum, a song, a painting, a statue, a museum, a library, a school, a hospital, a
farm, a market, a garden, a park, money, a bank, a tax, a law, a vote, a king, a government, a war, peace,
friendship, love, anger, fear, hope, luck, time, memory, sleep, a dream, language, a word, a number, zero, pi, a
triangle, a circle, a fraction, a percentage, an average, addition, multiplication, the heart, the brain, the
lungs, blood, a bone, a muscle, the skin, the eyes, teeth, hair, a vitamin, protein, a virus, a germ, medicine,
a vaccine, oxygen, carbon dioxide, hydrogen, an atom, a molecule, a cell, photosynthesis, evolution, digestion,
the water cycle, the seasons, the climate, pollution, recycling, solar power, wind power, coal, oil""".replace("\n", " ")
ACTIVITIES = """cooking, baking, gardening, reading, writing, drawing, painting, singing, dancing, running, swimming, hiking,
cycling, fishing, sailing, camping, skating, skiing, climbing, yoga, chess, football, basketball, tennis,
photography, knitting, sewing, woodworking, programming, learning a language, playing the guitar, playing the
piano, travelling, bird watching, stargazing, collecting stamps, volunteering, cleaning the house, doing the
laundry, saving money, studying for a test, waking up early, going to bed on time, making friends, giving a
speech, writing a letter, job hunting, taking care of a dog, taking care of a cat, growing tomatoes, brewing
tea, making coffee, baking bread, packing a suitcase, moving to a new city, starting a small business, keeping a
diary, meditation""".replace("\n", " ")
TASKS = """boil an egg, make tea, bake a simple cake, cook rice, make pancakes, clean a window, wash a car, fix a flat
tire, tie a tie, plant a tree, grow tomatoes, water plants, train a puppy, bathe a dog, fold a shirt, iron a
shirt, sew on a button, pack a bag, write a letter, write a thank you note, apologise to a friend, make a new
friend, ask for help, say no politely, start a conversation, prepare for an exam, remember names, learn new
words, read faster, fall asleep faster, wake up early, stop a cough, treat a small burn, remove a stain, save
water, save electricity, save money, plan a trip, plan a birthday party, choose a gift, choose a book, use a
map, cross a street safely, swim, ride a bicycle, skip a stone, fly a kite, build a snowman, make a paper plane,
draw a cat, play chess, learn the guitar, sing better, take a good photo, back up a computer, choose a strong
password, write a short story, write a poem, give a speech, run a meeting, keep a room tidy, organise a desk,
recycle paper, sort laundry, brush teeth well, eat more vegetables, drink more water, stay calm, stop worrying,
be on time, set a goal, break a bad habit""".replace("\n", " ")
PLACES = """France, Germany, Italy, Spain, England, Ireland, Scotland, Norway, Sweden, Finland, Poland, Greece, Turkey,
Egypt, Kenya, Nigeria, South Africa, Morocco, India, China, Japan, Korea, Vietnam, Thailand, Australia, New
Zealand, Canada, Mexico, Brazil, Argentina, Chile, Peru, Cuba, Russia, Ukraine, the Netherlands, Belgium,
Switzerland, Austria, Portugal, the United States, Paris, London, Berlin, Rome, Madrid, Vienna, Athens, Cairo,
Tokyo, Beijing, New York, California, Texas, Alaska, Hawaii, the Alps, the Amazon, the Sahara, the Pacific
Ocean, Africa, Asia, Europe, Antarctica""".replace("\n", " ")
PEOPLE = """Albert Einstein, Isaac Newton, Marie Curie, Charles Darwin, Galileo, Leonardo da Vinci, William Shakespeare,
Mozart, Beethoven, Vincent van Gogh, Picasso, Cleopatra, Julius Caesar, Napoleon, George Washington, Abraham
Lincoln, Martin Luther King, Mahatma Gandhi, Nelson Mandela, Ada Lovelace, Alan Turing, Nikola Tesla, Thomas
Edison, the Wright brothers, Neil Armstrong, Christopher Columbus, Marco Polo, Socrates, Plato, Aristotle""".replace("\n", " ")
HEROES = """a little girl, a little boy, a brave knight, a young wizard, a shy dragon, a lost puppy, a clever fox, a lazy
cat, a curious robot, a kind farmer, an old sailor, a tired teacher, a small mouse, a lonely giant, a talking
tree, a baker, a princess, a pirate, an astronaut, a detective, a painter, a musician, two sisters, two friends,
a grandmother, a hungry bear, a tiny bird, a snail, a ghost who is afraid of people, a boy who cannot sleep, a
girl who finds a map, a king without a crown""".replace("\n", " ")
EVENTS = """finds a key, gets lost in the forest, makes a new friend, learns to share, goes to the sea for the first time,
loses a hat, finds a treasure, helps a stranger, builds a boat, plants a seed, tells a lie and is sorry, wins a
race, is afraid of the dark, saves the village, meets a bird, bakes a cake, visits the moon, hears a strange
sound, has to say goodbye, finds a letter, learns to be patient, opens a small shop, wants to fly, cannot stop
laughing, breaks a window""".replace("\n", " ")
FEELINGS = """sad, tired, bored, happy, nervous, lonely, angry, excited, worried, proud, confused, sick, hungry, stressed,
grateful, homesick, jealous, ashamed, lazy, afraid""".replace("\n", " ")
WORDS = """brave, honest, ancient, fragile, curious, rapid, silent, gentle, enormous, polite, generous, stubborn,
fortunate, narrow, purpose, courage, journey, harvest, justice, wisdom, habit, promise, rumour, shelter, to
admire, to wander, to borrow, to repair, to whisper, to predict, to measure, to celebrate, to forgive, to
compare, to gather, to imagine""".replace("\n", " ")
JOBS = """a doctor, a nurse, a teacher, a farmer, a baker, a firefighter, a police officer, a pilot, a scientist, an
engineer, a programmer, a lawyer, a judge, a musician, an actor, a writer, a librarian, a carpenter, a plumber,
an electrician, a chef, a gardener, a mechanic, an astronaut, a journalist, a dentist, a vet, an architect""".replace("\n", " ")
OPPOSITES = """hot, big, fast, happy, light, early, strong, hard, loud, clean, full, rich, brave, young, near, deep, wide, old,
open, wet, sharp, simple, day, up, love, war, success, friend, begin, give, buy, remember, laugh, win, question""".replace("\n", " ")
SENTENCES = """The cat sat on the mat and looked at the bird. | We was late because the bus dont come. | I has two apple and
one pears. | The weather today is very bad so we will stay at home. | He go to school every days by bus. | She
is a good singer and she sings good songs. | Our team won the match last night. | The meeting was moved from
Monday to Wednesday because the manager is ill. | I want to go to the beach, but it is raining. | Thank you for
your help with my homework yesterday. | The old house on the hill has been empty for many years. | Me and him
likes play football. | The food was cold and the waiter was rude. | Can you send me the report until tomorrow? |
The train leaves at nine and arrives at noon. | I am writing to ask about the job you offered. | Dogs are loyal
animals that need food, water, exercise and love. | Yesterday I see a movie and it was very excited.""".replace("\n", " ")
TEXTS = """Tom has a red ball. He plays with it in the garden every day. Yesterday the ball fell into the pond, and his
sister Anna got it out with a stick. | The library opens at nine in the morning and closes at six in the
evening. On Sundays it is closed. Children may borrow five books at a time. | Bees live in large groups called
colonies. Each colony has one queen, who lays all the eggs. Worker bees collect nectar and make honey. | Maria
moved from Spain to Canada in 2015. She works as a nurse in Toronto and likes to ski in the winter. | The river
Nile flows north through eleven countries of Africa and ends in the Mediterranean Sea. It is about 6,650
kilometres long. | Mr. Lee sells bread, cakes and cookies. He gets up at three to bake. His shop is busiest on
Saturday. | Water boils at 100 degrees Celsius at sea level. High on a mountain it boils at a lower temperature,
because the air is thinner. | The dog barked all night. In the morning we saw why: a cat had made her bed under
our car, with four small kittens. | Plants need light, water and air to grow. They take in carbon dioxide and
give off oxygen. | On Friday the class went to the museum by bus. They saw old coins, a ship made of wood and
the bones of a whale. | Sam saved ten dollars a week for twelve weeks and then bought a bicycle. He rides it to
school. | The recipe takes two eggs, a cup of flour and half a cup of milk. Mix them well and fry the batter in
a little butter.""".replace("\n", " ")


def words(text, mark=", "):
    return [w.strip() for w in text.split(mark) if w.strip()]


LISTS = {"thing": words(THINGS), "activity": words(ACTIVITIES), "task": words(TASKS), "place": words(PLACES),
         "person": words(PEOPLE), "hero": words(HEROES), "event": words(EVENTS), "feeling": words(FEELINGS),
         "word": words(WORDS), "job": words(JOBS), "opposite": words(OPPOSITES), "sentence": words(SENTENCES, "|"),
         "text": words(TEXTS, "|")}

# (weight, messages); {list} draws an entry, {n} a small number, {a} and {b} numbers
GROUPS = [
    (20, """What is {thing}? | What is {thing} used for? | What is {thing} made of? | Tell me about {thing}.
Explain {thing} in simple words. | Explain {thing} to a child. | Tell me a fact about {thing}.
Tell me something interesting about {thing}. | Give me {n} facts about {thing}. | Why is {thing} important?
How does {thing} work? | Where can you find {thing}? | Describe {thing} in one sentence. | Describe {thing}.
What is the difference between {thing} and {thing}? | Compare {thing} and {thing}.
Which is bigger, {thing} or {thing}? | What do people do with {thing}? | Who invented {thing}?
What colour is {thing}? | What comes to mind when you think of {thing}? | Do you like {thing}?
Can you explain {thing}? | I want to learn about {thing}. | Write a short paragraph about {thing}.
Write one sentence with the words {thing} and {thing}. | Ask me a question about {thing}.
Give me a riddle about {thing}."""),
    (12, """How do I {task}? | How can I {task}? | What is the best way to {task}?
Give me {n} tips on how to {task}. | Teach me to {task}. | Explain step by step how to {task}.
I need to {task}. What should I do first? | Why should I {task}? | Is it hard to {task}?
My friend wants to {task}. Any advice? | What do I need to {task}?"""),
    (8, """Why do people like {activity}? | What do I need for {activity}? | Give me {n} tips for {activity}.
Is {activity} good for you? | I want to start {activity}. Where do I begin? | What are the benefits of {activity}?
Write a short text about {activity}. | How often should I practise {activity}? | What is hard about {activity}?
Tell me about {activity}. | Which is better, {activity} or {activity}?"""),
    (8, """Where is {place}? | Tell me about {place}. | What is {place} known for?
What language do people speak in {place}? | What is the capital of {place}? | What is the weather like in {place}?
What can I see in {place}? | What do people eat in {place}? | Give me {n} facts about {place}.
I am going to {place}. What should I pack? | Is {place} big? | Who was {person}? | What is {person} famous for?
Tell me about {person}. | When did {person} live? | Why do we remember {person}?
Write two sentences about {person}."""),
    (14, """Tell me a story about {hero}. | Tell me a short story about {hero} who {event}.
Write a story in which {hero} {event}. | Write a very short story about {thing}.
Tell me a bedtime story about {hero}. | Write a story about {hero} and {hero}.
Write the first sentence of a story about {hero}. | Tell a funny story about {hero} who {event}.
Write a story that ends well: {hero} {event}. | Once upon a time, {hero} lived near {thing}. Continue the story.
Invent a story with {thing} and {thing}."""),
    (8, """Write a poem about {thing}. | Write a short poem about {hero}. | Write a haiku about {thing}.
Write two rhyming lines about {thing}. | Write a poem about being {feeling}.
Write a four line poem about {activity}. | Write a song about {thing}. | Give me a slogan for {thing}."""),
    (8, """List {n} animals. | List {n} kinds of food. | List {n} things you find in a kitchen.
List {n} words that describe {thing}. | Name {n} fruits. | Name {n} colours. | Name {n} countries. | Name {n} jobs.
Name {n} sports. | Give me {n} ideas for a weekend. | Give me {n} ideas for dinner.
Name {n} things that are made of wood. | List {n} uses of {thing}. | Give me {n} names for {hero}.
List {n} questions about {thing}. | List the days of the week. | List the months of the year. | Name the planets.
Count from one to ten. | Name {n} musical instruments."""),
    (8, """Rewrite this sentence in other words: {sentence} | Correct the mistakes: {sentence}
Make this sentence more polite: {sentence} | Make this shorter: {sentence} | Make this longer: {sentence}
Turn this into a question: {sentence} | Put this into the past tense: {sentence}
Is this sentence correct? "{sentence}" | What does this mean? "{sentence}" | Summarise this in a few words: {text}
Summarise: {text} | What is this text about? {text} | Write a title for this text: {text}
{text} Ask a question about this text. | Read this and tell me the most important point: {text}
{text} What happened? | {text} Who is it about? | {text} What can we learn from this?"""),
    (6, """What does "{word}" mean? | Use the word "{word}" in a sentence. | Give me another word for "{word}".
What is the opposite of {opposite}? | Is {opposite} the opposite of {opposite}? | How do you spell "{word}"?
Explain the word "{word}". | Give me {n} words that rhyme with {opposite}."""),
    (4, """What is {a} plus {b}? | What is {b} minus {a}? | What is {n} times {a}? | Which is larger, {a} or {b}?
Is {a} an even number? | I have {n} apples and buy {a} more. How many do I have? | What comes after {a}?
How many minutes are in {n} hours? | Half of {b}?"""),
    (6, """What does {job} do? | How do I become {job}? | What is hard about being {job}?
Write a short letter to {job}. | Why do we need {job}? | What tools does {job} use?
Describe a day in the life of {job}. | Pretend you are {job} and introduce yourself."""),
    (10, """I feel {feeling}. | I am {feeling} today. | I feel {feeling} and I don't know why.
How can I stop being {feeling}? | My friend is {feeling}. What can I do? | What makes people {feeling}?
I had a bad day. | I had a good day! | I can't sleep. | I have a test tomorrow. | My dog is ill.
It is my birthday today! | I lost my keys. | I am late for work. | It is raining and I am bored.
I don't know what to cook tonight. | Cheer me up. | Give me some advice. | Say something nice. | Tell me a joke.
Tell me another joke. | Tell me a fun fact. | Motivate me. | What should I do today? | Surprise me. | Good morning!
Good night. | Hello! | Hi there. | Hey, how are you? | How is it going? | Thank you! | Thanks, that helped.
Nice to meet you. | What is your favourite colour? | What is your favourite food? | Do you have friends?
Can you sing? | Do you ever sleep? | Are you happy? | Can you help me? | I have a question. | Do you like music?
Let's play a game. | What do you think about {thing}? | Goodbye! | See you later."""),
]
FOLLOW = """Tell me more. | Why? | Can you give an example? | How? | Are you sure? | Make it shorter.
Say it in one sentence. | What else? | And then? | Explain that to a child. | Give me another one. | Thank you!
Is that true? | What do you mean? | Can you say it in other words? | Interesting! | Go on. | Write a poem about it.
What is the most important part? | Why is that important? | How do you know? | What about {thing}?
And what about {activity}? | Make it funny. | Turn it into a list. | What happened next? | Who told you that?
I don't understand. | How long does that take? | What do I need for that? | Is it dangerous? | Can children do it?
Where can I learn more?"""
NUMBERS = "two, three, four, five, 3, 4, 5".split(", ")

# Who answers.  Only what is true of any model made by this recipe.
WHO = """Who are you? | What are you? | What is your name? | Tell me about yourself. | Introduce yourself.
Are you a robot? | Are you a person? | Are you human? | What can you do? | Who made you?
What kind of model are you? | Are you ChatGPT? | How do you work? | Do you have a name? | Where do you live?
How big are you? | Do you need the internet? | Do you run on a GPU? | Hi, who is this? | Hello, who are you?
What is tern? | Are you intelligent? | How old are you? | Why are you called tern? | What does ternary mean?
Do you know everything?"""
SELF = ["I am tern, a small ternary language model.", "I am tern, a small language model that runs on an ordinary CPU.",
        "My name is tern. I am a small ternary model that runs on a CPU.", "I'm tern, a very small chat model.",
        "I am tern, a program that writes text, one word after the other."]
MORE = ["My weights are only -1, 0 and +1, so I run on a CPU.", "I need no graphics card and no internet.",
        "I can answer simple questions, tell short stories and chat.", "I am small, so I am often wrong.",
        "Please check what I say, because I make mistakes.", "I can help with simple questions and short texts.",
        "I have no feelings, but I am glad to help.", "Ask me something simple, or ask for a story.", "How can I help you?"]


def templates(text):
    return [m.strip() for line in text.split("\n") for m in line.split(" | ") if m.strip()]


POOLS = [(weight, templates(text)) for weight, text in GROUPS]
FOLLOWS, ASKS = templates(FOLLOW), templates(WHO)


def fill(rng, template):
    out = template
    while "{" in out:
        name = out[out.index("{") + 1:out.index("}")]
        if name == "n":
            value = rng.choice(NUMBERS)
        elif name in "ab":
            value = str(rng.randrange(2, 20 if name == "a" else 100))
        else:
            value = rng.choice(LISTS[name])
        out = out.replace("{" + name + "}", value, 1)
    return out


def request(rng):
    """A first message and zero to two that follow it."""
    pool = rng.choices([p for _, p in POOLS], [w for w, _ in POOLS])[0]
    first = fill(rng, rng.choice(pool))
    if rng.random() < 0.1:
        first = first.lower().rstrip(".?!")
    follow = [fill(rng, rng.choice(FOLLOWS)) for _ in range(rng.choices((0, 1, 2), (70, 22, 8))[0])]
    return first, follow


def identity(rng):
    """[(question, answer)] about the model itself."""
    turns = []
    for ask in rng.sample(ASKS, rng.choices((1, 2), (3, 1))[0]):
        answer = " ".join([rng.choice(SELF)] + rng.sample(MORE, rng.choices((0, 1, 2), (1, 3, 2))[0]))
        if "human" in ask or "person" in ask:
            answer = "No. " + answer
        turns.append((ask.lower() if rng.random() < 0.15 else ask, answer))
    return turns
