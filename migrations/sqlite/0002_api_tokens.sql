-- Tokens of the admin API, and what finds the workspaces that bear a label.

create table api_tokens (
    id integer primary key autoincrement,
    name text not null,
    -- SHA-256 of the text, which is kept nowhere.
    digest blob not null,
    hint text not null,
    role text not null,
    scope_key text,
    scope_value text,
    created_by text not null,
    created_at integer not null,
    expires_at integer,
    -- At most once a minute.
    used_at integer,
    revoked_at integer
) strict;

create unique index api_tokens_digest on api_tokens (digest);
create unique index api_tokens_name on api_tokens (name) where revoked_at is null;

create index workspace_labels_value on workspace_labels (key, value, workspace_id);
