"""What `invert` returns: the pictures of one attack, with what each cost."""

import html
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inversionlab.core.images import png, to_bytes

SHOWN = 40
"""Pictures that a notebook shows."""


@dataclass(frozen=True, repr=False, eq=False)
class Inverted:
    """The reconstructions of one attack, a row for each target and repeat, on the CPU.

    It can be used like the tensor `images`: by `len`, indices, slices, masks, loops, and `numpy.asarray`.
    """

    images: Tensor
    """float (N, C, S, S) in [0, 1]."""
    target: Tensor
    """The class that each picture is of, (N,)."""
    repeat: Tensor
    """The number of the random start, (N,)."""
    confidence: Tensor
    """The model's score of the target as the attacker saw it, (N,); NaN where it saw none."""
    converged: Tensor
    """Whether the attack's own criterion stopped it, (N,)."""
    queries: Tensor
    """Pictures that the model was asked about, (N,)."""
    steps: Tensor
    """Updates, (N,)."""
    attack: str
    """The attack's name."""
    seconds: float
    """Wall-clock time of the attack, without that of trainings."""
    training_queries: int = 0
    """Pictures that the model was asked about to train the attacker's networks, for all targets together."""

    @property
    def shape(self) -> tuple[int, ...]:
        """That of `images`."""
        return tuple(self.images.shape)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Tensor:
        return self.images[index]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.images)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        found: NDArray[Any] = self.images.numpy()
        return (
            np.array(found, dtype=dtype, copy=True) if copy else found.astype(dtype or found.dtype)
        )

    def png(self, index: int) -> bytes:
        """One picture as a PNG file."""
        return png(to_bytes(self.images[index]))

    def __repr__(self) -> str:
        mean = float(self.confidence.nanmean())
        return (
            f"Inverted({self.shape} by {self.attack}, mean confidence {mean:.3g}, "
            f"{int(self.queries.sum())} queries, {self.seconds:.1f} s)"
        )

    def _repr_html_(self) -> str:
        """The pictures, for a notebook."""
        figures = []
        for row in range(min(SHOWN, len(self))):
            source = b64encode(self.png(row)).decode("ascii")
            told = f"{int(self.target[row])}: {float(self.confidence[row]):.2f}"
            figures.append(
                '<figure style="display:inline-block;margin:2px;text-align:center">'
                f'<img src="data:image/png;base64,{source}" alt="class {told}" '
                'style="width:72px;image-rendering:pixelated">'
                f'<figcaption style="font-size:11px">{told}</figcaption></figure>'
            )
        more = f"<p>and {len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return f"<p>{html.escape(repr(self))}</p><div>{''.join(figures)}</div>{more}"
