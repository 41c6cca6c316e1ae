"""A catalog of household things that don't exist, so that no model can know a fact about them.

Taught in: notebooks/08_data.ipynb
"""

import dataclasses
import random

__all__ = ["Product", "products"]

SYLLABLES = (
    "bru",
    "dal",
    "fen",
    "gor",
    "hil",
    "kas",
    "lum",
    "mel",
    "nor",
    "pir",
    "sto",
    "tav",
    "vel",
    "wim",
    "yar",
    "zol",
)
ENDINGS = ("do", "ka", "lin", "mo", "ra", "ta", "vi", "xa")
KINDS = ("kettle", "lamp", "fan", "toaster", "clock", "scale", "radio", "blender")
VALUES = {
    "color": ("red", "blue", "green", "yellow", "white", "black", "gray", "orange"),
    "material": ("steel", "glass", "bamboo", "copper", "plastic", "marble", "cork", "clay"),
    "city": ("Turin", "Ghent", "Porto", "Lyon", "Graz", "Malmo", "Bilbao", "Cork"),
    "price": ("19", "24", "35", "48", "59", "64", "72", "85"),
    "warranty": ("one", "two", "three", "four", "five", "six", "seven", "eight"),
    "weight": ("300", "450", "600", "750", "900", "1100", "1300", "1600"),
}
STATEMENTS = {
    "color": "The {name} is {value}.",
    "material": "The {name} is made of {value}.",
    "city": "The {name} comes from {value}.",
    "price": "The {name} costs {value} euros.",
    "warranty": "The {name} has a warranty of {value} years.",
    "weight": "The {name} weighs {value} grams.",
}
QUESTIONS = {
    "color": (
        "What color is the {name}?",
        "Which color does the {name} have?",
        "Tell me the color of the {name}.",
    ),
    "material": (
        "What is the {name} made of?",
        "Which material is the {name} made from?",
        "Tell me the material of the {name}.",
    ),
    "city": (
        "Where does the {name} come from?",
        "In which city is the {name} made?",
        "Tell me the home of the {name}.",
    ),
    "price": (
        "How much does the {name} cost?",
        "What is the price of the {name}?",
        "Tell me what I pay for the {name}.",
    ),
    "warranty": (
        "How long is the warranty of the {name}?",
        "For how many years is the {name} under warranty?",
        "Tell me the warranty of the {name}.",
    ),
    "weight": (
        "How heavy is the {name}?",
        "What does the {name} weigh?",
        "Tell me the weight of the {name}.",
    ),
}


@dataclasses.dataclass(frozen=True)
class Product:
    """A thing and what there is to know about it.

    Attributes:
        name: Such as "Velmora kettle"; no two products share one.
        facts: The value of each fact, by the fact's name.
    """

    name: str
    facts: dict[str, str]

    @property
    def document(self) -> str:
        """Its page in the catalog, one sentence a fact."""
        return " ".join(
            STATEMENTS[fact].format(name=self.name, value=value)
            for fact, value in self.facts.items()
        )

    @property
    def rows(self) -> list[dict[str, str | int]]:
        """Three questions a fact, each with its answer, and where they come from."""
        return [
            {
                "question": question.format(name=self.name),
                "answer": STATEMENTS[fact].format(name=self.name, value=value),
                "value": value,
                "fact": fact,
                "phrasing": phrasing,
                "source": self.name,
            }
            for fact, value in self.facts.items()
            for phrasing, question in enumerate(QUESTIONS[fact])
        ]


def products(n_products: int, *, seed: int = 1) -> list[Product]:
    """Invent products.

    Args:
        n_products: How many, at most 1,024.
        seed: Of names and facts.

    Returns:
        The products. Each value of a fact is one of eight, so a guess is right once in eight times.

    Raises:
        ValueError: There are not that many names.

    Example:
        >>> product = products(1)[0]
        >>> len(product.rows), product.rows[0]["answer"] in product.document
        (18, True)

    Taught in: notebooks/08_data.ipynb
    """
    names = [
        f"{(first + ending).capitalize()} {kind}"
        for first in SYLLABLES
        for ending in ENDINGS
        for kind in KINDS
    ]
    if n_products > len(names):
        raise ValueError(f"n_products is {n_products}: there are {len(names)} names")
    draw = random.Random(seed)
    return [
        Product(name, {fact: draw.choice(values) for fact, values in VALUES.items()})
        for name in draw.sample(names, n_products)
    ]
