"""What rows are made with."""

import dataclasses
from collections.abc import Collection
from typing import Literal, get_args

__all__ = ["FILTERS", "Settings", "SplitBy"]

SplitBy = Literal["document", "row"]
FILTERS = (
    *("too-short", "too-long", "refusal", "not-answerable", "not-grounded", "personal-data"),
    *("duplicate", "in-test-set", "near-duplicate"),
)  # the first one that finds something is a row's reason


@dataclasses.dataclass(frozen=True)
class Settings:
    """How rows are split and filtered.

    Attributes:
        split_by: All rows of a document go into one split with `"document"`. With `"row"` each goes
            its own way, and what is asked in the test set has been seen in training.
        validation_share: Of the documents, or rows, 0 to 1. With 0 there is no such file.
        test_share: The same for the test set.
        min_words: The fewest words of an answer.
        max_words: The most words of an answer.
        test_rows: A file of rows that must not be among those made.
        phone_region: See `personal`.
        without: Filters that are left out. A program's own answers need no `"not-grounded"`.
    """

    split_by: SplitBy = "document"
    validation_share: float = 0.1
    test_share: float = 0.1
    min_words: int = 1
    max_words: int = 300
    test_rows: str | None = None
    phone_region: str | None = None
    without: Collection[str] = ()

    def __post_init__(self) -> None:
        """Raise a ValueError that says which setting cannot be."""
        if self.split_by not in get_args(SplitBy):
            raise ValueError(f"split_by is {self.split_by!r}: give 'document' or 'row'")
        shares = self.validation_share, self.test_share
        if min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(
                f"validation and test share are {shares}: give 0 or more, below 1 in all"
            )
        if not 0 <= self.min_words <= self.max_words:
            raise ValueError(f"{self.min_words} to {self.max_words} words: give a lower one first")
        if unknown := set(self.without) - set(FILTERS):
            raise ValueError(f"unknown filter {min(unknown)!r}: choose from {', '.join(FILTERS)}")
        if self.phone_region is not None:
            from phonenumbers import SUPPORTED_REGIONS

            if self.phone_region not in SUPPORTED_REGIONS:
                raise ValueError(
                    f"phone_region is {self.phone_region!r}: give two letters, as 'US'"
                )

    @property
    def splits(self) -> list[str]:
        """The splits that rows go to, `"train"` first."""
        shares = {"train": 1, "validation": self.validation_share, "test": self.test_share}
        return [name for name, share in shares.items() if share]
