//! Which file a database address means, and whether a database can live there. Nothing is written here.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// How every SQLite database begins; <https://www.sqlite.org/fileformat.html#the_database_header>.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The file of `sqlite://file.db`, `sqlite:///dir/file.db` or a plain path.
pub(super) fn database_path(address: &str) -> Result<PathBuf, StoreError> {
    let path = match address.split_once("://") {
        Some(("sqlite", rest)) => rest,
        Some((scheme, _)) => {
            return Err(StoreError::Setup(format!(
                "the database address starts with '{scheme}://', not with 'sqlite://'"
            )));
        }
        None => address.strip_prefix("sqlite:").unwrap_or(address),
    };
    if path.is_empty() || path.contains(":memory:") {
        return Err(StoreError::Setup(
            "the database must be a file: what is kept in memory is lost with the process; say sqlite://tautline.db".into(),
        ));
    }
    if path.contains('?') {
        return Err(StoreError::Setup(format!("the database address takes no '?…' settings: {path}")));
    }
    Ok(PathBuf::from(path))
}

/// Is there a database yet? An error where none could be, or where something else is. File modes count even for root, whom
/// the system would let write: who takes the write permission away means it.
pub(super) fn database_exists(path: &Path) -> Result<bool, StoreError> {
    let setup = |what: String| Err(StoreError::Setup(what));
    let shown = path.display();
    let dir = directory_of(path);
    match fs::metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return setup(format!(
                "the directory {} of the database does not exist; make it first",
                dir.display()
            ));
        }
        Err(error) => return setup(format!("cannot look into the directory {}: {error}", dir.display())),
        Ok(meta) if !meta.is_dir() => return setup(format!("{} is no directory", dir.display())),
        Ok(meta) if meta.permissions().readonly() => {
            return setup(format!(
                "the directory {} is read-only; the database and the files beside it must be writable",
                dir.display()
            ));
        }
        Ok(_) => {}
    }
    for beside in ["", "-wal", "-shm"] {
        let file = beside_database(path, beside);
        if fs::metadata(&file).is_ok_and(|meta| meta.is_file() && meta.permissions().readonly()) {
            return setup(format!("{} is read-only; the database must be writable", file.display()));
        }
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => setup(format!("cannot open the database {shown}: {error}")),
        Ok(meta) if !meta.is_file() => setup(format!("{shown} is no file, so no database; name a file")),
        Ok(meta) if meta.len() == 0 => Ok(false),
        Ok(_) if begins_like_a_database(path)? => Ok(true),
        Ok(_) => setup(format!("{shown} is not a SQLite database; it is left as it is, name another file")),
    }
}

/// A file beside the database: its name with something appended.
pub(super) fn beside_database(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn begins_like_a_database(path: &Path) -> Result<bool, StoreError> {
    let cannot = |error| StoreError::Setup(format!("cannot read the database {}: {error}", path.display()));
    let mut begin = Vec::with_capacity(MAGIC.len());
    File::open(path).map_err(cannot)?.take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(cannot)?;
    Ok(begin == MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_path_to_a_file() {
        let path = |address| database_path(address).map(|path| path.display().to_string());
        assert_eq!(path("sqlite://tautline.db"), Ok("tautline.db".into()));
        assert_eq!(path("sqlite:///var/lib/t.db"), Ok("/var/lib/t.db".into()));
        assert_eq!(path("sqlite:t.db"), Ok("t.db".into()));
        assert_eq!(path("./t.db"), Ok("./t.db".into()));
    }

    #[test]
    fn memory_other_schemes_and_parameters_are_refused() {
        for bad in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://",
            "",
            "postgres://host/db",
            "sqlite://t.db?mode=ro",
        ] {
            assert!(matches!(database_path(bad), Err(StoreError::Setup(_))), "{bad}");
        }
    }
}
