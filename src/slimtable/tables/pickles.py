"""Reading pickles without running them.

A pickle is a program: it may call any function of any module. This reader of its opcodes calls nothing and imports
nothing. Every class or function that a pickle names is a :class:`Name`, and what it would create is a
:class:`Placeholder` that only remembers what it was given. What remains is data, and placeholders, among which the
readers of :mod:`slimtable.tables` recognise arrays and tensors by name. Work and memory are bounded by the size of the
pickle: sizes are checked before they are used, and keys of dictionaries are plain values.

The opcodes are those of https://docs.python.org/3/library/pickletools.html, protocols 0 to 5.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.tables.base import TableError

_NEWEST = 5  # protocol
_KEYS = (str, int, float, bytes, type(None))
_NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
_DICTS = {"collections.OrderedDict", "collections.defaultdict"}
_DIGITS = 4000  # of a whole number written as text
_OPCODES = 50_000_000  # each may take up to a hundred bytes; millions of words take four each


class _Stop(Exception):  # noqa: N818
    """The end of a pickle; ``args[0]`` is its value."""


@dataclass(frozen=True)
class Name:
    """The name of a class or function, such as ``torch._utils._rebuild_tensor_v2``."""

    path: str


@dataclass(eq=False, slots=True)
class Placeholder:
    """An object that a pickle asks for and does not get.

    Attributes:
        path: name of the class or function that would create it; "" if that is itself not known.
        args: arguments of the call.
        state: what the object would then be set to.
        items: entries that it would be filled with, if it is like a dictionary; else None.
    """

    path: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] | None = None


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object that lies outside of the pickle, such as the storage of a tensor."""

    key: Any


