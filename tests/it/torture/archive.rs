//! An archive of small drawn pictures that changes as archives do.

use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use image::{ImageFormat, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use showtell::scenes::{Frame, Scene};

const FOLDERS: [&str; 5] = ["", "a", "a/b", "a b", "c"];

/// See the [module](self).
pub struct Archive {
    directory: PathBuf,
    /// Where a folder is while it is gone.
    away: PathBuf,
    seed: u64,
    random: ChaCha8Rng,
    /// Of files and pictures: none is drawn twice.
    drawn: u64,
}

impl Archive {
    /// An archive of `files` pictures in `scratch`.
    pub fn new(scratch: &Path, seed: u64, files: usize) -> Self {
        let directory = scratch.join("photos");
        for folder in FOLDERS {
            fs::create_dir_all(directory.join(folder)).unwrap();
        }
        let mut archive = Self {
            directory,
            away: scratch.join("away"),
            seed,
            random: ChaCha8Rng::seed_from_u64(seed),
            drawn: 0,
        };
        (0..files).for_each(|_| archive.add());
        archive
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Changes a few files, or many.
    pub fn pass_a_day(&mut self) {
        let changes = match self.random.random_range(0..10) {
            0 => 0,
            1..7 => self.random.random_range(1..8),
            _ => self.random.random_range(8..30),
        };
        (0..changes).for_each(|_| self.change());
    }

    /// One thing that happens to archives.
    pub fn change(&mut self) {
        match self.random.random_range(0..100) {
            0..36 => self.add(),
            36..48 => self.write_over(),
            48..56 => self.touch(),
            56..68 => self.rename(),
            68..76 => self.copy(),
            76..86 => self.delete(),
            86..93 => self.spoil(),
            93..95 => self.link_to_nowhere(),
            95..97 => self.rename_folder(),
            _ => self.take_away_or_bring_back(),
        }
    }

    pub fn add(&mut self) {
        let path = self.new_path();
        let picture = self.picture();
        fs::write(path, picture).unwrap();
    }

    fn write_over(&mut self) {
        if let Some(path) = self.any_file() {
            let picture = self.picture();
            fs::write(path, picture).unwrap();
        }
    }

    fn touch(&mut self) {
        if let Some(path) = self.any_file() {
            let ago = Duration::from_millis(self.random.random_range(1..1_000_000_000));
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - ago).unwrap();
        }
    }

    fn rename(&mut self) {
        if let Some(path) = self.any_file() {
            fs::rename(path, self.new_path()).unwrap();
        }
    }

    fn copy(&mut self) {
        if let Some(path) = self.any_file() {
            fs::copy(path, self.new_path()).unwrap();
        }
    }

    pub fn delete(&mut self) {
        if let Some(path) = self.any_file() {
            fs::remove_file(path).unwrap();
        }
    }

    /// Cuts a picture short, empties it, or puts something else in its place.
    fn spoil(&mut self) {
        let Some(path) = self.any_file() else {
            return;
        };
        let bytes = fs::read(&path).unwrap();
        let spoilt = match self.random.random_range(0..4) {
            0 => &bytes[..bytes.len() / 2],
            1 => &bytes[..bytes.len().min(10)],
            2 => b"",
            _ => b"minutes of the meeting",
        };
        fs::write(path, spoilt).unwrap();
    }

    /// A failure of reading, which is tried again every night.
    fn link_to_nowhere(&mut self) {
        symlink("nowhere.png", self.new_path()).unwrap();
    }

    fn rename_folder(&mut self) {
        let (from, to) = (self.directory.join("c"), self.directory.join("d"));
        match (from.exists(), to.exists()) {
            (true, false) => fs::rename(from, to).unwrap(),
            (false, true) => fs::rename(to, from).unwrap(),
            _ => {}
        }
    }

    /// As a disk that is not mounted and then is again.
    fn take_away_or_bring_back(&mut self) {
        let folder = self.directory.join("a");
        match self.away.exists() {
            true => {
                // What was put there meanwhile makes way.
                let _ = fs::remove_dir_all(&folder);
                fs::rename(&self.away, folder).unwrap();
            }
            false => fs::rename(folder, &self.away).unwrap(),
        }
    }

    /// A path that no file ever had, in some folder.
    fn new_path(&mut self) -> PathBuf {
        self.drawn += 1;
        let folder = FOLDERS[self.random.random_range(0..FOLDERS.len())];
        let folder = self.directory.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let ending = ["png", "jpg", "PNG"][self.random.random_range(0..3)];
        // In an order that is not that of their making.
        let name = self.random.random_range(0..1000);
        folder.join(format!("{name:03}-{}.{ending}", self.drawn))
    }

    /// A picture that is nowhere in the archive, as PNG or JPEG.
    fn picture(&mut self) -> Vec<u8> {
        self.drawn += 1;
        let side = self.random.random_range(32..48);
        let frame = Frame::new(side, 40).unwrap();
        let scene = Scene::draw(self.seed, self.drawn, &frame, 0.0);
        let picture = RgbImage::from_raw(scene.width, scene.height, scene.pixels).unwrap();
        let format = match self.random.random_bool(0.5) {
            true => ImageFormat::Png,
            false => ImageFormat::Jpeg,
        };
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn any_file(&mut self) -> Option<PathBuf> {
        let files = files(&self.directory);
        match files.is_empty() {
            true => None,
            false => Some(files[self.random.random_range(0..files.len())].clone()),
        }
    }
}

/// The regular files below `directory`, in an order that is always the same.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(directory).sort_by_file_name();
    let entries = entries.into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(|entry| entry.into_path()).collect()
}
