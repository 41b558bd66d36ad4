"""What a user expects of the classes of a map, before a sample of it is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from comix_cli.errors import UsageError
from comix_cli.tools.class_names import lookup
from comix_cli.tools.inputs import listed

# Between what maps of many classes and what maps of few reach.
DEFAULT = 0.8


@dataclass(frozen=True)
class ExpectedAccuracy:
    """Expected user's accuracies, within (0, 1).

    Attributes:
        default: Of all classes that are not named.
        by_class: Of some classes, by name or code.
    """

    default: float = DEFAULT
    by_class: Mapping[str, float] = field(default_factory=dict)

    def check(self, names: Mapping[int, str], path: str) -> None:
        """Refuse names that the map does not have; codes may turn up that it does not name.

        Raises:
            UsageError: There is no such class.
        """
        for key in self.by_class:
            if not key.strip().isdecimal():
                _code(key, names, path)

    def resolved(self, names: Mapping[int, str], path: str) -> dict[int, float]:
        """The expected accuracy of every class.

        Args:
            names: All classes, code to name.
            path: The map, for messages.

        Raises:
            UsageError: A class is none of the map's, or is named twice.
        """
        found: dict[int, float] = {}
        for key, accuracy in self.by_class.items():
            code = _code(key, names, path)
            if code in found:
                raise UsageError(f"--expected-ua {key}=...: the class is named twice")
            found[code] = accuracy
        return {code: found.get(code, self.default) for code in names}


def parse_expected(texts: Sequence[str]) -> ExpectedAccuracy:
    """Read `0.8`, `roof=0.9` or `3=0.9`; a name may hold equals signs.

    Raises:
        UsageError: Not a number between 0 and 1, or one thing is said twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        key, _, number = text.rpartition("=")
        if key in found:
            raise UsageError(f"--expected-ua {text}: this is said twice")
        found[key] = _accuracy(number, text)
    default = found.pop("", DEFAULT)
    return ExpectedAccuracy(default, found)


def _accuracy(number: str, text: str) -> float:
    try:
        accuracy = float(number)
    except ValueError:
        accuracy = float("nan")
    if not 0 < accuracy < 1:
        raise UsageError(
            f"--expected-ua {text}: an expected accuracy lies between 0 and 1, both excluded",
            remedy="give a share such as 0.8, or roof=0.9 for one class",
        )
    return accuracy


def _code(key: str, names: Mapping[int, str], path: str) -> int:
    known = {str(code): code for code in names} | {name: code for code, name in names.items()}
    code = lookup(key, known)
    if code is None:
        raise UsageError(
            f"--expected-ua {key}=...: {path} has no class '{key}'",
            remedy=f"its classes are {listed(list(names.values()))}" if names else "give codes",
        )
    return code
