//! Advisory locks: what sessions of one database agree upon. A session's locks end with it, however that ends, so a lock that is free
//! tells that its holder is gone. Each is a class and a number; the classes are ours alone.

/// One change of workspaces and apps at a time, in all nodes.
pub(super) const BEGIN_ALONE: &str = "begin; select pg_advisory_xact_lock(1413567491, 0)";

/// One maker of partitions at a time.
pub(super) const BEGIN_PARTITIONS: &str = "begin; select pg_advisory_xact_lock(1413567492, 0)";

/// One at a time that takes old days away; true when it is ours.
pub(super) const TRY_RETENTION: &str = "select pg_try_advisory_lock(1413567493, 0)";

/// While this transaction lasts no old day goes: something of it is about to be owed. To come first, before anything of the days is read.
pub(super) const KEEP_DAYS: &str = "select pg_advisory_xact_lock_shared(1413567493, 1)";

/// Until they are let go of nobody makes something of the days owed that was not.
pub(super) const HOLD_DAYS: &str = "select pg_advisory_lock(1413567493, 1)";

/// See [`HOLD_DAYS`].
pub(super) const LET_DAYS_GO: &str = "select pg_advisory_unlock(1413567493, 1)";

/// A free number of 0 to 1023 for this writer: ours as long as the session lives. Searched from the writer's id on, so that a node
/// that has lost its session for a moment finds its own still free.
pub(super) const TAKE_ANY_NUMBER: &str = "select n from (select (($1::bigint + k) % 1024)::int as n from generate_series(0, 1023) as k) as all_of_them \
     where pg_try_advisory_lock(1413567490, n) limit 1";

/// This number again; true when it is ours.
pub(super) const TAKE_NUMBER: &str = "select pg_try_advisory_lock(1413567490, $1)";

/// The life of this writer; true when it is ours.
pub(super) const TAKE_WRITER: &str = "select pg_try_advisory_lock(1413567489, $1)";

/// The lives of these writers, of each that is free: it cannot come back while they are ours.
pub(super) const TAKE_THESE: &str =
    "select id from unnest($1::int[]) as dead (id) where pg_try_advisory_lock(1413567489, id)";

/// Those again.
pub(super) const LET_THESE_GO: &str =
    "select pg_advisory_unlock(1413567489, id) from unnest($1::int[]) as dead (id)";

/// A writer like this one, and its life; true when it is ours.
pub(super) const BEGIN_ANEW: &str = "with made as (insert into writers (node, started_at, settled_to) \
     select node, started_at, settled_to from writers where id = $1 returning id) \
     select id, pg_try_advisory_lock(1413567489, id) from made";

/// Nobody answers for this writer any more.
pub(super) const LET_WRITER_GO: &str = "select pg_advisory_unlock(1413567489, $1)";

/// All that this session holds.
pub(super) const LET_ALL_GO: &str = "select pg_advisory_unlock_all()";

/// Writers that did not end, and whose life is free: they died. It is ours from now on.
pub(super) const TAKE_THE_DEAD: &str = "with not_ended as materialized (select id from writers where ended_at is null) \
     select id from not_ended where pg_try_advisory_lock(1413567489, id)";

/// Who holds the life of a writer that did not end, other than this session, and what that session has last begun. It is idle where it
/// waits for its client: a client that was killed leaves its session at work, until that is done and it finds nobody.
pub(super) const WHO_LIVES: &str = "select w.id, l.pid, coalesce(a.state = 'idle', true), \
     coalesce(a.query_start, now())::text from writers w \
     join pg_locks l on l.locktype = 'advisory' and l.classid = 1413567489 and l.objid::bigint = w.id and l.granted \
     and l.database = (select oid from pg_database where datname = current_database()) \
     left join pg_stat_activity a on a.pid = l.pid \
     where w.ended_at is null and l.pid <> pg_backend_pid() order by w.id";

/// Writers that did not end and whose life nobody holds: dead, and nobody answers for them.
pub(super) const WHO_IS_DEAD: &str = "select w.id from writers w where w.ended_at is null and not exists (select 1 from pg_locks l \
     where l.locktype = 'advisory' and l.classid = 1413567489 and l.objid::bigint = w.id and l.granted \
     and l.database = (select oid from pg_database where datname = current_database())) order by w.id";

/// This session: its process and when it began.
pub(super) const WHO_AM_I: &str =
    "select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()";

/// Ends an earlier session of ours that the server has not yet found dead.
pub(super) const END_SESSION: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid = $1 and backend_start::text = $2";

/// Is posting notices this session's? It is taken where it is free, once: a lock that is taken again has to be let go of as often.
pub(super) const HOLD_POSTING: &str = "select case when exists (select 1 from pg_locks l where l.locktype = 'advisory' \
     and l.classid = 1413567494 and l.objid = 0 and l.granted and l.pid = pg_backend_pid() \
     and l.database = (select oid from pg_database where datname = current_database())) \
     then true else pg_try_advisory_lock(1413567494, 0) end";

/// This node's writer (`$1`) is the heir of those that live no more: of these (`$2`), and of those that ended in order and have no heir, or
/// one of these or one that has ended itself; where it is null, of all. Not where another living one is already.
pub(super) const INHERIT: &str = "update writers set heir = $1 where id <> $1 and heir is distinct from $1 \
     and ($2::int[] is null or id = any($2) or (ended_at is not null and (heir is null or heir = any($2) \
     or exists (select 1 from writers h where h.id = writers.heir and h.ended_at is not null)))) \
     and not exists (select 1 from pg_locks l where l.locktype = 'advisory' and l.classid = 1413567489 and l.granted \
     and l.pid <> pg_backend_pid() and l.objid::bigint in (writers.id, coalesce(writers.heir, writers.id)) \
     and l.database = (select oid from pg_database where datname = current_database()))";

/// Sessions by which writers live.
pub(super) const COUNT_WRITERS: &str = "select count(distinct pid) from pg_locks where locktype = 'advisory' and classid = 1413567489 \
     and granted and database = (select oid from pg_database where datname = current_database())";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_things_that_are_agreed_upon_share_a_lock() {
        let class = |sql: &str| {
            sql.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 10).unwrap().to_owned()
        };
        let mut classes: Vec<_> =
            [BEGIN_ALONE, BEGIN_PARTITIONS, TRY_RETENTION, TAKE_NUMBER, TAKE_WRITER, HOLD_POSTING]
                .map(class)
                .into();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), 6);
    }
}
