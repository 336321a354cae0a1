//! The descriptors that the system lets this process have. Knows: the limit, and what is needed beside connections.
//! Must not know: who uses them.

/// Descriptors for everything but connections: the ledger, the history and their readers, threads, files.
const RESERVED: usize = 256;

/// Raises the process's limit as far as it may, and says how many connections fit: at most as many as wanted. A
/// connection takes one descriptor.
pub fn raise_limit(wanted: usize) -> usize {
    let Some(limit) = limit() else { return wanted };
    let room = room(limit);
    if room < wanted {
        tracing::warn!(
            limits.max_connections = wanted,
            open_files = limit,
            connections = room,
            "fewer connections are taken than limits.max_connections says, because this process may open too few files; raise the limit (ulimit -n, LimitNOFILE), or lower the setting"
        );
    }
    wanted.min(room)
}

#[cfg(unix)]
fn limit() -> Option<usize> {
    let raised = rlimit::increase_nofile_limit(u64::MAX);
    let limit =
        raised.inspect_err(|error| tracing::warn!(%error, "the limit of open files is not known")).ok()?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn limit() -> Option<usize> {
    None
}

/// How many connections fit a limit; where it is very low, half of it.
fn room(limit: usize) -> usize {
    limit - RESERVED.min(limit / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_connections_is_kept_free() {
        for (limit, fits) in [(1024, 768), (4096, 3840), (512, 256), (256, 128), (64, 32), (1, 1)] {
            assert_eq!(room(limit), fits, "{limit}");
        }
    }
}
