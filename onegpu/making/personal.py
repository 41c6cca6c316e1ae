"""What in a text may be somebody's: addresses, numbers of phones, cards and accounts."""

import re
from collections.abc import Iterator

__all__ = ["personal"]

EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[^\W\d_]{2,}")
DIGITS = re.compile(r"\d(?:\D{0,3}\d){6}")  # fewer are no phone number
CARD = re.compile(  # 4-4-4-4, 4-6-5, or digits alone
    r"(?<![\w.-])(?<!\d )(?:[2-6]\d{3}([ -])\d{4}\1\d{4}\1\d{4}|3\d{3}([ -])\d{6}\2\d{5}"
    r"|[2-6]\d{12,18})(?![\w-])(?! \d)"
)
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
N_SHORTEST = 15  # characters of an IBAN


def personal(text: str, *, phone_region: str | None = None) -> list[str]:
    """Return what in a text may be somebody's. Names of people and addresses are NOT found.

    Args:
        text: Any.
        phone_region: Two letters, such as `"US"`: numbers as they are dialed there are found, too.
            Without it only those that begin with `+` and the code of a country.

    Returns:
        E-mail addresses, phone numbers, card numbers and IBANs, each said to be one. The last two
        are told by their check digits, which one in ten (card) or in a hundred other numbers has.

    Example:
        >>> personal("Write to mara@example.com, or call +44 20 7946 0958.")
        ['e-mail address mara@example.com', 'phone number +44 20 7946 0958']
    """
    found = [f"e-mail address {match}" for match in EMAIL.findall(text)] if "@" in text else []
    if DIGITS.search(text):
        found += _numbers(text, phone_region)
    return found


def _numbers(text: str, phone_region: str | None) -> Iterator[str]:
    from phonenumbers import PhoneNumberMatcher
    from stdnum import iban, luhn

    if phone_region or "+" in text:
        for phone in PhoneNumberMatcher(text, phone_region):
            yield f"phone number {phone.raw_string}"
    for card in CARD.finditer(text):
        if luhn.is_valid(re.sub("[ -]", "", card[0])):
            yield f"card number {card[0]}"
    for match in IBAN.findall(text):
        compact = match.replace(" ", "")
        for end in range(len(compact), N_SHORTEST - 1, -1):  # a word in capitals may follow
            if iban.is_valid(compact[:end]):
                yield f"IBAN {compact[:end]}"
                break
