//! How many files this process may have open. Every socket is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files a node needs for itself: database, threads, admin API, calls to Slack.
const OWN: u64 = 200;

/// The limit on open files; none where there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles(pub Option<u64>);

impl OpenFiles {
    /// The limit in force.
    pub fn limit() -> Self {
        Self(getrlimit(Resource::Nofile).current)
    }

    /// Raises the limit in force as far as this process may, and tells what it is then. Shells and service managers set a low
    /// one (1 024 is usual) for the sake of programs that cannot deal with more.
    pub fn raise() -> Self {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // Where the system refuses (macOS knows a lower bound of its own) what was in force stays in force.
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap_or_default();
        Self::limit()
    }

    /// For how many sockets there is room beside the node's own files; none where there is no limit.
    pub fn sockets(self) -> Option<u64> {
        Some(self.0?.saturating_sub(OWN))
    }

    /// What to say when so many sockets may be wanted at once; none when there is room for them.
    pub fn complaint(self, sockets: u64) -> Option<String> {
        let Self(Some(files)) = self else { return None };
        (self.sockets()? < sockets).then(|| {
            format!(
                "the workspaces wanted may need {sockets} sockets at once and this process may open {files} files: \
                 raise the hard limit (LimitNOFILE, ulimit -Hn)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_this_process_may_have() {
        let raised = OpenFiles::raise();
        assert_eq!(raised.0, getrlimit(Resource::Nofile).maximum);
        assert_eq!(OpenFiles::limit(), raised);
    }

    #[test]
    fn what_does_not_fit_is_told_with_both_figures_and_what_to_do() {
        let files = OpenFiles(Some(1024));
        assert_eq!((files.sockets(), files.complaint(824)), (Some(824), None));
        let complaint = files.complaint(825).unwrap();
        assert!(
            complaint.contains("825") && complaint.contains("1024") && complaint.contains("ulimit"),
            "{complaint}"
        );
        assert_eq!(OpenFiles(None).complaint(u64::MAX), None);
        assert_eq!(OpenFiles(Some(10)).sockets(), Some(0));
    }
}
