"""The C header, the Rust declarations and the NumPy layouts say the same."""

import re
from pathlib import Path

from flowtape import _kernel
from flowtape.stream import records

ROOT = Path(__file__).parents[2]
HEADERS = sorted((ROOT / "kernel/include").glob("flow_*.h"))
HEADER = "".join(path.read_text() for path in HEADERS)
SYS = "".join(path.read_text() for path in sorted((ROOT / "crates/flowtape-sys/src").glob("*.rs")))

RUST_TYPES = {
    "int8_t": "i8",
    "uint8_t": "u8",
    "int32_t": "i32",
    "uint32_t": "u32",
    "int64_t": "i64",
    "uint64_t": "u64",
    "size_t": "usize",
}


def rust_type(kind: str) -> str:
    """The Rust name of a C type as it stands in a declaration."""
    constant, name, star = re.fullmatch(r"(const )?(\w+)( \*)?", kind.strip()).groups()  # type: ignore[union-attr]
    rust = RUST_TYPES.get(name) or "".join(part.capitalize() for part in name.split("_"))
    if not star:
        return rust
    return f"*const {rust}" if constant else f"*mut {rust}"


Fields = list[tuple[str, str]]


def c_structs() -> dict[str, Fields]:
    text = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    found: dict[str, Fields] = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \w+;", text, re.DOTALL):
        fields: Fields = []
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            kind, names = re.fullmatch(r"((?:const )?\w+ \*?)(.*)", declaration).groups()  # type: ignore[union-attr]
            for one in names.split(","):
                field, size = re.fullmatch(r"\s*\*?(\w+)(?:\[(\w+)\])?", one).groups()  # type: ignore[union-attr]
                rust = rust_type(kind)
                fields.append((field, f"[{rust}; {size}]" if size else rust))
        found[name] = fields
    return found


def rust_structs() -> dict[str, Fields]:
    found: dict[str, Fields] = {}
    for name, body in re.findall(r"pub struct (\w+) \{(.*?)\}", SYS, re.DOTALL):
        found[name] = [(f, t) for f, t in re.findall(r"pub (\w+): (.+),\n", body)]
    return found


def test_structs_have_the_same_fields_in_the_same_order() -> None:
    rust = rust_structs()
    structs = c_structs()
    assert len(structs) > 30
    for name, fields in structs.items():
        rust_name = "".join(part.capitalize() for part in name.split("_"))
        assert rust[rust_name] == fields, name


def test_numpy_layouts_have_the_fields_of_the_header() -> None:
    structs = c_structs()
    for name in _kernel.record_layouts():
        dtype = getattr(records, name)
        assert list(dtype.names) == [field for field, _ in structs[f"flow_{name.lower()}"]], name


def test_functions_have_the_same_number_of_parameters() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    declared = {
        name: 0 if parameters == "void" else parameters.count(",") + 1
        for name, parameters in re.findall(r"(flow_\w+)\(([^)]*)\);", text)
    }
    bound = {
        name: len(re.findall(r"\w+:", parameters))
        for name, parameters in re.findall(r"pub fn (flow_\w+)\(([^)]*)\)", SYS)
    }
    assert declared == bound
    assert len(declared) > 20


def test_statuses_and_versions_agree() -> None:
    listed = re.findall(r"ITEM\((\w+), \"", HEADER)
    assert listed == _kernel.STATUS_NAMES
    assert f"FLOW_ABI_VERSION {_kernel.ABI_VERSION}u" in HEADER
    assert f"FLOW_SEMANTICS_VERSION {_kernel.SEMANTICS_VERSION}u" in HEADER
