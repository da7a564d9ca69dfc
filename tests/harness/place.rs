//! Where something runs: a network and a view of the files, which a thread enters and leaves.
//!
//! Linux keeps both per thread, and whatever a thread starts has what the thread has. So nothing that runs in
//! another place needs to know of it: a socket that is opened, a program that is started, a name that is looked
//! up inside of [`Place::run`] are of that place.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::process;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace and a mount namespace. They last as long as a place, a process or a socket is in them.
#[derive(Debug, Clone)]
pub struct Place(Arc<Namespaces>);

#[derive(Debug)]
struct Namespaces {
    network: File,
    files: File,
}

impl Place {
    /// The place of the calling thread.
    pub fn here() -> Self {
        Self(Arc::new(Namespaces { network: namespace("net"), files: namespace("mnt") }))
    }

    /// The network of a process, with the files of the calling thread's place.
    pub(crate) fn with_network_of(process: i32) -> std::io::Result<Self> {
        let network = File::open(format!("/proc/{process}/ns/net"))?;
        Ok(Self(Arc::new(Namespaces { network, files: namespace("mnt") })))
    }

    /// A place with a network of its own, in which there is no interface but loopback, and with the files of
    /// the calling thread's place: what is mounted from now on in one of the two is not seen in the other.
    pub fn apart() -> Self {
        let make = || {
            let apart = CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
            unshare(apart).expect("a network and mounts of its own; call in_own_network first");
            Self::here()
        };
        on_a_thread(make)
    }

    /// Runs `body` there, on a thread of its own, and waits for it. A panic there is a panic here.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        if self.is_here() {
            return body();
        }
        on_a_thread(|| {
            self.enter();
            body()
        })
    }

    /// A path that names this network to other programs of this process' tree, while this value lasts.
    pub(crate) fn network_path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.network.as_raw_fd())
    }

    fn is_here(&self) -> bool {
        let same = |one: &File, other: &File| {
            let inode = |file: &File| file.metadata().expect("an open file has metadata").ino();
            inode(one) == inode(other)
        };
        same(&self.0.network, &namespace("net")) && same(&self.0.files, &namespace("mnt"))
    }

    /// Root and current directory are shared by the threads of a process until one says otherwise, and can only
    /// then be another mount namespace's.
    fn enter(&self) {
        unshare(CloneFlags::CLONE_FS).expect("a root directory of this thread's own");
        setns(&self.0.network, CloneFlags::CLONE_NEWNET).expect("a network to enter");
        setns(&self.0.files, CloneFlags::CLONE_NEWNS).expect("mounts to enter");
    }
}

fn namespace(kind: &str) -> File {
    File::open(format!("/proc/thread-self/ns/{kind}")).expect("namespaces are files of /proc")
}

fn on_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let ended = thread::scope(|scope| scope.spawn(body).join());
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}
