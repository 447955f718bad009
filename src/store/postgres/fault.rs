//! Postgres' errors, in the store's words. The codes are those of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
//! Its messages name tables and columns; values stand in the details, which are left out.

use std::io;

use sqlx::postgres::PgDatabaseError;

use crate::store::StoreError;
use crate::store::fault::Fault;

/// What happened to which database, and what to do.
pub(super) fn tell(fault: Fault, database: &str) -> StoreError {
    let error = match fault {
        Fault::Told(error) => return error,
        Fault::Sql(error) => error,
    };
    let unavailable = StoreError::Unavailable;
    let Some(refusal) = refusal(&error) else {
        return unavailable(if matches!(error, sqlx::Error::PoolTimedOut) {
            format!("no connection for reading {database} within the time for it; try again")
        } else if matches!(error, sqlx::Error::PoolClosed) {
            closed()
        } else {
            format!("{database} does not answer: {error}")
        });
    };
    let (code, message) = (refusal.code(), refusal.message());
    if is_about_data(refusal) {
        return StoreError::Data(message.to_owned());
    }
    match code {
        "57014" => unavailable(format!("a statement took too long and was cut by {database}; ask for less")),
        "55P03" => {
            unavailable(format!("another session holds what is wanted of {database}; it is tried again"))
        }
        "53100" => {
            unavailable(format!("there is no room left at {database}; free some, the node goes on by itself"))
        }
        "53300" => {
            unavailable(format!("{database} has no connection left: {message}; raise max_connections"))
        }
        "25006" => unavailable(format!("{database} takes no writes: is it a standby, or read-only?")),
        "57P01" | "57P02" | "57P03" => unavailable(format!("{database} is not up: {message}")),
        code => unavailable(format!("{database}: {message} ({code})")),
    }
}

/// Why a connection cannot be had: what a person must put right is for good.
pub(super) fn tell_connect(error: sqlx::Error, database: &str) -> StoreError {
    let Some(refusal) = refusal(&error) else {
        if is_for_good(&error) {
            return StoreError::Setup(format!("cannot connect to {database}: {error}"));
        }
        return tell(error.into(), database);
    };
    let message = refusal.message();
    match refusal.code() {
        // Credentials, pg_hba.conf.
        "28000" | "28P01" => StoreError::Setup(format!(
            "{database} refuses this user: {message}; look at user and password of the address"
        )),
        "3D000" => {
            StoreError::Setup(format!("{message} at {database}; make it first (createdb), or name another"))
        }
        "42501" => denied(message, database),
        _ => tell(error.into(), database),
    }
}

/// No TLS where it is asked for, a certificate that will not do (an I/O error to the driver), a file that is not there.
fn is_for_good(error: &sqlx::Error) -> bool {
    let certificate = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
    matches!(error, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_))
        || matches!(error, sqlx::Error::Io(error) if certificate(error))
}

/// What the user of the address may not do.
pub(super) fn denied(message: &str, database: &str) -> StoreError {
    StoreError::Setup(format!(
        "{database}: {message}; the node needs a schema of its own: grant create on the database, or make the schema \
         'tautline' for its user"
    ))
}

/// A store that was closed.
pub(super) fn closed() -> String {
    "the store is closed: the node is stopping".into()
}

/// Can the session go on after this? What the server refuses to do it survives, unless it says that it ends, or that it is in a
/// transaction which has failed (25P02): somebody has left it so, and everything after would fail too.
pub(super) fn leaves_session(fault: &Fault) -> bool {
    let goes_on = |code: &str| !code.starts_with("57P") && code != "25P02";
    match fault {
        Fault::Told(_) => true,
        Fault::Sql(error) => refusal(error).is_some_and(|refusal| goes_on(refusal.code())),
    }
}

/// Is there no partition for a row? The code is that of a broken check; only a check has a name.
pub(super) fn lacks_partition(fault: &Fault) -> bool {
    match fault {
        Fault::Told(_) => false,
        Fault::Sql(error) => {
            refusal(error).is_some_and(|refusal| refusal.code() == "23514" && refusal.constraint().is_none())
        }
    }
}

/// Data exceptions, broken rules and what is too large: this row will not do, now or ever.
fn is_about_data(refusal: &PgDatabaseError) -> bool {
    matches!(refusal.code().get(..2), Some("22" | "23" | "54"))
}

fn refusal(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_will_not_do_waits_for_a_person_and_a_closed_port_for_the_server() {
        let told = |kind: io::ErrorKind| tell_connect(sqlx::Error::Io(kind.into()), "db");
        assert!(matches!(told(io::ErrorKind::InvalidData), StoreError::Setup(_)));
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::UnexpectedEof, io::ErrorKind::TimedOut]
        {
            assert!(matches!(told(kind), StoreError::Unavailable(_)), "{kind:?}");
        }
    }
}
