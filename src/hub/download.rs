//! Turns a [`Request`] into a file with the published digest, over a line that may fail at any byte.
//!
//! It stands apart because it is the policy alone: when to carry on, when to begin again, when to give
//! up. The file is `partial`'s business, HTTP is `transport`'s.
//!
//! 1. A file of that name and digest is there already: done.
//! 2. Ask for what is missing; a dropped connection or a server in trouble is asked again.
//! 3. The digest of all bytes must be the published one. If some of them were here before, the fault may
//!    be theirs: begin again, once.
//! 4. Only then the file gets its name.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::digest::{Digest, Sha256Sum, digest_of};
use super::error::HubError;
use super::partial::{self, Partial};
use super::registry::Entry;
use super::store::{Store, free_space};
use super::transport::{Answer, Fault, Kind, Network, Transport};

/// Fetches files.
pub struct Downloader {
    transport: Transport,
    retry: Retry,
}

/// What to fetch and where to put it.
#[derive(Debug, Clone)]
pub struct Request {
    pub url: String,
    /// The file to make. Its folder is created.
    pub target: PathBuf,
    pub digest: Digest,
    /// Its size to within [`TOLERANCE`] bytes, if that was published. More is not fetched.
    pub bytes: Option<u64>,
}

/// How often to ask again. A connection that brought anything sets the count back, so a bad line is
/// followed to the end and a dead one is not.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Connections in a row that brought nothing, at least 1.
    pub attempts: u32,
    /// Doubled after each of them.
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// How to wait.
    pub sleep: fn(Duration),
}

/// Is told how it goes.
pub trait Progress {
    /// `done` bytes are here, of `total` where that is known. Called for every block that comes.
    fn progress(&mut self, done: u64, total: Option<u64>);

    /// Something else happened that a person may want to know.
    fn note(&mut self, _note: Note<'_>) {}
}

/// What may happen on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note<'a> {
    /// A file of this name was there and is not the published one; it will be replaced.
    Damaged { path: &'a Path },
    /// `bytes` were here from an earlier time.
    Resuming { bytes: u64 },
    /// What was here cannot be used.
    StartingOver { reason: &'a str },
    /// The connection brought nothing more; another one is made after `wait`.
    Retrying { reason: &'a str, wait: Duration },
}

/// A file that is here and has the published digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetched {
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: Sha256Sum,
    pub origin: Origin,
}

/// Where its bytes are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was here; nothing was fetched.
    AlreadyHere,
    /// All of it was fetched.
    Fetched,
    /// This many bytes were here from an earlier time.
    Resumed { from: u64 },
}

/// Published sizes are rounded; this many bytes more are let pass.
pub const TOLERANCE: u64 = 1 << 20;

impl Request {
    /// For an entry of the registry, from its own address or another one with the same file.
    pub fn of(entry: &Entry, store: &Store, mirror: Option<&str>) -> Request {
        Request {
            url: mirror.unwrap_or(entry.url).to_string(),
            target: store.path(entry),
            digest: entry.sha256.clone(),
            bytes: Some(entry.bytes),
        }
    }
}

impl Retry {
    /// Six connections, with 1, 2, 4, 8 and 16 seconds between them.
    pub fn patient() -> Retry {
        Retry {
            attempts: 6,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            sleep: std::thread::sleep,
        }
    }

    /// How long to wait after this many failures in a row, if the server does not ask for more.
    fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first_wait
            .saturating_mul(doubled)
            .max(asked.unwrap_or_default())
            .min(self.longest_wait)
    }
}

impl Downloader {
    /// # Errors
    /// A proxy or a file of certificates that cannot be used.
    pub fn new(network: &Network, retry: Retry) -> Result<Downloader, HubError> {
        Ok(Downloader {
            transport: Transport::new(network)?,
            retry,
        })
    }

