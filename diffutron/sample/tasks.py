"""Two instruction sets in the published schemas: short tasks with answers of one to six words.

Families share the wording of the evaluation prompts over sentences that no evaluation item uses.
A prompt belongs to one phase only.
"""

from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import NamedTuple

from diffutron.runtime.errors import UserError
from diffutron.sample import causes, facts, moods, news, pairs
from diffutron.sample.lexicon import CORE_NOUNS, CORE_VERBS, noun, verbs
from diffutron.sample.morphology import nonfinite, noun_form, verb_form
from diffutron.sample.partition import TRAINING, told_in_text
from diffutron.sample.reserved import holds_item
from diffutron.sample.running_text import CASE_NAMES, TENSE_NAMES


class Task(NamedTuple):
    """One row; `sentences` must be on the training side; rows of one `fact` go to both phases."""

    instruction: str
    input: str
    output: str
    sentences: tuple[str, ...] = ()
    fact: str = ""


RELATION_LABELS = ("TUTARLI", "ALAKASIZ", "ÇELİŞKİLİ")
SIMILARITY_LABELS = (
    "Benzerlik Yok", "Düşük Benzerlik", "Orta Benzerlik", "Yüksek Benzerlik",
    "Çok Yüksek Benzerlik", "Mantıksal Olarak Aynı",
)  # fmt: skip


def knowledge(rng: Random) -> Task:
    """Ask a fact in a wording of the training side."""
    fact = rng.choice(facts.facts())
    question = rng.choice([q for q in facts.questions(fact) if not told_in_text(q)])
    asked = f"{fact.relation} {fact.subject}"
    wordings = (
        (question, ""),
        ("Soruyu kısaca yanıtla.", question),
        (f"Soru: {question} Cevap:", ""),
    )
    return Task(*rng.choice(wordings), fact.answer, (question,), asked)


def inflection(rng: Random) -> Task:
    """Ask for one form of a common noun or verb."""
    if rng.random() < 0.6:
        word = noun(rng.choice(CORE_NOUNS))
        case = rng.choice(("plural", *CASE_NAMES))
        asked = "çoğulu" if case == "plural" else f"{CASE_NAMES[case]} durumu"
        form = noun_form(word, plural=True) if case == "plural" else noun_form(word, case)
        return _form_task(rng, "sözcük", word.lemma, asked, form)
    verb = verbs()[rng.choice(CORE_VERBS)]
    tense = rng.choice(("negative", *TENSE_NAMES))
    name = nonfinite(verb, "infinitive")
    if tense == "negative":
        denied = nonfinite(verb, "infinitive", negative=True)
        return _form_task(rng, "eylem", name, "olumsuzu", denied)
    return _form_task(rng, "eylem", name, f"{TENSE_NAMES[tense]} zamanı", verb_form(verb, tense))


def _form_task(rng: Random, kind: str, word: str, asked: str, answer: str) -> Task:
    """Word the question for a form of `word`, with the word given apart or in the sentence."""
    its = noun_form(noun(kind), "gen", possessor="3sg")
    wordings = (
        (f"Soru: {word} {its} {asked} nedir?", ""),
        (f"Soru: {word} {its} {asked} nasıl yazılır?", ""),
        (f"Şu {noun_form(noun(kind), 'gen')} {asked} nedir?", f"Sözcük: {word}"),
        ("Soruyu kısaca yanıtla.", f"Acaba {word} {its} {asked} nedir?"),
    )
    return Task(*rng.choice(wordings), answer, fact=f"{word} {asked}")


def reading(rng: Random) -> Task:
    """Ask who, where, when or what of one to three sentences."""
    sentences, question, answer, _ = pairs.passage_item(rng, TRAINING, rng.choice((1, 1, 1, 2)))
    return Task(question, " ".join(sentences), answer, (*sentences, question))


def passage_letter(rng: Random) -> Task:
    """Ask for the letter of the right option, in the wording of the passage task."""
    sentences, question, answer, options = pairs.passage_item(rng, TRAINING, 4)
    gold = rng.randrange(4)
    rng.shuffle(options)
    options.insert(gold, answer)
    listed = "\n".join(f"{k}: {option}" for k, option in zip("ABCD", options, strict=True))
    prompt = f"P: {' '.join(sentences)}\nQ: {question}\n{listed}\nAnswer:"
    return Task(prompt, "", "ABCD"[gold], (*sentences, question))


def irony(rng: Random) -> Task:
    """Ask whether a remark is ironic, in the wording of the irony task."""
    ironic = rng.random() < 0.5
    text = moods.remark_sentence(rng, ironic=ironic)
    prompt = f"Cümle: {text}\nSoru: Bu cümlede ironi var mı?\n"
    return Task(prompt, "", "Evet" if ironic else "Hayır", (text,))


