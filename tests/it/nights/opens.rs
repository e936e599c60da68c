//! Which files of a directory are opened, as the kernel tells it.

use std::collections::{BTreeSet, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Watches some directories, whoever opens the files in them.
pub struct Opens {
    queue: OwnedFd,
    directories: HashMap<i32, PathBuf>,
}

impl Opens {
    pub fn in_each_of(directories: &[&Path]) -> Self {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        let directories = directories.iter().map(|directory| {
            let watch = inotify::add_watch(&queue, *directory, WatchFlags::OPEN).unwrap();
            (watch, directory.to_path_buf())
        });
        let directories = directories.collect();
        Opens { queue, directories }
    }

    /// The files that were opened since the last call.
    pub fn take(&self) -> BTreeSet<PathBuf> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.queue, &mut buffer);
        let mut opened = BTreeSet::new();
        loop {
            let event = match events.next() {
                Err(Errno::AGAIN) => return opened,
                event => event.unwrap(),
            };
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
            if event.events().contains(ReadFlags::ISDIR) {
                continue;
            }
            if let Some(name) = event.file_name() {
                let name = name.to_str().unwrap();
                opened.insert(self.directories[&event.wd()].join(name));
            }
        }
    }
}
