//! How many files this process may have open, connections among them (RLIMIT_NOFILE).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::http::CONNECTIONS;
use crate::store::OPEN_FILES;

/// Two for each client, its connection and the file that is sent; those that the store keeps open; and some for
/// upstream and DNS.
const WANTED: u64 = (2 * CONNECTIONS + OPEN_FILES + 1024) as u64;

/// Takes as many as the process may have, and says when these are too few. The usual limit is 1024, for programs that
/// use select(2) and must not see higher numbers.
pub fn raise() {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match limit {
        Ok(limit) if limit < WANTED => tracing::warn!(
            limit,
            wanted = WANTED,
            "fewer files can be open than {CONNECTIONS} connections take; raise the limit (LimitNOFILE=, ulimit -Hn)"
        ),
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}
