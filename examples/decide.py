"""Score texts and decide between options: numbers from the model, without writing anything.

python examples/decide.py [MODEL]
"""

import sys

import diffutron

lm = diffutron.load(sys.argv[1] if len(sys.argv) > 1 else "models/phase2")

# Which text is likelier? Bits per byte can be compared between models, whatever their tokenizers.
texts = ["Cuma Kerem sahilde şapka buldu.", "Buldu şapka cuma Kerem sahilde."]
for text, bound in zip(texts, diffutron.nelbo(lm, texts, num_samples=64), strict=True):
    print(f"{bound.bits_per_byte:6.3f} bits per byte   {text}")

# Which continuation is likelier? Short ones are exact, so the standard error is 0.
sentence = "Cümle: Sabah stadyumda takım rekor kırmış."
question = f"{sentence}\nSoru: Bu cümlenin konusu nedir?\n Cevap:"
options = [" spor", " siyaset", " sağlık"]
pairs = [(question, option) for option in options]
for option, bound in zip(options, diffutron.score(lm, pairs), strict=True):
    print(f"{bound.logprob:8.3f} nats +- {bound.stderr:.3f}   {option}")

# The same as a decision, asked in the chat format: a probability for each option.
topics = [option.strip() for option in options]
choice = diffutron.decide(lm, "Soru: Bu cümlenin konusu nedir?", topics, sentence)
print(choice.choice, choice.probabilities)