    /// Brings the file here, unless it is.
    ///
    /// # Errors
    /// [`HubError::WrongDigest`] if the address sends another file, of which nothing is kept. After every
    /// other error what has come stays, and the next call carries on from there.
    pub fn fetch(
        &self,
        request: &Request,
        progress: &mut dyn Progress,
    ) -> Result<Fetched, HubError> {
        if !["https://", "http://"]
            .iter()
            .any(|scheme| request.url.starts_with(scheme))
        {
            return Err(HubError::BadAddress {
                url: request.url.clone(),
            });
        }
        if let Some(here) = already_here(request, progress)? {
            return Ok(here);
        }
        if let Some(folder) = request.target.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| HubError::file("create", folder, source))?;
        }
        let mut partial = Partial::open(&request.target)?;
        let origin = match self.fill(&mut partial, request, progress) {
            Ok(origin) => origin,
            Err(error) => {
                // An empty file is of no use to the next time. The first error is the one to tell.
                if partial.length() == 0 {
                    partial.discard().ok();
                }
                return Err(error);
            }
        };
        let fetched = Fetched {
            path: request.target.clone(),
            bytes: partial.length(),
            sha256: partial.sum(),
            origin,
        };
        partial.publish()?;
        Ok(fetched)
    }

    /// Brings all bytes here and checks their digest.
    fn fill(
        &self,
        partial: &mut Partial,
        request: &Request,
        progress: &mut dyn Progress,
    ) -> Result<Origin, HubError> {
        let mut from = partial.length();
        if from > 0 {
            progress.note(Note::Resuming { bytes: from });
        }
        loop {
            let content_type = self.complete(partial, request, &mut from, progress)?;
            let found = partial.sum();
            if request.digest.matches(&found) {
                return Ok(match from {
                    0 => Origin::Fetched,
                    from => Origin::Resumed { from },
                });
            }
            if from == 0 {
                let bytes = partial.length();
                partial.restart()?;
                return Err(HubError::WrongDigest {
                    url: request.url.clone(),
                    bytes,
                    found,
                    expected: request.digest.clone(),
                    hint: match says_text(content_type.as_deref()) {
                        true => " (it sends text: is a login page or a proxy in between?)",
                        false => "",
                    },
                });
            }
            start_over(partial, &mut from, "the digest is wrong", progress)?;
        }
    }

    /// Asks until all bytes are here. Returns the content type of the last answer.
    fn complete(
        &self,
        partial: &mut Partial,
        request: &Request,
        from: &mut u64,
        progress: &mut dyn Progress,
    ) -> Result<Option<String>, HubError> {
        let mut content_type = None;
        let mut furthest = partial.length();
        let mut failures = 0;
        loop {
            let (reason, asked) =
                match self.ask(partial, request, from, &mut content_type, progress)? {
                    Asked::Complete => return Ok(content_type),
                    Asked::Again { reason, wait } => (reason, wait),
                };
            if partial.length() > furthest {
                furthest = partial.length();
                failures = 0;
            }
            failures += 1;
            if failures >= self.retry.attempts {
                return Err(HubError::GaveUp {
                    url: request.url.clone(),
                    attempts: failures,
                    reason,
                });
            }
            let wait = self.retry.wait(failures, asked);
            progress.note(Note::Retrying {
                reason: &reason,
                wait,
            });
            (self.retry.sleep)(wait);
        }
    }

    /// Makes one connection and takes what it brings.
    fn ask(
        &self,
        partial: &mut Partial,
        request: &Request,
        from: &mut u64,
        content_type: &mut Option<String>,
        progress: &mut dyn Progress,
    ) -> Result<Asked, HubError> {
        let start = partial.length();
        let note = partial.note().cloned();
        let known_total = note.as_ref().and_then(|note| note.total);
        if start > 0 && known_total == Some(start) {
            // The process ended between the last byte and the check.
            return Ok(Asked::Complete);
        }
        // Another address knows nothing of this one's versions; the digest has the last word.
        let validator = note
            .filter(|note| note.url == request.url)
            .and_then(|note| note.validator);
        let answer = match self
            .transport
            .get(&request.url, start, validator.as_deref())
        {
            Ok(answer) => answer,
            Err(Fault::Passing(reason)) => return Ok(Asked::Again { reason, wait: None }),
            Err(Fault::Lasting(source)) => {
                return Err(HubError::Connection {
                    url: request.url.clone(),
                    source,
                });
            }
        };
        content_type.clone_from(&answer.content_type);
        let again = |reason: &str| {
            Ok(Asked::Again {
                reason: reason.to_string(),
                wait: None,
            })
        };
        let total = match answer.kind.clone() {
            Kind::Whole { total } => {
                if start > 0 {
                    let reason = "the server sends the file from its first byte";
                    start_over(partial, from, reason, progress)?;
                }
                total
            }
            Kind::Part { start: sent, .. } if sent != start => {
                start_over(partial, from, "the server sent another part", progress)?;
                return again("the server sent another part than was asked for");
            }
            Kind::Part { total, .. } => {
                if known_total.is_some() && total.is_some() && known_total != total {
                    start_over(partial, from, "the file has changed", progress)?;
                    return again("the file has changed while it was fetched");
                }
                total.or(known_total)
            }
            Kind::Beyond { total } if total == Some(start) && start > 0 => {
                return Ok(Asked::Complete);
            }
            Kind::Beyond { .. } if start > 0 => {
                start_over(partial, from, "more is here than the server has", progress)?;
                return again("more is here than the server has");
            }
            Kind::Later { status, wait } => {
                return Ok(Asked::Again {
                    reason: format!("the server answered {status}"),
                    wait,
                });
            }
            Kind::Beyond { .. } => return Err(refused(request, "416 Range Not Satisfiable")),
            Kind::Refused { status } => return Err(refused(request, &status)),
        };
        check_size(request, total.unwrap_or(0))?;
        check_space(
            request,
            total.or(request.bytes).unwrap_or(0),
            partial.length(),
        )?;
        partial.set_note(partial::Note {
            url: request.url.clone(),
            validator: answer.validator.clone(),
            total,
        })?;
        take(answer, partial, request, total, progress)
    }
}

