-- What was changed, by whom, and why. Rows are added, and the oldest go.

create table audit (
    id bigint generated always as identity primary key,
    at bigint not null,
    actor text not null,
    role text not null,
    token_id bigint,
    action text not null,
    workspace text collate "C",
    target text,
    -- JSON: each changed field with what it was and what it is. No secrets: of tokens their last four characters.
    changes text not null,
    reason text,
    request_id text,
    address text
);

create index audit_workspace on audit (workspace, id);
