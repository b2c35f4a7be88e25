"""Make the complaints pipeline's input: invented customers' messages to an invented bank, the same ones every time.

`python -m pipelines.messages` writes `pipelines/defs/complaints/data/messages.csv` anew. About one record in forty is
malformed on purpose, as real exports are.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

ROWS = 2_400
SEED = 20_260
OUTPUT = Path(__file__).parent / "defs" / "complaints" / "data" / "messages.csv"

OPENINGS = (
    "Hello,", "Hi there,", "Good morning,", "To whom it may concern,", "Dear team,", "Hey,",
    "", "", "", "Sorry to bother you,",
)  # fmt: skip
SUBJECTS = (
    "my card was declined at {shop} on {day}, although there was enough on the account",
    "a transfer of {amount} to my landlord left on {day} and has not arrived",
    "I was charged {amount} twice by {shop}",
    "your app logs me out every time I open the statement for {month}",
    "I ordered a new card three weeks ago and it is still not here",
    "somebody paid {amount} at {shop} with my card, and it was not me",
    "the fee of {amount} on {day} was never announced to me",
    "I would like to raise my daily limit before my trip in {month}",
    "the cash machine at {shop} kept {amount} and gave me nothing",
    "my standing order to {shop} was cancelled without a word",
    "the exchange rate on my payment at {shop} is far from the published one",
    "I moved house in {month} and cannot change my address in the app",
    "a refund from {shop} has been pending since {day}",
    "the code by text message never comes, so I cannot confirm a payment of {amount}",
    "my mother's account was closed in {month} and nobody can tell us why",
    "the interest for {month} looks too low to me",
    "I cannot find where to download the tax certificate",
    "top-up by debit card failed again, {amount} are gone from the other bank",
)
MOODS = (
    "Could you have a look when you find the time?",
    "I am really worried about this.",
    "This is the third time I write, and I am angry.",
    "Please tell me what to do next.",
    "If this is not solved by {day} I will close the account.",
    "No hurry, I only want to understand it.",
    "I cannot pay my rent because of this!",
    "Thank you for your help so far.",
    "This is unacceptable.",
    "I have attached the receipt.",
)
SHOPS = (
    "the corner bakery", "Harbour Books", "a petrol station", "Linden Pharmacy", "an online shop", "the railway",
    "Moana Surf", "a hotel in Lyon", "the market", "Ōtautahi Café", "Bäckerei Köhler",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "March", "April", "June", "July", "September", "October", "December")
COUNTRIES = ("NZ", "AU", "DE", "FR", "GB", "IE", "NL", "PT")


def records() -> Iterator[list[str]]:
    """Every record in order: id, text, amount, country."""
    chance = random.Random(SEED)  # noqa: S311 - invented messages
    for number in range(ROWS):
        record = [str(10_000 + number), _text(chance), _amount(chance), chance.choice(COUNTRIES)]
        yield _spoiled(record, chance) if chance.random() < 1 / 40 else record


def _text(chance: random.Random) -> str:
    parts = [chance.choice(OPENINGS), chance.choice(SUBJECTS), chance.choice(MOODS)]
    slots = {
        "shop": chance.choice(SHOPS),
        "day": chance.choice(DAYS),
        "month": chance.choice(MONTHS),
        "amount": f"{_amount(chance) or '20'} euros",
    }
    opening, subject, mood = (part.format(**slots) for part in parts)
    start = f"{opening} {subject}" if opening else subject[0].upper() + subject[1:]
    return f"{start}.\n{mood}" if chance.random() < 0.1 else f"{start}. {mood}"


def _amount(chance: random.Random) -> str:
    if chance.random() < 0.15:
        return ""
    return f"{chance.lognormvariate(4, 1.1):.2f}"


def _spoiled(record: list[str], chance: random.Random) -> list[str]:
    """What exports do to records: a column lost, a comma for a point, a blank, a word for a number, no text at all."""
    kind = chance.randrange(6)
    if kind == 0:
        return record[:2]
    if kind == 1:
        record[2] = "1.204,50"
    elif kind == 2:
        record[0] = f"ID-{record[0]}"
    elif kind == 3:
        record[2] = chance.choice(("NaN", "n/a", "unknown"))
    elif kind == 4:
        record[1] = ""
    else:
        record[1] = "?"  # fits the columns, and is no message: the pipeline's own step refuses it
    return record


def main() -> None:
    """Write the file."""
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with OUTPUT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text", "amount", "country"])
        writer.writerows(records())


if __name__ == "__main__":
    main()
