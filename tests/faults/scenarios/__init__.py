"""The catalogue. A scenario is a function of a Round, its first line of documentation says what it does to the gateway."""

from dataclasses import dataclass
from typing import Callable

ALL = {}


@dataclass
class Scenario:
    """A name, what it does in one line, the function, and how many rounds of it continuous integration wants."""

    name: str
    about: str
    act: Callable
    ci: int


def scenario(ci=1):
    """Registers a function under its name with dashes."""
    def register(act):
        name = act.__name__.replace("_", "-")
        ALL[name] = Scenario(name, act.__doc__.strip().split("\n")[0], act, ci)
        return act
    return register


from scenarios import process, disk, limits, kafka, network, clients, operations  # noqa: E402  the registry has to be there first
