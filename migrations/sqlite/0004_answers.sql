-- Answers to requests with an Idempotency-Key, kept for a day.

create table answers (
    id integer primary key autoincrement,
    -- The token that sent the key; 0 for the node's own admin token.
    owner integer not null,
    -- SHA-256 of the key, and of method, path and body.
    key_digest blob not null,
    request_digest blob not null,
    -- Told apart from a later request that has taken the same place over.
    attempt integer not null,
    at integer not null,
    -- None while the request is being answered.
    answer_sealed blob
) strict;

create unique index answers_key on answers (owner, key_digest);
create index answers_at on answers (at);
