-- By handler, for the oldest that each owes.
drop index deliveries_retrying;
create index deliveries_retrying on deliveries (handler_id, workspace_id, seq) where status = 'retrying';
