//! Sees what a run does to its output directory, as it happens.

use std::collections::HashMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// A file or directory that was made, written, or given its name.
#[derive(Debug)]
pub struct Step {
    pub path: PathBuf,
}

/// Watches a directory and all that are made below it.
pub struct Watch {
    inotify: OwnedFd,
    directories: HashMap<i32, PathBuf>,
}

impl Watch {
    /// Watches `out`, which is made if it is missing.
    pub fn new(out: &Path) -> Self {
        fs::create_dir_all(out).unwrap();
        let mut watch = Self {
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap(),
            directories: HashMap::new(),
        };
        watch.add(out);
        watch
    }

    /// Gives each step of the child to `see`, until that returns `true` or the child has ended; `see`
    /// is also asked when nothing happens. Says whether the child still runs.
    pub fn follow(
        &mut self,
        child: &mut Child,
        mut see: impl FnMut(Option<&Step>) -> bool,
    ) -> bool {
        loop {
            let steps = self.steps();
            let idle = steps.is_empty();
            if steps.iter().any(|step| see(Some(step))) || see(None) {
                return child.try_wait().unwrap().is_none();
            }
            if idle {
                if child.try_wait().unwrap().is_some() {
                    return false;
                }
                thread::sleep(Duration::from_micros(100));
            }
        }
    }

    fn steps(&mut self) -> Vec<Step> {
        let mut buffer = [MaybeUninit::uninit(); 1 << 14];
        let mut steps = Vec::new();
        let mut made = Vec::new();
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(error) => panic!("{error}"),
            };
            let (Some(directory), Some(name)) =
                (self.directories.get(&event.wd()), event.file_name())
            else {
                continue;
            };
            let path = directory.join(name.to_str().unwrap());
            if event.events().contains(ReadFlags::ISDIR) {
                made.push(path.clone());
            }
            steps.push(Step { path });
            if reader.is_buffer_empty() {
                break;
            }
        }
        for directory in made {
            // What was in it before it was watched is not seen; there is more where that came from.
            self.add(&directory);
        }
        steps
    }

    fn add(&mut self, directory: &Path) {
        let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO;
        // It may be gone already.
        if let Ok(watch) = inotify::add_watch(&self.inotify, directory, flags) {
            self.directories.insert(watch, directory.to_owned());
        }
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.add(&path);
            }
        }
    }
}