class _Machine:
    """Walks over the opcodes of a pickle."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, size = self.data, len(self.data)
        try:
            for _ in range(_OPCODES):
                if self.place >= size:
                    raise ValueError("it is cut off")
                code = data[self.place]
                self.place += 1
                step = _STEPS.get(code)
                if step is None:
                    raise ValueError(f"byte {self.place - 1} is no opcode that tables need")
                step(self)
        except _Stop as stop:
            return stop.args[0]
        raise ValueError(f"it has more than {_OPCODES:,} opcodes")

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > len(self.data) - self.place:
            raise ValueError("it is cut off")
        self.place += size
        return self.data[self.place - size : self.place]

    def whole(self, size: int) -> int:
        """A whole number of some bytes."""
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        """A text up to the end of the line."""
        end = self.data.find(b"\n", self.place)
        if end < 0:
            raise ValueError("it is cut off")
        text = self.data[self.place : end].decode("latin1")
        self.place = end + 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or (self.marks and len(self.stack) <= self.marks[-1]):
            raise ValueError("it takes what is not there")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        """Everything above the last mark."""
        if not self.marks:
            raise ValueError("it takes what is not there")
        mark = self.marks.pop()
        taken = self.stack[mark:]
        del self.stack[mark:]
        return taken

    def top(self) -> Any:
        if not self.stack:
            raise ValueError("it takes what is not there")
        return self.stack[-1]


def _literal(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


def _new(make: Callable[[], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(make())


def _number(size: int, signed: bool = False) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(int.from_bytes(machine.take(size), "little", signed=signed))


def _counted(size: int, decode: Callable[[bytes], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(decode(machine.take(machine.whole(size))))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _digits(machine: _Machine) -> None:
    text = machine.line().removesuffix("L")
    if text in ("00", "01"):
        machine.push(text == "01")
    elif len(text) > _DIGITS:
        raise ValueError("a number is too long")
    else:
        machine.push(int(text))


def _tuple(size: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine.push(tuple([machine.pop() for _ in range(size)][::-1]))

    return step


def _since(make: Callable[[list[Any]], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(make(machine.since_mark()))


def _fill(target: Any, keys_and_values: list[Any]) -> dict[Any, Any]:
    """Puts keys and values in turn into a dictionary, or into the items of a placeholder."""
    if isinstance(target, Placeholder):
        target.items = target.items or {}
    place = target.items if isinstance(target, Placeholder) else target
    if not isinstance(place, dict) or len(keys_and_values) % 2:
        raise ValueError("it fills what is no dictionary")
    for key, value in zip(keys_and_values[::2], keys_and_values[1::2], strict=True):
        if isinstance(key, _KEYS) or (isinstance(key, tuple) and all(isinstance(each, _KEYS) for each in key)):
            place[key] = value  # other keys would need code of their own to be compared
    return place


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        target += values
    elif not isinstance(target, Placeholder):
        raise ValueError("it appends to what is no list")


def _call(function: Any, args: Any) -> Any:
    path = function.path if isinstance(function, (Name, Placeholder)) else ""
    if path in _DICTS:
        return {}
    return Placeholder(path, args if isinstance(args, tuple) else ())


def _reduce(machine: _Machine) -> None:
    args, function = machine.pop(), machine.pop()
    machine.push(_call(function, args))


def _new_with_options(machine: _Machine) -> None:
    machine.pop()
    _reduce(machine)


def _build(machine: _Machine) -> None:
    state, target = machine.pop(), machine.top()
    if isinstance(target, Placeholder):
        target.state = state


def _object(machine: _Machine) -> None:
    taken = machine.since_mark()
    machine.push(_call(taken[0] if taken else None, tuple(taken[1:])))


def _instance(machine: _Machine) -> None:
    name = Name(f"{machine.line()}.{machine.line()}")
    machine.push(_call(name, tuple(machine.since_mark())))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise ValueError("a name is no text")
    machine.push(Name(f"{module}.{name}"))


def _get(machine: _Machine, index: int) -> None:
    if index not in machine.memo:
        raise ValueError("it refers to what is not there")
    machine.push(machine.memo[index])


def _put(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.top()


def _protocol(machine: _Machine) -> None:
    if machine.whole(1) > _NEWEST:
        raise ValueError("it is of a newer protocol")


def _stop(machine: _Machine) -> None:
    raise _Stop(machine.pop())


def _drop(machine: _Machine) -> None:
    if machine.marks and len(machine.stack) == machine.marks[-1]:
        machine.marks.pop()
    else:
        machine.pop()


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): step
    for code, step in {
        # numbers and texts
        "I": _digits,
        "L": _digits,
        "J": _number(4, signed=True),
        "K": _number(1),
        "M": _number(2),
        "\x8a": _counted(1, _signed),
        "\x8b": _counted(4, _signed),
        "F": lambda machine: machine.push(float(machine.line())),
        "G": lambda machine: machine.push(struct.unpack(">d", machine.take(8))[0]),
        "N": _literal(None),
        "\x88": _literal(True),
        "\x89": _literal(False),
        "V": lambda machine: machine.push(machine.line().encode("latin1").decode("raw-unicode-escape")),
        "T": _counted(4, lambda data: data.decode("latin1")),
        "U": _counted(1, lambda data: data.decode("latin1")),
        "X": _counted(4, _text),
        "\x8c": _counted(1, _text),
        "\x8d": _counted(8, _text),
        "B": _counted(4, bytes),
        "C": _counted(1, bytes),
        "\x8e": _counted(8, bytes),
        "\x96": _counted(8, bytes),
        # collections
        "]": _new(list),
        "}": _new(dict),
        "\x8f": _new(list),  # a set: its elements are not compared
        ")": _literal(()),
        "(": lambda machine: machine.marks.append(len(machine.stack)),
        "t": _since(tuple),
        "l": _since(list),
        "\x91": _since(list),
        "d": _since(lambda taken: _fill({}, taken)),
        "\x85": _tuple(1),
        "\x86": _tuple(2),
        "\x87": _tuple(3),
        "a": lambda machine: _append(machine, [machine.pop()]),
        "e": lambda machine: _append(machine, machine.since_mark()),
        "\x90": lambda machine: _append(machine, machine.since_mark()),
        "s": lambda machine: _fill_top(machine, [machine.pop(), machine.pop()][::-1]),
        "u": lambda machine: _fill_top(machine, machine.since_mark()),
        # the stack and the memo
        "0": _drop,
        "1": lambda machine: machine.since_mark(),
        "2": lambda machine: machine.push(machine.top()),
        "g": lambda machine: _get(machine, int(machine.line()[:20])),
        "h": lambda machine: _get(machine, machine.whole(1)),
        "j": lambda machine: _get(machine, machine.whole(4)),
        "p": lambda machine: _put(machine, int(machine.line()[:20])),
        "q": lambda machine: _put(machine, machine.whole(1)),
        "r": lambda machine: _put(machine, machine.whole(4)),
        "\x94": lambda machine: _put(machine, len(machine.memo)),
        # objects
        "c": lambda machine: machine.push(Name(f"{machine.line()}.{machine.line()}")),
        "\x93": _stack_global,
        "i": _instance,
        "o": _object,
        "R": _reduce,
        "\x81": _reduce,
        "\x92": _new_with_options,
        "b": _build,
        "P": lambda machine: machine.push(Persistent(machine.line())),
        "Q": lambda machine: machine.push(Persistent(machine.pop())),
        # the frame
        "\x80": _protocol,
        "\x95": lambda machine: machine.take(8),
        ".": _stop,
    }.items()
}


def _fill_top(machine: _Machine, keys_and_values: list[Any]) -> None:
    _fill(machine.top(), keys_and_values)


def read_pickle(data: bytes, what: str) -> Any:
    """The data of a pickle, with placeholders for all objects; nothing of it is run.

    Args:
        data: the pickle.
        what: where it is from, for messages.

    Raises:
        TableError: it is damaged, or needs more than data.
    """
    try:
        return _Machine(data).run()
    except (ValueError, struct.error, OverflowError) as error:
        raise TableError(f"{what} is not a readable pickle: {str(error)[:120]}.") from error


def is_pickle(start: bytes) -> bool:
    """True if a file that starts with these bytes is a pickle of protocol 2 or newer."""
    return len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= _NEWEST


def array_of(value: Any) -> np.ndarray | None:
    """The array of numbers that a placeholder stands for; None if it stands for something else.

    Raises:
        TableError: the array contradicts itself.
    """
    if not isinstance(value, Placeholder):
        return None
    module, _, name = value.path.rpartition(".")
    order: Any = "C"
    if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        if not (isinstance(value.state, tuple) and len(value.state) == 5):
            return None
        _, shape, kind, fortran, data = value.state
        order = "F" if fortran is True else "C"
    elif name == "_frombuffer" and module in ("numpy.core.numeric", "numpy._core.numeric") and len(value.args) == 4:
        data, kind, shape, order = value.args
    else:
        return None
    dtype, raw = _dtype_of(kind), _bytes_of(data)
    if dtype is None or raw is None:
        return None
    is_shape = isinstance(shape, tuple) and all(type(each) is int and each >= 0 for each in shape)
    if not is_shape or len(raw) != dtype.itemsize * math.prod(shape) or len(shape) > 32:
        raise TableError(f"an array says shape {str(shape)[:60]}, which its {len(raw):,} bytes do not hold")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _dtype_of(value: Any) -> np.dtype | None:
    """A type of numbers; None for all others."""
    if not isinstance(value, Placeholder) or value.path != "numpy.dtype" or not value.args:
        return None
    code = value.args[0]
    if not isinstance(code, str) or code not in _NUMBERS:
        return None
    big = isinstance(value.state, tuple) and len(value.state) > 1 and value.state[1] == ">"
    return np.dtype(code).newbyteorder(">" if big else "<")


def _bytes_of(value: Any) -> bytes | None:
    """Bytes, also as protocols 0 to 2 write them: a text in Latin-1."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Placeholder) and value.path == "_codecs.encode" and len(value.args) == 2:
        text, encoding = value.args
        if isinstance(text, str) and encoding == "latin1":
            try:
                return text.encode("latin1")
            except UnicodeEncodeError:
                return None
    return None


def entries(value: Any, depth: int = 4) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The entries of nested dictionaries by path, each dictionary once, outer ones first."""
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    for path, each in waiting:
        if isinstance(each, dict) and len(path) < depth and id(each) not in seen:
            seen.add(id(each))
            waiting += [((*path, str(key)), item) for key, item in each.items()]
        elif path:
            yield path, each
