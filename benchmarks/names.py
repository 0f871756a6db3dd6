"""How well and how quickly names are found, on sentences that this makes: `python -m benchmarks.names`, in an
environment with the extra `names` (`.venv-names`).

The names are from many countries, the sentences such as people write to assistants; half of them are without
any name, and full of words that look like one.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable

import msgspec

from airboss.governance.candidates import Kind
from airboss.governance.names import Cutter, Spans

SEED = 20261129
GIVEN = {
    "English": "Jane John Emily Michael Sarah David Laura Robert Grace Peter",
    "German": "Jürgen Anke Matthias Ute Heinrich Silke Lukas Frieda Dieter Annika",
    "Spanish": "José María Javier Lucía Alejandro Carmen Pablo Ximena Diego Inés",
    "Indian": "Priya Arjun Lakshmi Rahul Ananya Vikram Deepika Sanjay Kavya Rohan",
    "Nigerian": "Chinedu Ngozi Oluwaseun Amina Emeka Folake Ifeoma Tunde Zainab Obinna",
    "Turkish": "Mehmet Ayşe Emre Zeynep Burak Elif Hakan Fatma Murat Selin",
    "Chinese": "Wei Xiaoming Li Jing Hao Mei Jun Yan Qiang Ling",
    "Polish": "Łukasz Agnieszka Krzysztof Małgorzata Wojciech Zofia Piotr Kinga Paweł Ewa",
}
FAMILY = {
    "English": "Smith Johnson Taylor Walker Harris Clark Hughes Bennett Cooper Doe",
    "German": "Müller Schäfer Hoffmann Schröder Vogel Weiß Krause Lehmann Zimmermann Brandt",
    "Spanish": "García Fernández Muñoz Herrera Castillo Ortega Delgado Ibáñez Navarro Peña",
    "Indian": "Sharma Iyer Patel Reddy Chatterjee Nair Gupta Banerjee Menon Kapoor",
    "Nigerian": "Okafor Adeyemi Balogun Eze Nwosu Abubakar Okonkwo Afolabi Danjuma Chukwu",
    "Turkish": "Yildiz Demir Kaya Çelik Şahin Öztürk Güneş Arslan Doğan Koç",
    "Chinese": "Zhang Wang Chen Liu Zhao Huang Zhou Xu Sun Guo",
    "Polish": "Kowalski Nowak Wiśniewski Wójcik Kamiński Zieliński Szymański Mazur Dąbrowski Król",
}
PLACES = (
    "London", "Berlin", "Paris", "Seattle", "Lagos", "Istanbul", "Mumbai", "Kraków", "Madrid", "Shanghai",
    "Chicago", "Hamburg", "Bogotá", "Nairobi", "Germany", "Nigeria", "Poland", "Brazil", "Canada", "Vietnam",
    "New York", "San Francisco", "Buenos Aires", "Cape Town", "Hong Kong",
)  # fmt: skip
ORGANIZATIONS = (
    "Microsoft", "Siemens", "Toyota", "Unilever", "Santander", "Infosys", "Deutsche Bank", "Goldman Sachs",
    "Red Cross", "Novo Nordisk",
)  # fmt: skip
TEMPLATES = (
    "My name is {person} and I live in {location}. ",
    "Please write a friendly e-mail to {person}, who has been waiting for two weeks. ",
    "hi, this is {person}. can you check why my order went to {location}? ",
    "Yesterday I spoke with {person} from {organization} about the contract. ",
    "The patient, {person}, was admitted in {location} with chest pain. ",
    "Could you book a flight from {location} to {location} for {person}? ",
    "{person} said that the meeting with {organization} is moved to Friday. ",
    "Summarize: {person} works for {organization} and moved to {location} in 2019. ",
    "Customer: {person}\nCity: {location}\nComplaint: the parcel arrived broken.\n",
    "Tell {person} that I will be late. ",
    "I used to work at {organization}, near {location}. ",
    "Is {person} the same as the {person} who called us from {location}? ",
)
PLAIN = (
    "Write a Python function that merges two sorted lists and explain its complexity. ",
    "Why does my Docker container exit with code 137 on Kubernetes? ",
    "Translate this into formal language: we cannot come tomorrow. ",
    "The Return of Investment for Q3 was 12 %, while Gross Margin fell. ",
    "Explain the difference between JSON, YAML and TOML in two sentences. ",
    "Please fix the TypeError in AuthService.login and add a unit test. ",
    "What is a good recipe for a vegetarian lasagne without tomatoes? ",
    "- [ ] Update README\n- [ ] Bump Version\n- [ ] Tag Release\n",
    "SELECT Name, Total FROM Orders WHERE Status = 'Open' ORDER BY Total DESC; ",
    "Thank you for contacting Support. Your Ticket has been closed. ",
    "As an AI assistant, I can help with React, Rust, Java and Swift. ",
    "In the morning the birds sing, and in the evening the Moon rises. ",
)


class Score(msgspec.Struct):
    """How many names there are, were found (a part of each is enough), and what was taken for one that is
    none."""

    there: int = 0
    found: int = 0
    wrong: int = 0

    @property
    def recall(self) -> float:
        """Of what is there."""
        return self.found / max(1, self.there)

    @property
    def precision(self) -> float:
        """Of what was taken for a name."""
        return self.found / max(1, self.found + self.wrong)


def labelled(sentences: int, seed: int = SEED) -> list[tuple[str, Spans]]:
    """Sentences and the names in them, the same for the same seed."""
    source = random.Random(seed)
    made: list[tuple[str, Spans]] = []
    for number in range(sentences):
        if number % 2:
            made.append((source.choice(PLAIN), ()))
            continue
        text, spans = "", []
        parts = source.choice(TEMPLATES).split("{")
        for at, part in enumerate(parts):
            kind, closed, rest = part.partition("}") if at else ("", "", part)
            if closed:
                name = _name(source, kind)
                spans.append((len(text), len(text) + len(name), kind))
                text += name
            text += rest
        made.append((text, tuple(spans)))
    return made


def _name(source: random.Random, kind: str) -> str:
    if kind == "person":
        where = source.choice(list(GIVEN))
        return f"{source.choice(GIVEN[where].split())} {source.choice(FAMILY[where].split())}"
    return source.choice(PLACES if kind == "location" else ORGANIZATIONS)


def measured(judge: Callable[[str], Spans], sentences: int) -> dict[Kind, Score]:
    """The scores of each kind."""
    scores: dict[Kind, Score] = {kind: Score() for kind in ("person", "location", "organization")}
    for text, there in labelled(sentences):
        cutter, done = Cutter(), 0
        found: list[tuple[int, int, Kind]] = []
        for piece in [*cutter.feed(text), *cutter.finish()]:
            found += [(done + start, done + end, kind) for start, end, kind in judge(piece)]
            done += len(piece)
        for kind, score in scores.items():
            true = [each for each in there if each[2] == kind]
            said = [each for each in found if each[2] == kind]
            score.there += len(true)
            score.found += sum(any(_touch(each, other) for other in said) for each in true)
            score.wrong += sum(not any(_touch(each, other) for other in true) for each in said)
    return scores


def _touch(one: tuple[int, int, Kind], other: tuple[int, int, Kind]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def main() -> None:
    """Print them."""
    from airboss.governance.names_model import load  # noqa: PLC0415 - an extra

    began = time.process_time()
    judge = load()
    print(f"load {time.process_time() - began:.1f} s of processor time")
    sentences = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for kind, score in measured(judge, sentences).items():
        print(f"{kind}: {score.there} there, recall {score.recall:.3f}, precision {score.precision:.3f}")
    for where, given in GIVEN.items():
        people = [f"{first} {last}" for first in given.split() for last in FAMILY[where].split()]
        hits = sum(
            any(kind == "person" for _, _, kind in judge(f"My name is {name} and I need some help."))
            for name in people
        )
        print(f"people with {where} names: {hits / len(people):.2f} of {len(people)} found as such")
    text = "".join(sentence for sentence, _ in labelled(400))
    cutter = Cutter()
    pieces = [*cutter.feed(text), *cutter.finish()]
    times = []
    for piece in pieces:
        began = time.process_time()
        judge(piece)
        times.append(time.process_time() - began)
    times.sort()
    middle, late = (times[len(times) * part // 100] * 1e3 for part in (50, 95))
    print(
        f"{len(pieces)} pieces of {len(text) / len(pieces):.0f} characters: median {middle:.1f} ms, "
        f"p95 {late:.1f} ms, {sum(times) / len(text) * 1e6:.1f} ms a kilobyte"
    )
    print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
