//! Where the nodes of a test keep what they keep; gone when the value is. Both databases answer the same questions.

/// A file in the test's folder.
pub(crate) mod sqlite {
    use std::fs;
    use std::path::{Path, PathBuf};

    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    use tautline::config::KeySource;

    pub(crate) type Connection = SqliteConnection;

    pub(crate) struct Database {
        path: PathBuf,
    }

    impl Database {
        pub(crate) fn new(folder: &Path) -> Self {
            Self { path: folder.join("tautline.db") }
        }

        /// The file.
        pub(crate) fn path(&self) -> &Path {
            &self.path
        }

        pub(crate) fn address(&self) -> String {
            self.path.display().to_string()
        }

        #[expect(clippy::unused_self, reason = "the other database has to look")]
        pub(crate) fn key(&self) -> KeySource {
            KeySource::Beside
        }

        /// What a process is told of it: nothing, since it is where a node looks by itself.
        #[expect(clippy::unused_self, reason = "the other database has to look")]
        pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
            Vec::new()
        }

        /// A connection of the test's own.
        pub(crate) async fn connect(&self) -> Connection {
            let options = SqliteConnectOptions::new().filename(&self.path);
            options.connect().await.expect("the database is there")
        }

        /// From now on nothing can be written, until this is rolled back.
        pub(crate) async fn hold(&self) -> Connection {
            let mut db = self.connect().await;
            sqlx::query("begin immediate").execute(&mut db).await.expect("nobody else holds it");
            db
        }

        /// Has no node made anything?
        #[expect(clippy::unused_async, reason = "the other database has to be asked")]
        pub(crate) async fn is_untouched(&self) -> bool {
            !self.path.exists()
        }

        /// A connection to what a killed node left, as it left it: to a copy, so that the next start finds the files untouched.
        pub(crate) async fn remains(&self) -> (Connection, tempfile::TempDir) {
            let folder = tempfile::tempdir().expect("there is room for a copy");
            let copy = folder.path().join("copy.db");
            fs::copy(&self.path, &copy).expect("the database is there");
            let log = self.path.with_extension("db-wal");
            if log.exists() {
                fs::copy(&log, copy.with_extension("db-wal")).expect("its log can be read");
            }
            let db = SqliteConnectOptions::new().filename(&copy).connect().await.expect("the copy opens");
            (db, folder)
        }
    }
}

/// A database of its own on the server of the tests.
pub(crate) mod postgres {
    use std::path::Path;

    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
    use tautline::config::KeySource;

    pub(crate) type Connection = PgConnection;

    pub(crate) struct Database {
        server: url::Url,
        name: String,
        key: String,
    }

    impl Database {
        pub(crate) fn new(_: &Path) -> Self {
            let server = std::env::var("TAUTLINE_TEST_POSTGRES").unwrap_or_else(|_| {
                panic!(
                    "TAUTLINE_TEST_POSTGRES names no server: run the tests by scripts/test, which starts one and says where it is"
                )
            });
            let server: url::Url = server.parse().expect("the server's address is one");
            let name = format!("t{:032x}", rand::random::<u128>());
            run_apart(server.clone(), format!("create database {name}"));
            let key = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
            Self { server, name, key }
        }

        pub(crate) fn address(&self) -> String {
            self.server().into()
        }

        /// The address, in parts.
        pub(crate) fn server(&self) -> url::Url {
            let mut url = self.server.clone();
            url.set_path(&self.name);
            url
        }

        pub(crate) fn key(&self) -> KeySource {
            KeySource::Text(self.key.clone().into())
        }

        /// What a process is told of it.
        pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
            vec![("DATABASE_URL", self.address()), ("TAUTLINE_KEY", self.key.clone())]
        }

        /// A connection of the test's own.
        pub(crate) async fn connect(&self) -> Connection {
            let mut db = PgConnection::connect(&self.address()).await.expect("the database is there");
            db.execute("set search_path = tautline").await.expect("a setting");
            db
        }

        /// From now on nothing can be written, until this is rolled back.
        pub(crate) async fn hold(&self) -> Connection {
            let mut db = self.connect().await;
            db.execute("begin; lock table seen, events, writers, workspaces in exclusive mode")
                .await
                .expect("nobody else holds it for long");
            db
        }

        /// Has no node made anything?
        pub(crate) async fn is_untouched(&self) -> bool {
            let found = sqlx::query_scalar("select to_regnamespace('tautline') is null");
            found.fetch_one(&mut self.connect().await).await.expect("an answer")
        }

        /// A connection to what a killed node left.
        pub(crate) async fn remains(&self) -> (Connection, ()) {
            (self.connect().await, ())
        }
    }

    impl Drop for Database {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                run_apart(self.server.clone(), format!("drop database if exists {} with (force)", self.name));
            }
        }
    }

    /// On a thread of its own: where a test has a runtime it cannot be waited in.
    fn run_apart(server: url::Url, sql: String) {
        let run = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut db = PgConnection::connect(server.as_str()).await?;
                db.execute(AssertSqlSafe(sql)).await?;
                db.close().await
            })
        };
        std::thread::spawn(run).join().expect("no panic").expect("the server of the tests does it");
    }
}
