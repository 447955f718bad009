-- What was changed, by whom, and why. Rows are added, and the oldest go.

create table audit (
    id integer primary key autoincrement,
    at integer not null,
    actor text not null,
    role text not null,
    token_id integer,
    action text not null,
    workspace text,
    target text,
    -- JSON: each changed field with what it was and what it is. No secrets: of tokens their last four characters.
    changes text not null,
    reason text,
    request_id text,
    address text
) strict;

create index audit_workspace on audit (workspace, id);
