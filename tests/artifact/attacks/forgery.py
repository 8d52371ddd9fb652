"""Forged files: changed by someone who knows the format and makes length, digest and checksums right again.

Written from docs/format.md, with no code of the package.
"""

import hashlib
import json

HUGE = 1 << 62
DELETE = object()
PREFIX = b'{"__metadata__":{"slimtable":"{\\"digest\\":\\"'


class Forgery:
    """A file taken apart; change its parts, then put it together with :meth:`bytes`.

    Attributes:
        manifest: the manifest without its digest.
        tensors: the header without its metadata.
        data: bytes of each array by name.
    """

    def __init__(self, original):
        length = int.from_bytes(original[:8], "little")
        self.tensors = json.loads(original[8 : 8 + length])
        self.manifest = json.loads(self.tensors.pop("__metadata__")["slimtable"])
        del self.manifest["digest"]
        self.data = {
            name: original[8 + length + tensor["data_offsets"][0] : 8 + length + tensor["data_offsets"][1]]
            for name, tensor in self.tensors.items()
        }

    def replace(self, name, data, dtype=None, shape=None):
        """Give an array other bytes, and other declarations where given, and all that follows from them."""
        self.data[name] = data
        self.manifest["arrays"].setdefault(name, {"dtype": "U8", "shape": [len(data)]})
        array = self.manifest["arrays"][name]
        array |= {"dtype": dtype or array["dtype"], "shape": array["shape"] if shape is None else shape}
        array["sha256"] = hashlib.sha256(data).hexdigest()
        position, tensors = 0, {}
        for key, value in self.data.items():
            declared = self.manifest["arrays"][key]
            offsets = [position, position + len(value)]
            tensors[key] = {"dtype": declared["dtype"], "shape": declared["shape"], "data_offsets": offsets}
            position += len(value)
        self.tensors = tensors

    def drop(self, name):
        """Remove an array and all that is said about it."""
        del self.manifest["arrays"][name]
        del self.data[name]
        other = next(iter(self.data))
        self.replace(other, self.data[other])

    def bytes(self):
        """The forged file."""
        text = json.dumps({"digest": "0" * 64, **self.manifest}, separators=(",", ":"))
        return self.sealed(json.dumps({"__metadata__": {"slimtable": text}, **self.tensors}, separators=(",", ":")))

    def sealed(self, header):
        """The forged file with this text as its header, digest made right."""
        header = header.encode("utf-8", "surrogatepass")
        head = len(header).to_bytes(8, "little") + header
        if head.startswith(PREFIX, 8):
            at = 8 + len(PREFIX)
            digest = hashlib.sha256(head[:at] + b"0" * 64 + head[at + 64 :]).hexdigest()
            head = head[:at] + digest.encode() + head[at + 64 :]
        return head + b"".join(self.data.values())

    def header(self):
        """The text of the header, as it would be sealed."""
        text = self.bytes()
        return text[8 : 8 + int.from_bytes(text[:8], "little")].decode()


def apply(forgery, where, value):
    """Set the field at ``where``, such as ``"manifest tables t layout"``, or remove it."""
    part, *keys, last = where.split()
    target = getattr(forgery, part)
    for key in keys:
        target = target[int(key) if isinstance(target, list) else key]
    last = int(last) if isinstance(target, list) else last
    if value is DELETE:
        del target[last]
    else:
        target[last] = value
