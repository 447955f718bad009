-- Answers to requests with an Idempotency-Key, kept for a day.

create table answers (
    id bigint generated always as identity primary key,
    -- The token that sent the key; 0 for the node's own admin token.
    owner bigint not null,
    -- SHA-256 of the key, and of method, path and body.
    key_digest bytea not null,
    request_digest bytea not null,
    -- Told apart from a later request that has taken the same place over.
    attempt bigint not null,
    at bigint not null,
    -- None while the request is being answered.
    answer_sealed bytea
);

create unique index answers_key on answers (owner, key_digest);
create index answers_at on answers (at);
