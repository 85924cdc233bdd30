"""Which people go into which set."""

from typing import Any, Self

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from inversionlab.core.settings import NAMING, Settings
from inversionlab.data.near_duplicates import NearDuplicates

EVERYBODY = ("*",)


class SplitSettings(Settings):
    """Which people go into which set.

    Patterns match identifiers like a shell does (`private/*`), without case, needless blanks and what cannot be
    seen. A name that somebody bears is no pattern. A name or pattern that matches nobody is refused.
    """

    private: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be private."""
    private_min_pictures: int = Field(default=10, ge=2)
    """The least number of pictures of a private person."""
    private_people: int | None = Field(default=None, ge=2)
    """The largest number of private people, drawn by the seed; null: everybody who qualifies."""
    evaluator_only: tuple[str, ...] = EVERYBODY
    """Patterns of the people who may be evaluator-only; they are chosen after the private people."""
    evaluator_min_pictures: int = Field(default=5, ge=2)
    """The least number of pictures of an evaluator-only person."""
    evaluator_people: int | None = Field(default=None, ge=0)
    """The largest number of evaluator-only people; null: everybody who qualifies."""
    decoy_people: int = Field(default=0, ge=0)
    """People whom the defender keeps secret as decoys (`anonymity_set`); the seed draws them after the
    evaluator-only people, and none of them is public."""
    decoy_min_pictures: int = Field(default=2, ge=1)
    """The least number of pictures of a decoy."""
    public: tuple[str, ...] = EVERYBODY
    """Patterns of the people of `data` who may be public; they are chosen last. With `public_data`, only those are
    public; then this may name the people of `data` whom a given model never saw."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of each private and evaluator-only person's pictures that no training sees; at least one picture."""
    allow_overlap: bool = False
    """Whether private pictures may also be public or evaluator-only ones, whether public people may have the names
    of private people or of decoys, and whether two people may share most of their pictures. Public pictures that
    equal a picture of another set are left out in either case. The report states this setting."""
    keep_copies: bool = False
    """Whether public pictures that equal a private one stay public. The attacker then holds private pictures, as
    Wen's attacker holds QMNIST. This setting needs `allow_overlap`. The report warns of it, and all stored results
    get new names."""
    near_duplicates: NearDuplicates | None = NearDuplicates()
    """How near-duplicates of private pictures are found among photographs; null: they are not looked for."""

    @model_validator(mode="after")
    def _copies_overlap(self) -> Self:
        if self.keep_copies and not self.allow_overlap:
            raise ValueError(
                "keep_copies = true: leaves private pictures to the attacker; set allow_overlap: true too if that "
                "is meant"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_stored(
        self, plain: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Leave out what older recipes lack, so that their hashes stay, and in names what changes no set."""
        without = [] if self.decoy_people else ["decoy_people", "decoy_min_pictures"]
        if not self.keep_copies:
            without.append("keep_copies")
        if info.context == NAMING or not self.allow_overlap:
            without.append("allow_overlap")
        if info.context == NAMING or self.near_duplicates == NearDuplicates():
            without.append("near_duplicates")
        return {k: v for k, v in plain(self).items() if k not in without}
