import { createHash } from "node:crypto";
import type { Profile } from "../profiles/profile.ts";

/** Someone for the directory: a profile without an account, so nobody can sign in with it. */
export type SeededPerson = Omit<Profile, "updatedAt">;

/** Enough that the directory has many pages and a search has something to leave out. */
const howMany = 3_000;

/** The people of the directory, the same each time. */
export function seededPeople(): SeededPerson[] {
  return Array.from({ length: howMany }, (_, number) => seededPerson(number));
}

function seededPerson(number: number): SeededPerson {
  const chance = createHash("sha256").update(String(number)).digest();
  const choose = (list: readonly string[], draw: number) => nth(list, chance.readUInt32BE(4 * draw));
  // Each round through the given names moves on by a family name, so that no two people have the same name.
  const round = Math.floor(number / givenNames.length);
  const city = choose(cities, 0);
  return {
    id: `5eed0000-0000-4000-8000-${String(number).padStart(12, "0")}`,
    name: `${nth(givenNames, number)} ${nth(familyNames, number + round)}`,
    headline: `${choose(trades, 1)}, ${choose(workplaces, 2)}`,
    city,
    bio: [choose(arrivals, 3).replace("CITY", city), choose(habits, 4), choose(pastimes, 5)].join(" "),
  };
}

function nth(list: readonly string[], position: number): string {
  return list[position % list.length] ?? "";
}

const givenNames = words(`
  Abdul Abena Adaeze Adam Agnès Ahmed Aino Akira Alba Aleksandra Alma Amara Amélie Amir Anders Anjali Anna Ann-Marie
  Antoine Aoife Arjun Astrid Ayşe Beatriz Bilal Björn Bruno Camille Carlos Chiara Chidi Ciarán Clara Dalia Daniel
  Darius Delphine Dmitri Edith Eleni Elias Elif Emeka Emma Erik Esther Eun-ji Farah Fatima Felix Fiona Freya Gabriel
  Giulia Grace Greta Hana Hannah Haruki Hassan Helena Hiroshi Hugo Ibrahim Ida Imani Ines Ingrid Isaac Ivana Jamal Jan
  Jin Joanna Jonas José Julia Kareem Kateřina Keiko Kofi Kwame Laila Lars Leila Leo Lina Linh Louise Lucas Lucía Maeve
  Magnus Malik Marek Maria Marta Mateo Mei Mehmet Mia Miguel Mira Mohammed Nadia Naomi Nia Nikolai Nina Noah Olga
  Oliver Omar Oskar Paloma Paul Pedro Petra Priya Rafael Rania Ravi Renata Rosa Ruth Sami Samuel Sanjay Sara Sergei
  Simone Sofia Søren Stefan Sven Tadeusz Tariq Teresa Thabo Tomás Valentina Vera Viktor Wanjiru Wei Xavier Yara Yasmin
  Yuki Yusuf Zainab Zeynep Zoë
`);

const familyNames = words(`
  Abara Adeyemi Andersson Baptiste Bauer Bergström Castillo Chaudhry Chen Costa D’Angelo Demir Diallo Dubois Eriksen
  Farouk Fernandes Fischer Fraser García Goldberg Haddad Hansen Hernández Hoffmann Ibrahim Ishikawa Ivanova Jensen
  Kamau Kaur Kim Kowalski Kruger Lindqvist López MacLeod Mäkinen Mbeki Mehta Moreau Müller Nakamura Nguyen Novák
  Nwosu O’Brien Okonkwo Olsen Papadakis Park Pereira Popescu Rahman Rossi Sato Silva Svensson Takahashi Tran
`);

const cities = lines(`
  Accra
  Athens
  Auckland
  Barcelona
  Belfast
  Bergen
  Bogotá
  Bologna
  Brno
  Buenos Aires
  Busan
  Cape Town
  Córdoba
  Cork
  Dakar
  Edinburgh
  Gdańsk
  Ghent
  Halifax
  Helsinki
  Izmir
  Kigali
  Kyoto
  Lagos
  Leipzig
  Lisbon
  Ljubljana
  Lyon
  Malmö
  Melbourne
  Montréal
  Mumbai
  Nairobi
  New Orleans
  Osaka
  Porto
  Pune
  Reykjavík
  Riga
  Rotterdam
  São Paulo
  Seoul
  Tallinn
  Tampere
  Thessaloniki
  Toronto
  Tunis
  Valparaíso
  Vienna
  Zürich
`);

const trades = lines(`
  Acoustic engineer
  Archivist
  Baker
  Beekeeper
  Bookbinder
  Botanist
  Bridge engineer
  Cartographer
  Ceramicist
  Choir director
  Civil engineer
  Data engineer
  Dentist
  Electrician
  Ferry captain
  Film editor
  Fire investigator
  Gardener
  Geologist
  Glassblower
  Historian
  Illustrator
  Instrument maker
  Interpreter
  Joiner
  Librarian
  Locksmith
  Marine biologist
  Midwife
  Network engineer
  Nurse
  Optician
  Paper conservator
  Physiotherapist
  Piano tuner
  Printer
  Product designer
  Radio producer
  School teacher
  Software developer
  Sound designer
  Stonemason
  Surveyor
  Tailor
  Train driver
  Translator
  Type designer
  Veterinarian
  Weaver
  Web developer
`);

const workplaces = lines(`
  Alder & Finch
  Blue Door Studio
  Copperfield House
  Fieldnote
  Foundry Lane
  Harbour Works
  High Street Seven
  Juniper Row
  Lantern Collective
  Long Table
  Meridian Yard
  Nightingale & Daughters
  North Quay
  Old Mill Workshop
  Paper Lantern
  Quarry Hill
  Riverside Hall
  Saltmarsh
  Tramline
  self-employed
`);

const arrivals = lines(`
  Born in CITY, and back after ten years elsewhere.
  Came to CITY for a summer and stayed.
  Divides the week between CITY and a village without a railway station.
  Grew up above a shop in CITY.
  Knows every bakery in CITY, and one of them too well.
  Moved to CITY for the work and kept it for the weather.
  New to CITY: tell me where to eat.
  Third generation in CITY, first to like the winters.
  Wanted to see CITY once, eleven years ago.
  Works in CITY, mostly before noon.
`);

const habits = lines(`
  Measures twice, then asks someone else to measure.
  Takes on two apprentices a year.
  Still keeps a paper diary, in pencil.
  Answers letters faster than messages.
  Believes that most problems are labelling problems.
  Collects other people’s shortcuts and writes them down.
  Happiest when something that was broken for years works again.
  Learned the trade from an aunt who never explained anything.
  Prefers mornings, short meetings and long tables.
  Teaches on Thursdays, which is to say learns on Thursdays.
  Writes the manual first and then makes the thing.
  Would rather repair it.
`);

const pastimes = lines(`
  Off duty: cold water and warm bread.
  On Sundays, the slow train to wherever it ends.
  Sings second alto and turns pages for the pianist.
  Grows tomatoes on a balcony that faces the wrong way.
  Plays chess by post with three strangers.
  Restores bicycles and gives them away.
  Reads atlases the way others read novels.
  Runs, but only when late.
  Is writing a history of one street.
  Swims in any lake that allows it.
  Keeps bees, or is kept by them.
  Looking for a fourth for cards on Wednesdays.
  Photographs doors, never the houses.
  Walks a dog that belongs to the neighbours.
  Bakes one cake, very well.
  Has seen the same play nine times.
`);

function lines(text: string): string[] {
  return text.trim().split(/\s*\n\s*/);
}

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
