//! What a database address says. The password in it is never part of what is told.

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::store::StoreError;

/// What may stand behind the '?'. An unknown one would be logged by the driver with its value, which may be a secret.
const PARAMETERS: [&str; 9] =
    ["application_name", "dbname", "host", "password", "sslcert", "sslkey", "sslmode", "sslrootcert", "user"];

const FORM: &str = "postgres://user:password@host:5432/database";

/// How the server is reached.
pub(super) fn parse(address: &str) -> Result<PgConnectOptions, StoreError> {
    let setup = |problem: String| StoreError::Setup(problem);
    let url = Url::parse(address)
        .map_err(|_| setup(format!("the database address is none that can be read; its form is {FORM}")))?;
    for (key, value) in url.query_pairs() {
        if !PARAMETERS.contains(&&*key) {
            let key: String = key.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(setup(format!(
                "the database address has the parameter '{key}', which is not known; known are {}",
                PARAMETERS.join(", ")
            )));
        }
        if key == "sslmode" && value.parse::<PgSslMode>().is_err() {
            return Err(setup(
                "sslmode of the database address must be disable, allow, prefer, require, verify-ca or verify-full"
                    .into(),
            ));
        }
    }
    let options = address
        .parse::<PgConnectOptions>()
        .map_err(|_| setup(format!("the database address is none that can be read; its form is {FORM}")))?;
    let named = options.get_application_name().is_some();
    let options = if named { options } else { options.application_name("tautline") };
    Ok(options.disable_statement_logging())
}

/// Which database that is, without a password.
pub(super) fn shown(options: &PgConnectOptions) -> String {
    let (user, port) = (options.get_username(), options.get_port());
    let host =
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |at| at.display().to_string());
    format!("postgres://{user}@{host}:{port}/{}", options.get_database().unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password_wherever_that_stands() {
        for (address, told) in [
            ("postgres://u:hunter2@db.example:6432/t", "postgres://u@db.example:6432/t"),
            ("postgresql://u@h/t?password=hunter2", "postgres://u@h:5432/t"),
            ("postgres://u:hunter2@h/t?sslmode=require&sslrootcert=/ca.pem", "postgres://u@h:5432/t"),
            ("postgres://u:hunter2@%2Frun%2Fpg/t", "postgres://u@/run/pg:5432/t"),
        ] {
            assert_eq!(shown(&parse(address).unwrap()), told);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told_without_its_values() {
        for (address, told) in [
            ("postgres://u:hunter2@h:port/t", "its form is postgres://"),
            ("postgres://u:hunter2@h/t?passwrd=hunter2", "'passwrd'"),
            ("postgres://u:hunter2@h/t?sslmode=hunter2", "sslmode"),
            ("postgres://u:hunter2@h/t?options=hunter2", "'options'"),
        ] {
            let error = parse(address).unwrap_err();
            assert!(matches!(error, StoreError::Setup(_)), "{error:?}");
            assert!(error.to_string().contains(told) && !format!("{error:?}").contains("hunter2"), "{error}");
        }
    }
}
