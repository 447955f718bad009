-- What handlers owe: deliveries that are not done and do not wait in memory alone. Below a writer's settled_to every event is done, or has
-- a row here for each handler that is not done with it.
create table handlers (
    id integer primary key autoincrement,
    name text not null unique,
    -- Since when nothing is given to it.
    paused_at integer,
    created_at integer not null
) strict;

create table deliveries (
    seq integer not null,
    handler_id integer not null,
    -- The first is 1; each replay makes the next.
    run integer not null,
    -- Whose event it is; nobody's has the workspace 0.
    writer integer not null,
    app_id integer not null,
    workspace_id integer not null,
    -- waiting, retrying, done, dead, expired or cancelled.
    status text not null,
    attempts integer not null,
    -- A retrying one is due then.
    next_at integer not null,
    -- What comes in order shares it; none where the handler wants no order.
    order_key integer,
    -- Until then those of the same key wait for it.
    hold_until integer,
    last_error text,
    created_at integer not null,
    updated_at integer not null,
    primary key (seq, handler_id, run)
) strict, without rowid;

-- With the key, by which what is held is passed over without a look at its row.
create index deliveries_waiting on deliveries (handler_id, app_id, workspace_id, seq, order_key) where status = 'waiting';
create index deliveries_due on deliveries (handler_id, next_at) where status = 'retrying';
create index deliveries_holding on deliveries (seq) where status = 'retrying' and hold_until is not null;
create index deliveries_dead on deliveries (seq) where status in ('dead', 'expired');

-- Who sees to what it owed, once it lives no more.
alter table writers add column heir integer;
