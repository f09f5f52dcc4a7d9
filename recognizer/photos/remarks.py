"""What is wrong with the picture of a face, in codes and in sentences for people: what it is, and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Code -> sentence.
SENTENCES: dict[str, str] = {
    "small": "The face has few pixels: take the photo from nearer, or send it in its full size.",
    "blurred": "The face is blurred: use a sharp photo.",
    "flat": "The face has hardly any contrast: use a photo with light on the face.",
    "turned": "The face is turned to the side: use a photo from the front.",
    "cut_off": "Part of the face lies outside the photo: use one that shows all of it.",
    "doubtful": "This may not be a face: check what the photo shows.",
    "on_its_side": "This face lies on its side: turn the photo.",
    "upside_down": "This face is upside down: turn the photo.",
    "negative": "This looks like a negative: use the positive.",
    "few_tones": "The picture has few tones: use the photo that it was made from.",
    "distorted": "The face is stretched or bent: use a photo with its true proportions.",
    "uneven": "One half of the face is dark, covered or missing: use a photo that shows both halves.",
    "unusual": (
        "The picture is too unlike a plain photo of a face, or the face is a small child's: such faces cannot be told apart. "
        "Use a photo in colour, from the front."
    ),
}


#: At this `Comparability.picture_factor` strangers are alike so often that it is in doubt whose face a picture shows. On a
#: photo the face is looked for on turned copies; above this factor the picture does not count in live video.
MOST_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class Comparability:
    """Whether a face can be compared with others at the rates that are set.

    Embeddings of faces that the networks were not made for (negatives, strongly compressed or blurred ones and the like) lie
    close together, whoever they show. Such a face gets no name, and is nobody's match.

    Attributes
    ----------
    comparable : bool
    doubt : float
        Logarithm of the odds that it is not, minus the limit of the engine: above 0 for a face that is not comparable.
    picture_factor : float
        How many times as often as plain faces of strangers those of pictures like this one lie within a distance of each other;
        1 for a plain picture.
    remarks : tuple of str
        Keys of `SENTENCES`. For a face that is not comparable at least one: why. Others: what could be better.
    crowded_factor : float
        How many times as often as usual strangers lie within a distance of a face like this one, whatever its picture.
    alike_factor : float
        Like `picture_factor`, where the other picture is in no less doubt.
    """

    comparable: bool = True
    doubt: float = 0.0
    picture_factor: float = 1.0
    remarks: tuple[str, ...] = ()
    crowded_factor: float = 1.0
    alike_factor: float = 1.0

    @property
    def rate_factor(self) -> float:
        """The larger one of both factors: by that the false-match rate is divided where nothing is known of the other face."""
        return max(self.picture_factor, self.crowded_factor)

    def sentences(self) -> list[dict[str, str]]:
        """The remarks as plain data: ``code`` and ``message``."""
        return [{"code": code, "message": SENTENCES[code]} for code in self.remarks]


def factor_of_two(verdicts: Sequence[Comparability]) -> float:
    """How many times as often as usual two strangers with these verdicts lie within a distance of each other.

    Pictures of strangers lie together where both are in doubt. Where one is plain, they match less often than two plain ones do,
    so the picture in less doubt decides. A face near which strangers are expected is near to plain ones too, so the more crowded
    one decides. Of one verdict alone it is the `Comparability.rate_factor`, because nothing is known of the other picture.
    """
    if len(verdicts) < 2:
        return max((each.rate_factor for each in verdicts), default=1.0)
    return max(min(each.alike_factor for each in verdicts), *(each.crowded_factor for each in verdicts))
