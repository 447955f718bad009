"""What schemathesis has to know to speak with Tautline: lines are sent as they are."""

import schemathesis

for kind in ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/csv"):
    schemathesis.serializer.alias(kind, "text/plain")