def topic(rng: Random) -> Task:
    """Ask for the topic of one to three sentences, in the wording of the news task."""
    label = rng.choice(tuple(news.TOPICS))
    sentences = [news.news_sentence(rng, label) for _ in range(rng.randint(1, 2))]
    prompt = f"Cümle: {' '.join(sentences)}\nSoru: Bu cümlenin konusu nedir?\n Cevap:"
    return Task(prompt, "", label, tuple(sentences))


def _two(first: str, second: str, question: str) -> str:
    intro = "Aşağıda iki cümle verilmektedir:"
    return f'{intro}\n\nCümle 1: "{first}"\nCümle 2: "{second}"\n\n{question}'


def relation(rng: Random) -> Task:
    """Ask for the relation of two sentences, in the wording of the inference task."""
    label = rng.randrange(3)
    first, second = pairs.inference_pair(rng, label, TRAINING)
    question = "Bu iki cümle arasındaki ilişki nedir:"
    return Task(_two(first, second, question), "", RELATION_LABELS[label], (first, second))


def similarity(rng: Random) -> Task:
    """Ask how alike two sentences are, in the wording of the similarity task."""
    changed = rng.randrange(6)
    first, second = pairs.similar_pair(rng, changed, TRAINING)
    question = "Bu iki cümle arasında ne kadar benzerlik vardır:"
    answer = SIMILARITY_LABELS[5 - changed]
    return Task(_two(first, second, question), "", answer, (first, second))


def completion(rng: Random) -> Task:
    """Ask to go on after because or therefore, in the wording of the cause task."""
    pair, telling = rng.choice(causes.PAIRS), causes.random_telling(rng)
    if rng.random() < 0.5:
        given, wanted, joint = pair.cause, pair.effect, "bu yüzden"
    else:
        given, wanted, joint = pair.effect, pair.cause, "çünkü"
    premise, more = causes.premise(given, telling), causes.continuation(wanted, telling)
    adverb = rng.choice(("", rng.choice(causes.ADVERBS)))
    prompt = f"{premise[:-1]} {joint} {adverb}".strip()
    told = (premise, f"{prompt} {more}", f"{adverb} {more}" if adverb else premise)
    return Task(prompt, "", more, told)


# family: (what draws a row, rows in each phase)
_FAMILIES: dict[str, tuple[Callable[[Random], Task], int]] = {
    "bilgi": (knowledge, 1300),
    "cekim": (inflection, 1100),
    "okuma": (reading, 1700),
    "secenek": (passage_letter, 300),
    "ironi": (irony, 600),
    "konu": (topic, 700),
    "cikarim": (relation, 800),
    "benzerlik": (similarity, 800),
    "neden_sonuc": (completion, 900),
}


def _family_rows(rng: Random, family: str, seed: int) -> list[Task]:
    """Draw the rows of one family for both phases, none twice; stop when it has no more to ask."""
    draw, count = _FAMILIES[family]
    rows: dict[tuple[str, str], Task] = {}
    for _ in range(16 * count):
        task = draw(rng)
        if _in_training(task, seed) and not told_in_text(task.instruction + task.input):
            rows.setdefault((task.instruction, task.input), task)
        if len(rows) == 2 * count:
            break
    return sorted(rows.values(), key=lambda task: task.fact)


def _in_training(task: Task, seed: int) -> bool:
    return pairs.all_on(TRAINING, task.sentences) and not holds_item(" ".join(task[:3]), seed)


_QUIZ = (irony, topic, relation, similarity, passage_letter)


def quiz(rng: Random, seed: int) -> str:
    """Return a question with its answer as running text; instructions never ask the same."""
    while True:
        task = rng.choice(_QUIZ)(rng)
        if told_in_text(task.instruction) and _in_training(task, seed):
            return f"{task.instruction} {task.output}"


@lru_cache(maxsize=2)
def _phases(seed: int) -> tuple[list[tuple[str, Task]], list[tuple[str, Task]]]:
    """Return (family, row) of both phases; they are drawn together and dealt out in turn."""
    rng = Random(f"instructions {seed}")
    dealt: tuple[list[tuple[str, Task]], list[tuple[str, Task]]] = ([], [])
    for family in _FAMILIES:
        for index, task in enumerate(_family_rows(rng, family, seed)):
            dealt[index % 2].append((family, task))
    for rows in dealt:
        rng.shuffle(rows)
    return dealt


def instructions(phase: int, seed: int = 13) -> list[dict[str, str]]:
    """Return about 8 000 rows of phase 1 (alpaca fields) or 2 (Input, Output), with `source`.

    Deterministic in `seed`; the two phases share no prompt. UserError for another phase.
    """
    if phase not in (1, 2):
        raise UserError(f"sample has instructions of phase 1 and 2, not {phase!r}")
    rows = []
    for family, task in _phases(seed)[phase - 1]:
        if phase == 1:
            row = {"instruction": task.instruction, "input": task.input, "output": task.output}
        else:
            prompt = f"{task.instruction}\n{task.input}" if task.input else task.instruction
            row = {"Input": prompt, "Output": task.output}
        rows.append({**row, "source": family})
    return rows
