//! A folder to fetch into, and a diary of what happened on the way.

use std::path::PathBuf;
use std::time::Duration;

use showtell::hub::{
    Downloader, Fetched, HubError, Network, Note, Origin, Progress, ProxyChoice, Request, Retry,
    Roots, Timeouts,
};
use tempfile::TempDir;

use super::server::{sha256, weights};

#[derive(Default)]
pub struct Diary {
    pub progress: Vec<(u64, Option<u64>)>,
    pub notes: Vec<String>,
}

impl Progress for Diary {
    fn progress(&mut self, done: u64, total: Option<u64>) {
        self.progress.push((done, total));
    }

    fn note(&mut self, note: Note<'_>) {
        self.notes.push(match note {
            Note::Damaged { .. } => "damaged".into(),
            Note::Resuming { bytes } => format!("resuming at {bytes}"),
            Note::StartingOver { reason } => format!("starting over: {reason}"),
            Note::Retrying { wait, .. } => format!("retrying in {} s", wait.as_secs()),
        });
    }
}

/// A folder to fetch into, and how patient to be.
pub struct Scene {
    pub folder: TempDir,
    pub request: Request,
    pub attempts: u32,
    pub silence: Duration,
    pub diary: Diary,
}

impl Scene {
    pub fn new(url: &str) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let request = Request {
            url: url.to_string(),
            target: folder.path().join("models/weights.pth"),
            digest: sha256(&weights()).parse().unwrap(),
            bytes: Some(weights().len() as u64),
        };
        Scene {
            folder,
            request,
            attempts: 3,
            silence: Duration::from_secs(60),
            diary: Diary::default(),
        }
    }

    pub fn fetch(&mut self) -> Result<Fetched, HubError> {
        let network = Network {
            proxy: ProxyChoice::Direct,
            roots: Roots::Mozilla,
            timeouts: Timeouts {
                connect: Duration::from_secs(60),
                answer: Duration::from_secs(60),
                silence: self.silence,
            },
        };
        let retry = Retry {
            attempts: self.attempts,
            sleep: |_| {},
            ..Retry::patient()
        };
        Downloader::new(&network, retry)?.fetch(&self.request, &mut self.diary)
    }

    pub fn partial(&self) -> PathBuf {
        self.folder.path().join("models/weights.pth.partial")
    }

    /// Leaves behind what an earlier run fetched from `url`.
    pub fn begun(self, bytes: &[u8], url: &str, total: usize) -> Scene {
        std::fs::create_dir_all(self.folder.path().join("models")).unwrap();
        std::fs::write(self.partial(), bytes).unwrap();
        let note = format!(r#"{{"url": "{url}", "validator": "\"v1\"", "total": {total}}}"#);
        std::fs::write(self.partial().with_extension("partial.json"), note).unwrap();
        self
    }

    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path().join("models"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Fetches and expects the whole file and nothing beside it.
    pub fn succeeds(&mut self) -> Origin {
        let fetched = self.fetch().unwrap();
        assert_eq!(fetched.path, self.request.target);
        assert_eq!(fetched.bytes, weights().len() as u64);
        assert_eq!(fetched.sha256.to_string(), sha256(&weights()));
        assert!(std::fs::read(&self.request.target).unwrap() == weights());
        assert_eq!(self.files(), ["weights.pth"]);
        fetched.origin
    }
}