enum Asked {
    /// All bytes are here.
    Complete,
    Again {
        reason: String,
        wait: Option<Duration>,
    },
}

/// Appends the body of an answer.
fn take(
    mut answer: Answer,
    partial: &mut Partial,
    request: &Request,
    total: Option<u64>,
    progress: &mut dyn Progress,
) -> Result<Asked, HubError> {
    let is_text = says_text(answer.content_type.as_deref());
    let mut buffer = vec![0; 1 << 16];
    progress.progress(partial.length(), total);
    loop {
        let count = match answer.body.read(&mut buffer) {
            Ok(count) => count,
            Err(error) => {
                return Ok(Asked::Again {
                    reason: format!("the connection broke: {error}"),
                    wait: None,
                });
            }
        };
        let done = partial.length();
        if count == 0 {
            return Ok(match total {
                Some(total) if done < total => Asked::Again {
                    reason: "the connection ended early".into(),
                    wait: None,
                },
                // Without a length the end cannot be told from a break; the published size tells.
                None if !is_text && ends_short(request, done) => Asked::Again {
                    reason: "the connection ended early".into(),
                    wait: None,
                },
                _ => Asked::Complete,
            });
        }
        check_size(request, done + count as u64)?;
        partial.append(&buffer[..count])?;
        progress.progress(partial.length(), total);
    }
}

/// The file, if it is there and is the right one.
fn already_here(
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<Option<Fetched>, HubError> {
    let path = &request.target;
    let Ok(metadata) = path.metadata() else {
        return Ok(None);
    };
    let sha256 = digest_of(path)?;
    if !request.digest.matches(&sha256) {
        progress.note(Note::Damaged { path });
        return Ok(None);
    }
    Ok(Some(Fetched {
        path: path.clone(),
        bytes: metadata.len(),
        sha256,
        origin: Origin::AlreadyHere,
    }))
}

fn start_over(
    partial: &mut Partial,
    from: &mut u64,
    reason: &str,
    progress: &mut dyn Progress,
) -> Result<(), HubError> {
    progress.note(Note::StartingOver { reason });
    *from = 0;
    partial.restart()
}

fn refused(request: &Request, status: &str) -> HubError {
    HubError::Refused {
        url: request.url.clone(),
        status: status.to_string(),
    }
}

fn check_size(request: &Request, found: u64) -> Result<(), HubError> {
    match request.bytes {
        Some(expected) if found > expected.saturating_add(TOLERANCE) => Err(HubError::TooLarge {
            url: request.url.clone(),
            found,
            expected,
        }),
        _ => Ok(()),
    }
}

fn ends_short(request: &Request, done: u64) -> bool {
    request
        .bytes
        .is_some_and(|expected| done.saturating_add(TOLERANCE) < expected)
}

/// What a login page or a proxy says of its answer, and no file of weights.
fn says_text(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|kind| kind.starts_with("text/"))
}

/// Better before the first byte than after the last that fits.
fn check_space(request: &Request, total: u64, here: u64) -> Result<(), HubError> {
    let wanted = total.saturating_sub(here);
    // Where the system does not tell, the write will.
    let free = free_space(&request.target).unwrap_or(u64::MAX);
    if wanted > free {
        return Err(HubError::NoSpace {
            path: request.target.clone(),
            missing: wanted - free,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = Retry::patient();
        let seconds: Vec<u64> = (1..=8).map(|n| retry.wait(n, None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        let asked = |seconds| retry.wait(1, Some(Duration::from_secs(seconds))).as_secs();
        assert_eq!((asked(0), asked(20), asked(9999)), (1, 20, 60));
        assert_eq!(retry.wait(u32::MAX, None).as_secs(), 60);
    }
}
