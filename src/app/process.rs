//! What this process asks of the operating system before it serves.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Files that are no connections: the databases, logs, sockets of the owner.
const FILES_BESIDE_CONNECTIONS: u64 = 2_048;

/// Takes as many open files as it may have, and leaves no picture of its memory behind when it crashes: keys are in it.
pub fn prepare(connections_max: usize) {
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
    // The limit binds only files; a system that hands pictures to a program takes none of a process that says no. It also keeps
    // other processes of the same user out of this one's memory.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process cannot be closed to debuggers");
    }
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let needed = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(FILES_BESIDE_CONNECTIONS);
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if open_files < needed {
        let words = "the system allows fewer open files than limits.connections needs: connections beyond that wait until others go. Allow more \
                     (ulimit -Hn, or LimitNOFILE= of the service), or lower limits.connections";
        tracing::warn!(open_files, needed, "{words}");
    }
}
