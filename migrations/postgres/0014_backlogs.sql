-- With the writer: a backlog of one node is not in the way of who looks for another's.
drop index deliveries_waiting;
create index deliveries_waiting on deliveries (handler_id, app_id, workspace_id, writer, seq, order_key) where status = 'waiting';
drop index deliveries_due;
create index deliveries_due on deliveries (handler_id, writer, next_at, seq) where status = 'retrying';
drop index deliveries_holding;
create index deliveries_holding on deliveries (writer, hold_until) where status = 'retrying' and hold_until is not null;
-- By handler, for the oldest that each owes.
drop index deliveries_retrying;
create index deliveries_retrying on deliveries (handler_id, workspace_id, seq) where status = 'retrying';
-- With the whole key: they are counted without a look at their rows.
drop index deliveries_dead;
create index deliveries_dead on deliveries (seq, handler_id, run) where status in ('dead', 'expired');
