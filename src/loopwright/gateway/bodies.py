"""Documents of requests and answers, as JSON."""

from typing import Any

import msgspec

from loopwright.kernel.errors import InvalidInput

MOST_BODY_BYTES = 10 << 20
encoded = msgspec.json.Encoder().encode
"""Return a document as JSON; in the order of its fields, which costs less than sorting them."""


def decoded(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    """Return the document that a body holds.

    Raises:
        InvalidInput: It is no JSON, or not the one expected.
    """
    try:
        return decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InvalidInput(f"the body cannot be read: {error}", field="body") from None
    except RecursionError:
        raise InvalidInput("the body is nested too deeply", field="body") from None
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8", field="body") from None
