-- What handlers owe: deliveries that are not done and do not wait in memory alone. Below a writer's settled_to every event is done, or has
-- a row here for each handler that is not done with it.
create table handlers (
    id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    -- Since when nothing is given to it.
    paused_at bigint,
    created_at bigint not null
);

create table deliveries (
    seq bigint not null,
    handler_id bigint not null,
    -- The first is 1; each replay makes the next.
    run bigint not null,
    -- Whose event it is; nobody's has the workspace 0.
    writer bigint not null,
    app_id bigint not null,
    workspace_id bigint not null,
    -- waiting, retrying, done, dead, expired or cancelled.
    status text not null,
    attempts bigint not null,
    -- A retrying one is due then.
    next_at bigint not null,
    -- What comes in order shares it; none where the handler wants no order.
    order_key bigint,
    -- Until then those of the same key wait for it.
    hold_until bigint,
    last_error text,
    created_at bigint not null,
    updated_at bigint not null,
    primary key (seq, handler_id, run)
);

-- With the key, by which what is held is passed over without a look at its row.
create index deliveries_waiting on deliveries (handler_id, app_id, workspace_id, seq, order_key) where status = 'waiting';
create index deliveries_due on deliveries (handler_id, next_at) where status = 'retrying';
create index deliveries_holding on deliveries (seq) where status = 'retrying' and hold_until is not null;
create index deliveries_dead on deliveries (seq) where status in ('dead', 'expired');

-- Who sees to what it owed, once it lives no more.
alter table writers add column heir int;
