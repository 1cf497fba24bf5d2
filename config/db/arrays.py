"""How a numpy array travels to Postgres: as one binary array parameter, masked elements as NULL."""

import struct
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import pq
from psycopg.abc import DumperKey, PyFormat
from psycopg.adapt import Dumper

# numpy type -> its form on the wire, oid of an element, oid of the array
WIRE: dict[type[np.generic], tuple[str, int, int]] = {
    np.float64: (">f8", 701, 1022),
    np.int64: (">i8", 20, 1016),
    np.int32: (">i4", 23, 1007),
    np.int16: (">i2", 21, 1005),
    np.datetime64: (">i8", 1184, 1185),
}
# Dimensions, whether there is a NULL, type, length, lower bound; a NULL is a length of -1.
HEADER, NULL = struct.Struct(">5i"), b"\xff\xff\xff\xff"
POSTGRES_EPOCH = np.datetime64("2000-01-01", "us")


class ArrayDumper(Dumper):
    """One-dimensional arrays of the types in WIRE. Masked elements and NaT are NULL; NaN stays NaN."""

    format = pq.Format.BINARY
    wire = ""
    element_oid = 0

    def get_key(self, obj: NDArray[Any], format: PyFormat) -> DumperKey:  # noqa: A002  # psycopg's name
        return (self.cls, obj.dtype.type)

    def upgrade(self, obj: NDArray[Any], format: PyFormat) -> "ArrayDumper":  # noqa: A002  # psycopg's name
        if obj.dtype.type not in WIRE or obj.ndim != 1:
            raise TypeError(f"no binary form for an array of {obj.dtype} in {obj.ndim} dimensions")
        dumper = type(self)(self.cls)
        dumper.wire, dumper.element_oid, dumper.oid = WIRE[obj.dtype.type]
        return dumper

    def dump(self, obj: NDArray[Any]) -> bytes | bytearray:
        values, missing = np.ma.getdata(obj), np.ma.getmask(obj)
        if values.dtype.kind == "M":
            missing = missing | np.isnat(values)
            values = (values.astype("datetime64[us]") - POSTGRES_EPOCH).astype(np.int64)
        has_null = missing is not np.ma.nomask and bool(missing.any())
        if has_null and missing.all():
            return HEADER.pack(1, True, self.element_oid, len(values), 1) + NULL * len(values)
        form = np.dtype([("length", ">i4"), ("value", self.wire)])
        written = bytearray(HEADER.size + form.itemsize * len(values))
        HEADER.pack_into(written, 0, 1, has_null, self.element_oid, len(values), 1)
        elements = np.frombuffer(written, form, offset=HEADER.size)
        elements["length"], elements["value"] = form.itemsize - len(NULL), values
        return written[: HEADER.size] + _leave_out(elements, missing) if has_null else written


def _leave_out(elements: NDArray[Any], missing: Any) -> bytes:
    """The elements with the missing ones as NULL, which has no value behind it."""
    size = elements.dtype.itemsize
    elements["length"][missing] = -1
    kept = np.ones((len(elements), size), dtype=np.bool_)
    kept[missing, len(NULL) :] = False
    return elements.view(np.uint8).reshape(kept.shape)[kept].tobytes()


def open_array_cursor(raw: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    """A cursor beside Django's: it binds on the server, so arrays go as binary and each statement is planned once."""
    raw.prepare_threshold = 0
    cursor = psycopg.Cursor(raw)
    cursor.adapters.register_dumper(np.ndarray, ArrayDumper)
    return cursor
