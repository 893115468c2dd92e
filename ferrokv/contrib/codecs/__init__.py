"""Values as bytes, for every adapter: serializers, compressors, and seals that keep a forged pickle from being loaded.

Needs none of the frameworks. `ValueCodec` puts them together; docs/format.md section 10 has the bytes.
"""

from .compressors import make_compressor
from .serializers import make_serializer
from .values import MISSING, ValueCodec

__all__ = ["MISSING", "ValueCodec", "make_compressor", "make_serializer"]
