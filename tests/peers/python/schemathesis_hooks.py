"""What schemathesis has to know to speak with Tautline: lines are sent as they are, a key for one request is not used for another, and
nobody's webhook is posted to."""

import itertools

import schemathesis

for kind in ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/csv"):
    schemathesis.serializer.alias(kind, "text/plain")


USES = itertools.count()


@schemathesis.hook
def map_headers(context, headers):
    """A kept answer tells of what may be gone by now, or belongs to another request."""
    key = (headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and key.strip() and key.isascii() and key.isprintable() and len(key) < 240:
        headers["Idempotency-Key"] = f"{key}-{next(USES)}"
    return headers


@schemathesis.hook
def map_body(context, body):
    """A webhook's address is made up, and might be somebody's: its host becomes one that no name server knows."""
    if isinstance(body, dict) and isinstance(url := body.get("url"), str) and url.startswith(("http://", "https://")):
        scheme, rest = url.split("://", 1)
        body["url"] = f"{scheme}://webhooks.invalid/{rest.partition('/')[2]}"
    return body
