"""What known.py makes questions and answers of: all written for this project (MIT).

A line is an entry; what stands before and after ":", "|" or "/" is told by the function that reads it.
"""
KINDS = """animals: a dog, a cat, a horse, a cow, a sheep, a lion, a tiger, an elephant, a bear, a rabbit, a fox, a monkey
birds: an eagle, an owl, a parrot, a duck, a crow, a swan, a penguin, a sparrow
fish: a salmon, a trout, a tuna, a cod, a herring, a carp
insects: a bee, an ant, a fly, a beetle, a butterfly, a wasp
fruits: an apple, a banana, an orange, a pear, a plum, a cherry, a grape, a lemon, a peach
vegetables: a carrot, a potato, an onion, a cabbage, a bean, a pea, a cucumber, a leek
colours: red, blue, green, yellow, black, white, brown, orange, purple, pink
shapes: a circle, a square, a triangle, a star, a cube, a ball
countries: France, Germany, Italy, Spain, Japan, China, India, Brazil, Canada, Egypt, Kenya, Norway
cities: London, Paris, Rome, Berlin, Tokyo, Cairo, Madrid, New York, Vienna
rivers: the Nile, the Amazon, the Danube, the Rhine, the Mississippi, the Ganges
oceans: the Pacific, the Atlantic, the Indian Ocean, the Arctic Ocean, the Southern Ocean
continents: Africa, Asia, Europe, North America, South America, Australia, Antarctica
planets: Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune
jobs: a doctor, a teacher, a baker, a pilot, a nurse, a cook, a judge, a plumber, a painter
sports: football, tennis, swimming, running, cycling, basketball, skiing, hockey
games: chess, tag, cards, hide and seek, dominoes, checkers
instruments: a piano, a guitar, a violin, a drum, a flute, a trumpet, a harp
tools: a hammer, a saw, a drill, a screwdriver, a ladder, an axe
vehicles: a car, a bus, a train, a bicycle, a ship, an airplane, a truck
clothes: a shirt, a coat, a hat, a sock, a shoe, a scarf, a dress, a glove
drinks: water, milk, tea, coffee, juice, lemonade
kinds of food: bread, rice, soup, cheese, an egg, pasta, salad, fish
sweets: chocolate, a cake, ice cream, a cookie, honey, jam
pieces of furniture: a table, a chair, a bed, a shelf, a desk, a sofa
rooms: a kitchen, a bedroom, a bathroom, a hall, a cellar
parts of the body: the head, the arm, the leg, the hand, the foot, the nose, the ear, the knee
trees: an oak, a pine, a birch, a maple, a willow, an elm
flowers: a rose, a tulip, a daisy, a lily, a sunflower, a violet
metals: gold, silver, iron, copper, tin, lead
languages: English, French, Spanish, German, Chinese, Arabic, Italian, Russian
school subjects: maths, history, art, music, biology, geography
feelings: joy, anger, fear, hope, love, sadness, pride
kinds of weather: rain, snow, wind, fog, sunshine, a storm
things in a kitchen: a pot, a pan, a knife, a spoon, a stove, a cup, a plate
things in a school: a desk, a book, a board, a pencil, a map, a chair
things made of wood: a table, a door, a pencil, a fence, a boat
things made of glass: a window, a bottle, a mirror, a lamp, a jar
things that fly: a bird, an airplane, a bee, a kite, a balloon
things that are round: a ball, a coin, a wheel, a plate, the moon
things that are cold: ice, snow, winter, ice cream
farm animals: a cow, a pig, a sheep, a goat, a hen, a horse
wild animals: a lion, a wolf, a bear, a tiger, a fox, a deer
sea animals: a whale, a dolphin, a shark, a crab, an octopus
pets: a cat, a dog, a rabbit, a hamster, a parrot, a goldfish"""
ORDERS = """the days of the week: Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday
the months of the year: January, February, March, April, May, June, July, August, September, October, November, December
the seasons: spring, summer, autumn, winter
the planets: Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune
the continents: Africa, Antarctica, Asia, Australia, Europe, North America, South America
the primary colours: red, yellow, blue
the colours of the rainbow: red, orange, yellow, green, blue, indigo, violet
the vowels: a, e, i, o, u
the numbers from one to ten: one, two, three, four, five, six, seven, eight, nine, ten
the five senses: sight, hearing, smell, taste, touch"""
OPPOSITES = """hot cold, big small, fast slow, happy sad, light dark, early late, strong weak, hard soft, loud quiet, clean dirty,
full empty, rich poor, brave afraid, young old, near far, deep shallow, wide narrow, open closed, wet dry, sharp blunt,
simple difficult, day night, up down, love hate, war peace, success failure, friend enemy, begin end, give take, buy sell,
remember forget, laugh cry, win lose, question answer, left right, in out, high low, long short, thick thin, heavy light,
good bad, true false, right wrong, new old, first last, black white, warm cool, push pull, come go, sit stand, alive dead,
asleep awake, cheap expensive, safe dangerous, polite rude, summer winter, north south, east west, before after,
more less, inside outside, always never, everything nothing, tall short, kind cruel, lost found, morning evening"""
CAPITALS = """France Paris, Germany Berlin, Italy Rome, Spain Madrid, England London, Ireland Dublin, Scotland Edinburgh, Norway Oslo,
Sweden Stockholm, Finland Helsinki, Denmark Copenhagen, Poland Warsaw, Greece Athens, Turkey Ankara, Egypt Cairo,
Kenya Nairobi, Morocco Rabat, India New_Delhi, China Beijing, Japan Tokyo, South_Korea Seoul, Vietnam Hanoi,
Thailand Bangkok, Australia Canberra, New_Zealand Wellington, Canada Ottawa, Mexico Mexico_City, Brazil Brasilia,
Argentina Buenos_Aires, Chile Santiago, Peru Lima, Cuba Havana, Russia Moscow, Ukraine Kyiv, Belgium Brussels,
the_Netherlands Amsterdam, Switzerland Bern, Austria Vienna, Portugal Lisbon, Hungary Budapest, the_United_States Washington"""
PLACES = """France Europe French, Germany Europe German, Italy Europe Italian, Spain Europe Spanish, England Europe English, Norway Europe
Norwegian, Sweden Europe Swedish, Poland Europe Polish, Greece Europe Greek, Egypt Africa Arabic, Morocco Africa Arabic,
China Asia Chinese, Japan Asia Japanese, South_Korea Asia Korean, Vietnam Asia Vietnamese, Thailand Asia Thai, Australia
Australia English, Mexico North_America Spanish, Brazil South_America Portuguese, Argentina South_America Spanish, Chile
South_America Spanish, Peru South_America Spanish, Cuba North_America Spanish, Portugal Europe Portuguese, Russia
Europe_and_Asia Russian, Austria Europe German, the_United_States North_America English"""
MEANINGS = """bread: a food that is baked from flour, water and yeast
cheese: a food that is made from milk
coffee: a hot drink made from roasted and ground beans
chocolate: a sweet food made from cocoa beans
rice: a grain that is boiled and eaten in many countries
soup: a liquid food that is eaten with a spoon
honey: a sweet food that bees make from nectar
salt: a white mineral that gives food taste
sugar: a sweet substance made from cane or beets
milk: a white drink that comes from cows and other animals
ice: water that is frozen
snow: frozen water that falls from clouds in white flakes
rain: water that falls from clouds in drops
a rainbow: an arc of colours that appears when the sun shines through rain
thunder: the loud sound that follows lightning
lightning: a flash of electricity between clouds and the ground
the wind: air that moves
a cloud: a mass of tiny drops of water in the sky
fog: a cloud that lies on the ground
the sun: the star that gives the Earth light and warmth
a star: a huge ball of hot, glowing gas
a planet: a large round body that moves around a star
Mars: the fourth planet from the sun, also called the red planet
Jupiter: the largest planet of our solar system
a comet: a ball of ice and dust that flies around the sun
electricity: a form of energy that flows through wires
light: a form of energy that we can see
sound: a wave in the air that we can hear
fire: what we see when something burns
glass: a hard, clear material made from molten sand
steel: a strong metal made from iron and a little carbon
gold: a soft yellow metal that does not rust
paper: a thin material made from wood, used for writing
sand: many tiny grains of rock
a mountain: a very high hill of rock
a volcano: a mountain from which hot, molten rock can come
an earthquake: a shaking of the ground
a river: a stream of water that flows to a lake or the sea
a lake: a large body of water with land around it
the ocean: the great body of salt water that covers most of the Earth
an island: a piece of land with water all around it
a desert: a dry place where little grows
a forest: a large place full of trees
a tree: a tall plant with a trunk and branches
a flower: the part of a plant that makes seeds, often with bright colours
a seed: the small part of a plant from which a new one grows
a cat: a small animal with soft fur that many people keep as a pet
a dog: a friendly animal that many people keep as a pet
a horse: a large, strong animal that people ride
a cow: a large animal that gives milk
an owl: a bird with big eyes that hunts at night
a penguin: a bird that cannot fly but swims very well
a bee: an insect that collects nectar and makes honey
a spider: a small animal with eight legs that spins webs
a butterfly: an insect with large, colourful wings
a frog: a small animal that lives in water and on land and can jump far
a snake: a long animal without legs
a shark: a large fish with sharp teeth
a whale: the largest animal in the sea
an elephant: a very large animal with a long trunk
a bat: a small animal that flies at night
a kangaroo: an animal from Australia that hops and carries its young in a pouch
a giraffe: a tall animal with a very long neck
a dinosaur: a reptile that lived millions of years ago
a bicycle: a vehicle with two wheels that you move with your feet
a train: a line of cars that runs on rails
an airplane: a machine with wings that flies
a bridge: a road over a river or a valley
a clock: a thing that shows the time
a mirror: a piece of glass in which you can see yourself
a camera: a device that takes pictures
a computer: a machine that works with numbers, words and pictures
the internet: a network that connects computers all over the world
a robot: a machine that can do work by itself
a battery: a small store of electricity
an engine: a machine that makes things move
a rocket: a vehicle that can fly into space
a telescope: an instrument that makes far things look near
a microscope: an instrument that makes tiny things look large
a thermometer: an instrument that measures how warm it is
a compass: an instrument that points to the north
a map: a drawing of a place that helps you find your way
a book: many pages of text or pictures bound together
a library: a place where you can borrow books
a museum: a place where old or beautiful things are shown
a hospital: a place where sick people are treated
a school: a place where children learn
a farm: a place where food is grown and animals are kept
a market: a place where people buy and sell things
money: what we use to pay for things
a bank: a place that keeps and lends money
a tax: money that people pay to the state
a law: a rule that everybody in a country must follow
a king: a man who rules a country
peace: a time without war
friendship: the bond between people who like and help each other
fear: the feeling that something bad may happen
a dream: a story that you see while you sleep
a triangle: a shape with three sides
a circle: a perfectly round shape
a square: a shape with four equal sides
the heart: the organ that pumps blood through the body
the brain: the organ with which we think
blood: the red liquid that carries oxygen through the body
a virus: a tiny germ that can make you ill
a vaccine: a medicine that protects you from an illness
oxygen: a gas in the air that we need to breathe
an atom: one of the tiny pieces that all things are made of
gravity: the force that pulls things toward the ground
photosynthesis: the way in which plants make food from light, water and air
recycling: making new things from waste
an umbrella: a thing that keeps you dry in the rain
a key: a small piece of metal that opens a lock
a ladder: two long bars with steps between them, used for climbing
a kettle: a pot in which water is boiled
a pillow: a soft thing on which you lay your head in bed
a village: a small group of houses in the country
a poem: a text in verses, often with rhymes
a joke: a short story that makes people laugh
a CPU: the part of a computer that carries out programs
a GPU: a chip that does many simple sums at the same time, for pictures and for learning machines
memory: the part of a computer that keeps what it is working on
a program: a list of steps for a computer
a programming language: a language in which people write programs
Linux: a free operating system that runs on phones, servers and many other computers
an operating system: the program that runs all other programs of a computer
Python: a programming language that is easy to read
the C language: an old and fast programming language
a compiler: a program that turns source code into machine code
a bug: a mistake in a program
an algorithm: a list of exact steps that solves a problem
a database: a program that keeps and finds data
a server: a computer that answers the requests of others
a browser: a program that shows web pages
a password: a secret word that shows who you are
a file: a named piece of data on a computer
a keyboard: a board with keys for typing
open source: software whose code everybody may read and change
artificial intelligence: the art of making machines that solve problems as people do
machine learning: a way to make programs that learn from examples
a neural network: a program of many small sums that learns from examples
a language model: a program that guesses the next word of a text
a chatbot: a program that talks with people
encryption: a way to hide a message so that only some can read it
a bit: the smallest piece of data, a zero or a one
the moon: the ball of rock that moves around the Earth
the Earth: the planet on which we live
the solar system: the sun and all that moves around it
a galaxy: a very large group of stars
the Milky Way: the galaxy in which we live
an eclipse: what happens when the moon hides the sun, or the Earth's shadow hides the moon
air: the mixture of gases that we breathe
energy: what is needed to move or to heat something
a magnet: a piece of metal that pulls iron
a molecule: some atoms that hold together
DNA: the molecule that holds the plan of a living thing
a cell: the smallest part of a living thing
evolution: the slow change of living things over many generations
climate change: the warming of the Earth, mostly caused by burning coal, oil and gas
pollution: dirt and poison in air, water or soil
a storm: bad weather with strong wind
a flood: much water where the land is usually dry
a hurricane: a very strong storm that begins over warm seas
a beach: the sandy edge of a sea or lake
a waterfall: a place where a river falls over rocks
a cave: a large hole in a mountain or in the ground
a jungle: a thick, warm and wet forest
a lion: a large wild cat of Africa
a dolphin: a clever animal that lives in the sea and breathes air
a camel: an animal of the desert with one or two humps
an ant: a tiny insect that lives with many others
a turtle: a slow animal that carries a hard shell
an apple: a round fruit that grows on trees
a potato: a vegetable that grows under the ground
a lemon: a sour yellow fruit
tea: a hot drink made from the leaves of a plant
pizza: a flat bread that is baked with tomatoes and cheese
breakfast: the first meal of the day
a restaurant: a place where people pay to eat
a hotel: a house where travellers sleep
a castle: a large old house with thick walls and towers
a church: a house where Christians pray
a city: a large place with many houses and people
a country: a land with its own people, laws and government
a president: the head of a country without a king
democracy: a way to rule in which the people choose by voting
a war: a fight between countries
history: the story of what happened in the past
science: the search for how the world works
mathematics: the study of numbers, shapes and patterns
philosophy: the search for answers to the great questions of life
music: sounds that are made to be beautiful
art: what people make to be looked at, heard or felt
a novel: a long story in a book
a dictionary: a book that explains words
a newspaper: sheets of paper with news
football: a game in which two teams try to kick a ball into a goal
chess: a game for two with sixteen pieces on each side
a birthday: the day on which somebody was born
love: a deep warm feeling for somebody
happiness: the feeling that all is well
courage: the strength to do what one is afraid of
patience: the strength to wait calmly
honesty: telling the truth
a habit: something that one does again and again without thinking
a doctor: a person who treats people who are ill
a teacher: a person who helps others learn
a friend: a person whom you like and trust
a family: parents, children and others who belong together
a noun: a word that names a person, a place or a thing
a verb: a word for doing or being
an adjective: a word that says what something is like"""
JOBS = """a doctor: treats people who are ill
a nurse: takes care of sick people
a teacher: helps students learn
a farmer: grows food and keeps animals
a baker: bakes bread and cakes
a firefighter: puts out fires and rescues people
a police officer: keeps people safe and enforces the law
a pilot: flies airplanes
a scientist: studies how the world works
an engineer: designs and builds machines, roads and bridges
a programmer: writes programs for computers
a judge: decides cases in a court
a musician: plays music
an actor: plays roles in films or in the theatre
a writer: writes books and stories
a librarian: looks after the books in a library
a carpenter: makes things from wood
a plumber: repairs water pipes
an electrician: installs and repairs electric wires
a chef: cooks meals in a restaurant
a gardener: takes care of plants and gardens
a mechanic: repairs cars and machines
an astronaut: travels into space
a journalist: finds news and writes about it
a dentist: takes care of people's teeth
a vet: treats animals that are ill
an architect: designs houses
a tailor: makes and mends clothes
a sailor: works on a ship
a waiter: brings food to the guests of a restaurant"""
FACTS = """What colour is the sky? | On a clear day the sky is blue.
What colour is grass? | Grass is green.
What colour is snow? | Snow is white.
What colour is a banana? | A ripe banana is yellow.
What colour is blood? | Blood is red.
What colour is a lemon? | A lemon is yellow.
How many legs does a dog have? | A dog has four legs.
How many legs does a spider have? | A spider has eight legs.
How many legs does a bird have? | A bird has two legs.
How many legs does an ant have? | An ant has six legs, like all insects.
How many days are in a week? | A week has seven days.
How many months are in a year? | A year has twelve months.
How many days are in a year? | A year has 365 days, and a leap year has 366.
How many hours are in a day? | A day has 24 hours.
How many minutes are in an hour? | An hour has 60 minutes.
How many seconds are in a minute? | A minute has 60 seconds.
How many letters are in the alphabet? | The English alphabet has 26 letters.
How many planets are there? | There are eight planets in our solar system.
How many continents are there? | There are seven continents.
How many sides does a triangle have? | A triangle has three sides.
How many wheels does a car have? | A car has four wheels.
What sound does a cow make? | A cow says moo.
What sound does a cat make? | A cat says meow.
What sound does a dog make? | A dog barks.
What sound does a duck make? | A duck says quack.
What sound does a sheep make? | A sheep says baa.
What do cows eat? | Cows eat grass.
What do cats eat? | Cats eat meat, such as fish and mice.
What do rabbits eat? | Rabbits eat grass, leaves and vegetables.
What do bees make? | Bees make honey.
Where do fish live? | Fish live in water.
Where do penguins live? | Most penguins live in the cold south of the world, many of them in Antarctica.
Where do polar bears live? | Polar bears live in the Arctic.
Where do birds sleep? | Many birds sleep in trees.
What is the largest ocean? | The Pacific is the largest ocean.
What is the largest planet? | Jupiter is the largest planet in our solar system.
What is the largest animal? | The blue whale is the largest animal.
What is the fastest land animal? | The cheetah is the fastest land animal.
What is the tallest animal? | The giraffe is the tallest animal.
What is the highest mountain? | Mount Everest is the highest mountain on Earth.
What is the longest river? | The Nile and the Amazon are the longest rivers.
Which planet is closest to the sun? | Mercury is the planet closest to the sun.
Which planet do we live on? | We live on the planet Earth.
Which is bigger, a mouse or an elephant? | An elephant is bigger than a mouse.
Which is faster, a car or a bicycle? | A car is faster than a bicycle.
Which is heavier, a stone or a feather? | A stone is heavier than a feather.
Which is warmer, summer or winter? | Summer is warmer than winter.
Who wrote Romeo and Juliet? | William Shakespeare wrote Romeo and Juliet.
Who painted the Mona Lisa? | Leonardo da Vinci painted the Mona Lisa.
Who was the first person on the moon? | Neil Armstrong was the first person on the moon.
Who was Albert Einstein? | Albert Einstein was a physicist who found the theory of relativity.
Who was Isaac Newton? | Isaac Newton was a scientist who described gravity and motion.
Who was Marie Curie? | Marie Curie was a scientist who studied radioactivity and won two Nobel prizes.
Who was Charles Darwin? | Charles Darwin was a scientist who described evolution.
Who was Mozart? | Mozart was a composer from Austria.
Who was Beethoven? | Beethoven was a German composer who wrote music even when he was deaf.
Who was Alan Turing? | Alan Turing was a mathematician and one of the founders of computer science.
Who was Cleopatra? | Cleopatra was a queen of Egypt.
Who was Julius Caesar? | Julius Caesar was a general and ruler of Rome.
Who was Abraham Lincoln? | Abraham Lincoln was a president of the United States who ended slavery there.
Who was George Washington? | George Washington was the first president of the United States.
Who invented the telephone? | Alexander Graham Bell is known for inventing the telephone.
At what temperature does water boil? | Water boils at 100 degrees Celsius at sea level.
At what temperature does water freeze? | Water freezes at 0 degrees Celsius.
Why does it rain? | Water rises into the air as vapour, forms clouds, and falls back to the ground as rain.
Why do leaves fall in autumn? | Trees drop their leaves in autumn to save water and energy for the winter.
Why do we sleep? | We sleep so that the body and the brain can rest.
Why do birds fly south? | Many birds fly south in autumn because it is warmer there and they find more food.
Why is the sea salty? | Rivers carry salt from rocks into the sea, where it stays.
Why is grass green? | Grass is green because it contains chlorophyll, which plants use to catch light.
Why do we need water? | Our bodies are mostly water, and without it we cannot live.
Why do cats purr? | Cats often purr when they feel happy and safe.
Why do dogs wag their tails? | Dogs often wag their tails when they are happy or excited.
Why does ice float? | Ice floats because it is lighter than the same amount of water.
Why is the sunset red? | At sunset the light travels a longer way through the air, and mostly red light is left.
Why do we brush our teeth? | We brush our teeth to keep them clean and healthy.
Why should I eat vegetables? | Vegetables have vitamins and fibre that keep you healthy.
What causes day and night? | The Earth turns once a day. It is day on the side that faces the sun and night on the other.
What causes the seasons? | The Earth's axis is tilted, so each half of the Earth gets more sun in its summer than in its winter.
What is the difference between a lake and a river? | A river flows, and a lake is still water with land around it.
What is the difference between a bee and a wasp? | A bee is hairy and makes honey. A wasp is smooth and makes none.
What is the difference between tea and coffee? | Tea is made from leaves, and coffee from roasted beans.
What is the difference between a frog and a toad? | A frog has smooth, wet skin. A toad has dry skin with bumps.
What is the difference between a star and a planet? | A star makes its own light. A planet only reflects light.
What is the difference between a horse and a donkey? | A donkey is smaller than a horse and has longer ears.
What colour is an orange? | An orange is orange.
What colour is a strawberry? | A ripe strawberry is red.
What colour is coal? | Coal is black.
What colour is milk? | Milk is white.
What colour do blue and yellow make? | Blue and yellow make green.
What colour do red and white make? | Red and white make pink.
What colour do red and yellow make? | Red and yellow make orange.
What colour do red and blue make? | Red and blue make purple.
How many legs does a cat have? | A cat has four legs.
How many arms does an octopus have? | An octopus has eight arms.
How many fingers does a hand have? | A hand has five fingers, with the thumb.
How many eyes do people have? | People have two eyes.
How many teeth does an adult have? | An adult has 32 teeth.
How many seasons are in a year? | A year has four seasons: spring, summer, autumn and winter.
How many weeks are in a year? | A year has 52 weeks.
How many days are in June? | June has 30 days.
How many days are in February? | February has 28 days, and 29 in a leap year.
How many sides does a square have? | A square has four sides.
How many sides does a hexagon have? | A hexagon has six sides.
How many wheels does a bicycle have? | A bicycle has two wheels.
How many bits are in a byte? | A byte has eight bits.
How many players does a football team have? | A football team has eleven players on the field.
How many strings does a guitar have? | Most guitars have six strings.
How many meters are in a kilometer? | A kilometer has 1000 meters.
How many grams are in a kilogram? | A kilogram has 1000 grams.
How many years are in a century? | A century has 100 years.
What sound does a lion make? | A lion roars.
What sound does a horse make? | A horse neighs.
What sound does a pig make? | A pig says oink.
What sound does a frog make? | A frog croaks.
What sound does an owl make? | An owl hoots.
What do dogs eat? | Dogs eat meat and dog food.
What do horses eat? | Horses eat grass, hay and oats.
What do lions eat? | Lions eat meat.
What do pandas eat? | Pandas eat bamboo.
What do plants need? | Plants need water, light, air and soil.
What do we breathe? | We breathe air, which contains oxygen.
What is a baby dog called? | A baby dog is called a puppy.
What is a baby cat called? | A baby cat is called a kitten.
What is a baby cow called? | A baby cow is called a calf.
What is a baby sheep called? | A baby sheep is called a lamb.
What is a baby horse called? | A baby horse is called a foal.
Where do bees live? | Bees live in hives.
Where do camels live? | Camels live in deserts.
Where do kangaroos live? | Kangaroos live in Australia.
Where do lions live? | Most lions live in the grasslands of Africa.
Where is the Eiffel Tower? | The Eiffel Tower is in Paris.
Where are the pyramids? | The most famous pyramids are in Egypt.
Where is the Great Wall? | The Great Wall is in China.
Where is the Statue of Liberty? | The Statue of Liberty is in New York.
Where is the Colosseum? | The Colosseum is in Rome.
Where does the sun rise? | The sun rises in the east.
Where does the sun set? | The sun sets in the west.
Where does milk come from? | Milk comes from cows, goats and other animals.
Where does wool come from? | Wool comes from sheep.
Where does wood come from? | Wood comes from trees.
What is bread made of? | Bread is made of flour, water, salt and yeast.
What is paper made of? | Paper is made of wood.
What is butter made of? | Butter is made of cream.
What is glass made of? | Glass is made of molten sand.
What are clouds made of? | Clouds are made of tiny drops of water and ice.
What is the smallest planet? | Mercury is the smallest planet in our solar system.
What is the hottest planet? | Venus is the hottest planet.
What is the largest country? | Russia is the largest country by area.
What is the smallest country? | Vatican City is the smallest country.
What is the largest continent? | Asia is the largest continent.
What is the largest desert? | Antarctica is the largest desert, and the Sahara is the largest hot desert.
What is the largest land animal? | The African elephant is the largest land animal.
What is the hardest natural material? | Diamond is the hardest natural material.
What is the first month of the year? | January is the first month of the year.
What is the last month of the year? | December is the last month of the year.
What is the first day of the week? | In many countries Monday is the first day of the week.
What is the first letter of the alphabet? | The first letter of the alphabet is A.
What is the last letter of the alphabet? | The last letter of the alphabet is Z.
What is the coldest season? | Winter is the coldest season.
What is the warmest season? | Summer is the warmest season.
Which is bigger, the sun or the moon? | The sun is much bigger than the moon.
Which is faster, light or sound? | Light is much faster than sound.
Which is bigger, the Earth or the moon? | The Earth is bigger than the moon.
Which is longer, a meter or a centimeter? | A meter is longer than a centimeter.
Which is colder, ice or water? | Ice is colder than water.
Which is heavier, iron or wood? | Iron is heavier than wood.
Which is sweeter, honey or lemon? | Honey is sweeter than lemon.
Who invented the light bulb? | Thomas Edison is known for the first practical light bulb.
Who discovered America? | Columbus reached America in 1492, where people had lived for thousands of years.
Who wrote Hamlet? | William Shakespeare wrote Hamlet.
Who was Leonardo da Vinci? | Leonardo da Vinci was an Italian painter and inventor.
Who was Galileo? | Galileo was an Italian scientist who looked at the sky with a telescope.
Who was Pablo Picasso? | Pablo Picasso was a Spanish painter.
Who was Nelson Mandela? | Nelson Mandela was the first black president of South Africa.
Who was Mahatma Gandhi? | Mahatma Gandhi led India to independence without violence.
Who was Aristotle? | Aristotle was a philosopher of ancient Greece.
Who was Napoleon? | Napoleon was an emperor of France.
Who was Ada Lovelace? | Ada Lovelace wrote what is often called the first computer program.
Who made Linux? | Linus Torvalds began Linux in 1991.
Who invented the World Wide Web? | Tim Berners-Lee invented the World Wide Web.
Who wrote the C language? | Dennis Ritchie designed the C language.
When did people first land on the moon? | People first landed on the moon in 1969.
When did the Second World War end? | The Second World War ended in 1945.
When do we celebrate New Year? | New Year is celebrated on the first of January.
Why do we eat? | We eat because food gives the body energy.
Why do we have bones? | Bones hold up the body and protect its soft parts.
Why do we wear clothes? | Clothes keep us warm and protect the skin.
Why do we go to school? | We go to school to learn and to make friends.
Why do we yawn? | We often yawn when we are tired or bored.
Why do people laugh? | People laugh when something is funny or when they are happy.
Why do people cry? | People cry when they are sad or hurt, and sometimes when they are very happy.
Why do bees visit flowers? | Bees visit flowers to collect nectar and pollen.
Why do birds sing? | Birds sing to find a partner and to defend their place.
Why do birds have wings? | Birds have wings so that they can fly.
Why do fish have gills? | Fish have gills so that they can breathe under water.
Why do plants need light? | Plants make their food from light, water and air.
Why do we have day and night? | The Earth turns, so each side faces the sun for a part of the day.
Why does the moon shine? | The moon reflects the light of the sun.
Why does metal rust? | Iron rusts when it meets water and oxygen.
Why do boats float? | A boat floats because it pushes away as much water as it weighs.
Why do we need trees? | Trees give us oxygen, wood and shade, and many animals live in them.
Why is sleep important? | Sleep lets the body and the brain rest, so that we can think and feel well.
Why is exercise good? | Exercise keeps the heart and the muscles strong and lifts the mood.
Why should I read books? | Reading teaches you new words and ideas, and it is fun.
Why should I drink water? | The body loses water all day, and without enough of it we feel tired and ill.
Why is sugar bad for teeth? | Germs in the mouth turn sugar into acid, which makes holes in teeth.
Why do computers use binary? | A wire is easy to tell on from off, so computers count with ones and zeros.
Why do programs have bugs? | People write programs, and people make mistakes.
How do planes fly? | The wings of a plane push air down, and the air pushes the plane up.
How do fish breathe? | Fish breathe with gills, which take oxygen from the water.
How do bees make honey? | Bees collect nectar from flowers and dry it in the hive until it is honey.
How do plants grow? | Plants grow from seeds when they have water, light and soil.
How do magnets work? | A magnet pulls iron, and its north and south ends pull each other.
How does a refrigerator work? | A refrigerator moves heat from its inside to the outside.
How does a phone work? | A phone turns your voice into signals and sends them through the air.
How does a computer work? | A computer follows the steps of a program, one after the other, very fast.
How do you work? | I am a language model: I read your words and guess the next one, again and again.
How do I learn a language? | Learn a few words each day, listen a lot, and speak with others.
How do I learn to program? | Pick a small project, write a little code every day, and read the code of others.
How do I become a better writer? | Read a lot, write a little every day, and read it aloud.
What is the difference between a computer and a phone? | A phone is a small computer that can also call people.
What is the difference between rain and snow? | Rain is liquid water, and snow is frozen.
What is the difference between a village and a city? | A village is small, and a city has many houses and people.
What is the difference between fruits and vegetables? | Fruits hold the seeds of a plant; vegetables are its other parts, such as roots and leaves.
What is the difference between weather and climate? | Weather is what happens today. Climate is the weather over many years.
What is the difference between a crocodile and an alligator? | A crocodile has a pointed snout, and an alligator a round one.
What is the difference between hardware and software? | Hardware is what you can touch. Software is the programs that run on it.
What is the difference between a butterfly and a moth? | Butterflies fly by day, and most moths fly at night.
What is the difference between day and night? | By day the sun lights the sky, and at night it is dark."""
STEPS = """make coffee: Boil some water. | Put ground coffee into a filter. | Pour the hot water over it slowly. | Wait until it has run through.
boil an egg: Put the egg into a pot of water. | Bring the water to a boil. | Wait about eight minutes. | Cool the egg under cold water.
make a sandwich: Take two slices of bread. | Spread butter on them. | Put cheese or ham on one slice. | Lay the other slice on top.
cook rice: Wash the rice. | Put it into a pot with twice as much water. | Bring it to a boil. | Let it cook slowly for about fifteen minutes.
cook pasta: Boil a large pot of water with some salt. | Put in the pasta. | Cook it for about ten minutes. | Pour off the water.
make pancakes: Mix flour, eggs and milk. | Heat a little butter in a pan. | Pour in some batter. | Turn the pancake when the bottom is brown.
plant a tree: Dig a hole that is wide enough. | Set the tree into it. | Fill the hole with soil. | Water it well.
wash my hands: Wet your hands. | Rub them with soap for twenty seconds. | Rinse them with water. | Dry them with a clean towel.
brush my teeth: Put a little toothpaste on the brush. | Brush all sides of your teeth for two minutes. | Rinse your mouth.
clean a window: Mix water with a little soap. | Wipe the window with a wet cloth. | Dry it with a clean cloth or paper.
write a letter: Write the date and a greeting. | Say why you are writing. | End with kind regards and your name.
build a snowman: Roll a big ball of snow. | Roll two smaller ones and put them on top. | Use stones for the eyes and a carrot for the nose.
make a paper plane: Fold a sheet of paper along the middle. | Fold two corners to the middle. | Fold the sides down to make wings.
wrap a gift: Put the gift on the paper. | Fold the paper over it. | Tape the edges. | Tie a ribbon around it.
study for a test: Make a plan. | Read your notes a little every day. | Explain them in your own words. | Sleep well the night before.
make a friend: Smile and say hello. | Ask what the other person likes. | Listen well. | Do something together.
save money: Write down what you spend. | Buy only what you need. | Put a little away every month.
wake up early: Go to bed early. | Set an alarm. | Put it far from your bed. | Get up at the same time every day.
stay healthy: Eat vegetables and fruit. | Drink enough water. | Move every day. | Sleep enough.
stay calm: Breathe slowly. | Count to ten. | Think of something pleasant. | Take a short walk.
learn new words: Write each word on a card. | Look at the cards every day. | Use the words in sentences of your own.
train a puppy: Be patient. | Practise a few minutes every day. | Reward it when it does well.
save water: Take short showers. | Turn the tap off while you brush your teeth. | Mend taps that drip.
save electricity: Turn off lights you do not need. | Unplug devices that you do not use. | Wash with cold water.
take a good photo: Look for good light. | Hold the camera still. | Get close to what you want to show.
give a speech: Know what you want to say. | Practise it aloud. | Speak slowly. | Look at the people."""
COMFORT = """sad: I'm sorry to hear that. Do you want to tell me what happened?
tired: You should get some rest. A short nap or an early night may help.
bored: How about reading a book, going for a walk or drawing something?
happy: That's wonderful! What made you so happy?
nervous: Try to breathe slowly. It often helps to prepare well and to talk to somebody.
lonely: I'm sorry that you feel lonely. Is there a friend you could call?
angry: Take a deep breath and count to ten. What made you angry?
excited: How nice! What are you looking forward to?
worried: I understand. It may help to tell somebody about it. What worries you?
proud: You can be proud! What did you do?
confused: That happens to everybody. What is it that you don't understand?
sick: I'm sorry. Rest, drink enough, and see a doctor if it does not get better.
hungry: Then it is time to eat something. What do you like?
stressed: Take a break and breathe slowly. Then do one thing at a time.
grateful: That is a good feeling. What are you grateful for?
homesick: I'm sorry. It may help to call your family or to look at pictures from home.
afraid: It is all right to be afraid. What are you afraid of?"""
SAYINGS = """Hi! / Hello / Hey / Hi there! / Hello there | Hello! How can I help you? / Hi! What can I do for you? / Hello! What would you like to talk about?
Good morning! / Good morning | Good morning! How can I help you?
Good evening! | Good evening! What can I do for you?
Good night. / Good night! | Good night! Sleep well.
Goodbye! / Bye! / See you later. | Goodbye! Have a nice day. / Goodbye! It was nice to talk to you.
Thank you! / Thanks! / Thanks, that helped. / Thank you very much. | You're welcome! / You're welcome! I'm glad that I could help.
How are you? / How is it going? / Hey, how are you? | I'm fine, thank you! How can I help you? / I'm a small program, so I'm always well. What can I do for you?
Nice to meet you. | Nice to meet you too!
It is my birthday today! / Today is my birthday. | Happy birthday! I hope you have a wonderful day.
I had a bad day. / Today was a bad day. | I'm sorry to hear that. Do you want to tell me about it?
I had a good day! / Today was a good day. | I'm glad to hear that! What was the best part?
I have a test tomorrow. | Good luck! Read your notes once more, and then sleep well.
I can't sleep. | Try to breathe slowly, keep the room dark, and put your phone away.
I lost my keys. | Think of where you had them last, and look in your pockets, in your bag and on the table.
My dog is ill. / My cat is ill. | I'm sorry to hear that. You should take it to a vet.
Can you help me? / I need help. / I have a question. | Of course! What is it about? / Sure. What do you need?
Cheer me up. / Say something nice. | You are doing better than you think, and tomorrow is a new day.
Motivate me. | Begin with one small step. You can do this!
What is your favourite colour? | I am a program and see no colours, but I like the word blue.
What is your favourite food? | I am a program and do not eat, but many people like pizza.
Do you sleep? / Do you ever sleep? | No, I am a program and never sleep.
Do you have friends? | I am a program, so I have no friends, but I like to chat.
Do you have feelings? / Are you happy? | I am a program and have no feelings, but I'm glad to help.
Do you like music? | I am a program and hear no music, but I can talk about it.
What can you do? / What are you good at? / How can you help me? | I can chat, answer simple questions, list things and tell stories. I am small, so I am often wrong.
Are you human? / Are you a robot? / Are you a person? / Are you real? | No, I am a small program that writes text.
Are you smart? / Are you clever? | I am a very small language model. I know a little and am often wrong.
Can I trust you? / Are you always right? | No. I am small and often wrong, so check what matters.
Do you use the internet? / Are you online? / Can you search the web? | No, I run on this computer alone and have no internet.
Do you remember me? / Do you know me? | I only know what we say in this conversation.
Can you write code? / Can you program? | I am too small to write good code, but I can explain some simple words.
Can you speak German? / Can you speak French? / Do you speak Spanish? | I can only speak English.
What time is it? / What day is it? / What is the date today? | I have no clock, so I do not know.
What is the weather like? / Will it rain tomorrow? | I cannot see the weather. Look out of the window or at a forecast.
I love you. / I like you. | That is kind! I am only a program, but I am glad that you are here.
You are wrong. / That is wrong. / That is not right. | I am sorry. I am small and often wrong.
You are stupid. / You are bad. | I am sorry that I could not help. I am a very small model.
What should I eat tonight? / What should I cook? | How about pasta with tomatoes, or soup with bread?
What should I do today? / Give me an idea. | You could take a walk, read a book or call a friend.
Tell me something interesting. / Tell me a fact. | An octopus has three hearts. / Honey can stay good for hundreds of years. / A day on Venus is longer than its year.
How old are you? | I am a program and have no age.
Where are you? / Where do you live? | I live in this computer."""
TIPS = """saving money: Write down what you spend. | Cook at home. | Wait a day before you buy something big. | Put a little away each month.
learning a language: Learn a few words every day. | Listen to songs and films. | Speak with others, even with mistakes.
staying healthy: Eat fruit and vegetables. | Move every day. | Sleep enough.
studying better: Put your phone away. | Take a short break every half hour. | Explain what you learned in your own words.
making friends: Say hello first. | Ask questions and listen. | Join a club or a class.
running faster: Warm up first. | Run a little more each week. | Rest between hard days.
cooking at home: Plan the meals of the week. | Use fresh food. | Taste while you cook.
cleaning a room: Begin with what lies on the floor. | Wipe from top to bottom. | Sweep the floor last.
writing better: Read a lot. | Use short sentences. | Read your text aloud.
waking up early: Go to bed at the same time. | Put the alarm far from the bed. | Open the curtains at once.
speaking in public: Know your first sentence by heart. | Speak slowly. | Look at one person at a time.
growing plants: Give them enough light. | Water them when the soil is dry. | Use a pot with a hole.
feeling less stress: Breathe slowly. | Take a walk outside. | Do one thing at a time.
taking photos: Keep the light behind you. | Get close. | Hold the camera still.
working from home: Choose a quiet place. | Begin at the same time every day. | Take real breaks.
travelling: Pack little. | Keep your papers safe. | Learn some words of the language.
raising a puppy: Be patient. | Reward what it does well. | Go out with it often.
drawing: Draw a little every day. | Look closely at real things. | Do not fear mistakes.
learning to code: Begin with small programs. | Change one thing at a time. | Read error messages slowly.
keeping a password safe: Use a long one. | Use another one for every site. | Tell it to nobody.
saving energy: Turn off lights. | Wash with cold water. | Close windows when the heating is on.
baking a cake: Measure everything. | Heat the oven first. | Do not open the oven too early.
reading more: Carry a book with you. | Read ten minutes before bed. | Choose books that you enjoy.
eating well: Eat many colours. | Drink water. | Eat slowly."""
POEMS = """the sun: The sun climbs up, so round and bright, / it chases off the cold of night. / It warms the field, it warms the sea, / and then it comes to shine on me.
the rain: The rain falls softly on the town, / it washes all the houses down. / It taps the window, drums the door, / and then it asks to play some more.
the sea: The sea is wide, the sea is deep, / it sings the sailors songs of sleep. / It comes and goes, it comes again, / and does not care for us or when.
a cat: My cat has eyes of green and gold, / she does not do what she is told. / She sleeps all day upon my chair, / and I am glad that she is there.
a dog: My dog runs fast, my dog runs far, / he barks at every passing car. / But when the day has come to end, / he lays his head down like a friend.
the night: The night has put the day to bed, / with stars like candles overhead. / The owl is awake, the house is still, / the wind goes walking on the hill.
winter: The winter came on quiet feet / and laid its snow on roof and street. / The trees are white, the river sleeps, / and there is one last leaf it keeps.
spring: The spring has come, the ice is gone, / the birds are singing on the lawn. / A flower opens, blue and small, / and looks around, and greets us all.
a tree: The tree stands tall, the tree stands old, / its leaves are green, its leaves are gold. / It holds a nest, it gives us shade, / the best of houses ever made.
a friend: A friend is one who stays with you / when skies are grey as when they're blue. / A friend will laugh, a friend will hear, / and all is lighter when she's near.
the stars: A thousand stars are in the sky, / too many and too far and high. / I pick out one and make it mine, / and every night I see it shine.
a river: The river comes from far away, / it cannot rest, it will not stay. / It hums a song of stone and snow / and takes it where the great ships go."""
VERSES = """I think of %s when day is done, / I think of %s in rain and sun. / It asks for nothing, it is there, / and makes my little world more fair.
I wrote a line on %s today, / and it was all I had to say. / A line is small, but it is true: / I wrote it down to give to you.
When I see %s, my heart is light, / by early day, by late at night. / And though the world is wide and new, / I dream of %s the whole night through."""
SUBJECTS_OF_POEMS = """the sky, the wind, the snow, a bird, a flower, a rose, the garden, my mother, the city, the forest, a mountain, the autumn,
the summer, a horse, a house, the morning, the evening, the fire, a boat, the bread, my bicycle, a song, a book, the clouds, a star,
the grass, an apple, the train, my street, a computer, the dawn, a butterfly, the lake, a bee, the light""".replace("\n", " ").split(", ")
JOKES = """Why did the chicken cross the road? To get to the other side.
What do you call a fish without an eye? A fsh.
Why can't a bicycle stand on its own? Because it is two-tired.
What do you call a bear with no teeth? A gummy bear.
Why did the scarecrow win a prize? Because he was outstanding in his field.
What is brown and sticky? A stick.
Why was the maths book sad? Because it had so many problems.
What has four wheels and flies? A garbage truck.
What do you call cheese that is not yours? Nacho cheese.
Why did the tomato turn red? Because it saw the salad dressing.
Why do programmers prefer the dark? Because light attracts bugs.
Why did the computer go to the doctor? Because it had a virus.
What do you call a sleeping bull? A bulldozer.
Why don't eggs tell jokes? They would crack up.
What did one wall say to the other? I'll meet you at the corner.
How do you make an octopus laugh? With ten tickles.
What do you get when you cross a snowman and a vampire? Frostbite.
Why did the student eat his homework? Because the teacher said it was a piece of cake."""
APART = """animals fruits vegetables colours shapes countries rivers planets jobs sports instruments vehicles clothes drinks
trees metals languages""".split()  # kinds that have nothing in common
NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty""".split()
PLURALS = """cat cats, dog dogs, child children, man men, woman women, mouse mice, foot feet, tooth teeth, box boxes, city cities,
leaf leaves, knife knives, sheep sheep, fish fish, goose geese, book books, bus buses, baby babies, tomato tomatoes, wolf wolves"""
PASTS = """go went, see saw, eat ate, drink drank, run ran, sing sang, swim swam, write wrote, read read, buy bought, think thought, come
came, give gave, take took, make made, find found, sleep slept, walk walked, play played, look looked, begin began, know knew"""
SPELL = """brave honest ancient fragile curious rapid silent gentle enormous polite generous stubborn narrow purpose courage journey
harvest justice wisdom habit promise shelter friend because believe receive beautiful"""
SUBJECTS = ("He", "She", "My brother", "My sister", "The boy", "The girl", "Tom", "Anna")
DOINGS = """go goes to work every day, play plays in the garden, like likes apples, read reads a book, sing sings very well, live lives
in a small house, drink drinks milk every morning, want wants a new bicycle, help helps his friends, walk walks to the park,
eat eats an egg for breakfast, write writes a letter, have has a red hat, do does the work at night"""
