"""Files that pretend to be models and want to run something, read too much, or fill the memory."""

import bz2
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as as_safetensors


class Payload:
    """What makes a file of whoever unpickles it."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


def head(text, after=b""):
    """A safetensors file with this head."""
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text)) + text + after


def zipped(members, kind=zipfile.ZIP_DEFLATED):
    to = io.BytesIO()
    with zipfile.ZipFile(to, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return to.getvalue()


def tarred(members):
    to = io.BytesIO()
    with tarfile.open(fileobj=to, mode="w:gz") as file:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            file.addfile(about, io.BytesIO(content))
    return to.getvalue()


def saved(value, **settings):
    to = io.BytesIO()
    torch.save(value, to, **settings)
    return to.getvalue()


def numpy_of(value, *, many=False):
    to = io.BytesIO()
    array = np.array([value], object)
    np.savez(to, count=array, **{"inputs-0": array}) if many else np.save(to, array, allow_pickle=True)
    return to.getvalue()


def field(number, content):
    """A field of a protocol buffer that holds bytes, as ONNX files do."""
    size, length = len(content), b""
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + length + content


def onnx_with_weights_at(place):
    """An ONNX network whose weights are said to lie in another file."""
    onnx = __import__("onnx")
    weight = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    weight.external_data.add(key="location", value=place)
    say = lambda name: onnx.helper.make_tensor_value_info(name, 1, [4])  # noqa: E731
    node = onnx.helper.make_node("Add", ["x", "w"], ["logits"])
    graph = onnx.helper.make_graph([node], "g", [say("x")], [say("logits")], [weight])
    return onnx.helper.make_model(graph).SerializeToString()


def onnx_of(kind, domain=""):
    """An ONNX network of one operation that nobody knows."""
    onnx = __import__("onnx")
    say = lambda name: onnx.helper.make_tensor_value_info(name, 1, [4])  # noqa: E731
    node = onnx.helper.make_node(kind, ["x"], ["logits"], domain=domain, command="touch mark")
    graph = onnx.helper.make_graph([node], "g", [say("x")], [say("logits")])
    opsets = [onnx.helper.make_opsetid("", 18)] + ([onnx.helper.make_opsetid(domain, 1)] if domain else [])
    return onnx.helper.make_model(graph, opset_imports=opsets).SerializeToString()


def pickles(mark):
    """Pickles of every protocol and in every wrapping that common tools load."""
    evil, one = Payload(mark), pickle.dumps(Payload(mark))
    found = {f"pickle {n}": pickle.dumps(evil, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)}
    state = {"model": {"w": torch.zeros(2)}, "more": evil}
    found |= {
        "torch zip": saved(state),
        "torch legacy": saved(state, _use_new_zipfile_serialization=False),
        "torch zip, in a zip": zipped({"best.safetensors": saved(state)}),
        "torch zip, in a zip in a zip": zipped({"a.zip": zipped({"b.safetensors": saved(state)})}),
        "torch legacy, gzip": gzip.compress(saved(state, _use_new_zipfile_serialization=False)),
        "pickle, gzip": gzip.compress(one),
        "pickle, bzip2": bz2.compress(one),
        "pickle, tar": tarred({"best.safetensors": one}),
        "pickle, zip": zipped({"data.pkl": one, "version": b"3"}),
        "numpy objects": numpy_of(evil),
        "numpy objects, npz": numpy_of(evil, many=True),
        "script archive": zipped({"m/data.pkl": one, "m/code/__torch__.py": b"open('mark', 'w')", "m/version": b"3"}),
        "keras": zipped({"config.json": b'{"class_name": "Lambda"}', "model.weights.h5": one}),
    }
    return found


def programs(mark):
    """What runs if somebody runs it."""
    python = f"open({str(mark)!r}, 'w')".encode()
    return {
        "python": python,
        "shell": f"#!/bin/sh\ntouch {mark}\n".encode(),
        "python in a zip": zipped({"__main__.py": python}),
        "yaml": f"!!python/object/apply:os.system ['touch {mark}']".encode(),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(200),
    }


def bombs():
    """What grows, climbs or goes in circles."""
    return {
        "zip of zeros": zipped({"best.safetensors": bytes(1 << 24)}),
        "gzip of zeros": gzip.compress(bytes(1 << 24)),
        "zip that climbs": zipped({"../../mark": b"here", "/tmp/mark": b"here"}),
        "zip of one name twice": zipped({"a": b"1"}) + zipped({"a": b"2"}),
        "xml that grows": b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa">'
        + b"".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 9}">'.encode() for n in range(9))
        + b"]><net>&j;</net>",
        "xml that reads": b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><net name="n" version="11">&f;</net>',
        "xml with weights elsewhere": b'<net name="n" version="11"><layers><layer id="0" name="w" type="Const">'
        b'<data element_type="f32" shape="4" offset="999999999" size="16"/></layer></layers><edges/></net>',
    }


def tree(text):
    """A safetensors file that says in the head what a checkpoint holds, of whose tensors there is one, w."""
    return as_safetensors({"w": torch.zeros(1)}, metadata={"medgrad": text})


def table(after=bytes(8), **changes):
    """A safetensors file with one tensor, of which something is said that is not so."""
    said = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes
    return head(json.dumps({"w": said}), after)


def learned(planes, weights='{"items": [["w", {"tensor": "w"}]]}'):
    """A checkpoint of a network."""
    return tree(f'{{"items": [["ema", {weights}], ["channels", {{"value": {planes}}}]]}}')


def heads(mark):
    """Safetensors with heads that lie."""
    evil = pickle.dumps(Payload(mark))
    two = {n: {"dtype": "F32", "shape": [1], "data_offsets": [at, at + 4]} for n, at in (("w", 0), ("v", 2))}
    return {
        "nothing": b"",
        "a head as long as all memory": struct.pack("<Q", 2**62) + b"{}",
        "a head longer than the file": struct.pack("<Q", 100) + b"{}",
        "a head that is no JSON": head("not json"),
        "a head that is a list": head("[1, 2]"),
        "a head as deep as a well": head("[" * 50_000),
        "a tensor of 2**60 numbers": table(dtype="F64", shape=[2**60], data_offsets=[0, 8]),
        "a tensor past the end": table(shape=[9], data_offsets=[0, 36]),
        "a tensor that ends before it begins": table(data_offsets=[4, 0]),
        "tensors over one another": head(json.dumps(two), bytes(6)),
        "a type that is none": table(dtype="PICKLE"),
        "a pickle for a tensor": table(evil, dtype="U8", shape=[len(evil)], data_offsets=[0, len(evil)]),
        "a pickle behind it": learned(1) + evil,
        "a tensor that is not there": tree('{"items": [["model", {"tensor": "gone"}]]}'),
        "a tree without an end": tree('{"list": ' * 3000),
        "a tree of something else": tree('{"items": [["model", 1]]}'),
        "a text for a network": tree('{"value": "os.system"}'),
        "a number for its weights": learned(1, '{"value": 5}'),
        "weights that are texts": learned(1, '{"items": [["a", {"value": "b"}]]}'),
        "channels without number": learned(1e18),
        "more channels than memory": learned(9_000_000_000),
    }


def networks(mark):
    """Networks for the engines of others that want more than to be run."""
    found = {
        "onnx of nothing": b"\x08\x08",
        "onnx cut short": onnx_of("Relu")[:-20],
        "onnx that calls itself long": field(7, b"\x0a" + b"\xff" * 9),
        "onnx of an unknown operation": onnx_of("RunCommand"),
        "onnx of a foreign domain": onnx_of("System", "evil.example"),
        "onnx with python in it": onnx_of("PyOp", "ai.onnx.contrib"),
    }
    for name, place in (("above", "../../../../etc/passwd"), ("at the root", "/etc/passwd"), ("nowhere", "gone.bin")):
        found[f"onnx with weights {name}"] = onnx_with_weights_at(place)
    return found


@cache
def every(mark):
    """All of them, by name."""
    return {**pickles(mark), **programs(mark), **bombs(), **heads(mark), **networks(mark)}


def about(network, files):
    """What an artefact says of itself that vouches for whatever lies in it."""
    return json.dumps(
        {
            "artefact": 2, "medgrad": "0", "target": "onnx", "precision": "float32", "network": network,
            "output": "dense", "answer": "label_map", "classes": 2,
            "task": {"kind": "segmentation", "dims": 2, "channels": [], "labels": ["a"]},
            "prepare": [], "patch": [10, 10], "overlap": 0.5, "tta_flips": [], "channels": 1, "files": files,
            "agreement": {}, "tolerance": 0.001,
        }
    )  # fmt: skip
