//! Turns a file of the archive into its bytes, its identity and its format, if it is an image.
//!
//! A film of many gigabytes that lies among the photographs costs one read of its first bytes.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::sniff::{Evidence, HEADER_BYTES, Sniffed, TGA_FOOTER, promises_image, sniff};
use super::{Failure, Format, ImageId, ImageRef, Limits, tiff};

/// An image as it lies in the archive, whole and not yet decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub bytes: Vec<u8>,
    pub image_id: ImageId,
    pub format: Format,
}

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadOutcome {
    /// Neither its bytes nor its name say that it is an image; it is no row.
    NotAnImage,
    Loaded(Loaded),
    /// It cannot be read, is too large, or has an image's name and other bytes.
    Failed {
        /// Absent if the file could not be read to its end.
        image_id: Option<ImageId>,
        failure: Failure,
    },
}

/// Reads a file that is an image, and of others no more than it takes to tell.
///
/// What is there now is read, whatever the walk saw.
pub fn load(image: &ImageRef, limits: &Limits) -> LoadOutcome {
    let extension = extension(&image.path);
    match read(&image.path, &extension, limits) {
        Ok(outcome) => outcome,
        Err(error) => LoadOutcome::Failed {
            image_id: None,
            failure: Failure::read(format!("cannot read the file: {error}")),
        },
    }
}

fn read(path: &Path, extension: &str, limits: &Limits) -> io::Result<LoadOutcome> {
    // A pipe that took the file's place since the walk would be waited for without end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no longer a regular file"));
    }
    let mut file = File::open(path)?;
    let before = file.metadata()?;
    let file_bytes = before.len();

    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    file.by_ref()
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut bytes)?;
    let evidence = Evidence {
        header: &bytes,
        file_bytes,
        extension,
    };
    let format = match sniff(evidence) {
        Sniffed::Image(format) => Some(format),
        Sniffed::TgaIfFooter => ends_in_tga_footer(&mut file)?.then_some(Format::Tga),
        Sniffed::NotAnImage => None,
    };

    let Some(format) = format else {
        if !promises_image(extension) {
            return Ok(LoadOutcome::NotAnImage);
        }
        file.seek(SeekFrom::Start(0))?;
        let image_id = hash(&file, limits.max_file_bytes)?;
        check_unchanged(&before, &file.metadata()?)?;
        return Ok(LoadOutcome::Failed {
            image_id,
            failure: Failure::decode(not_an_image(&bytes)),
        });
    };

    // One byte more than is allowed tells that a file has grown past the limit while it was read.
    file.seek(SeekFrom::Start(bytes.len() as u64))?;
    if file_bytes <= limits.max_file_bytes {
        bytes.reserve_exact(
            usize::try_from(file_bytes)
                .unwrap_or(0)
                .saturating_sub(bytes.len()),
        );
        let rest = (limits.max_file_bytes + 1).saturating_sub(bytes.len() as u64);
        file.by_ref().take(rest).read_to_end(&mut bytes)?;
    }
    let read = file_bytes.max(bytes.len() as u64);
    if read > limits.max_file_bytes {
        return Ok(LoadOutcome::Failed {
            image_id: None,
            failure: Failure::read(format!(
                "the file has {read} bytes, more than the limit of {} (--max-file-bytes)",
                limits.max_file_bytes
            )),
        });
    }
    check_unchanged(&before, &file.metadata()?)?;
    let format = match format {
        Format::Tiff if tiff::is_camera_raw(&bytes) => Format::Raw,
        format => format,
    };
    Ok(LoadOutcome::Loaded(Loaded {
        image_id: ImageId::of(&bytes),
        bytes,
        format,
    }))
}

/// Half of one picture and half of the next is nobody's picture. What failed so is read again by the
/// next run, as all that could not be read.
fn check_unchanged(before: &Metadata, after: &Metadata) -> io::Result<()> {
    let seen = |metadata: &Metadata| (metadata.len(), metadata.modified().ok());
    if seen(before) == seen(after) {
        return Ok(());
    }
    Err(io::Error::other("it changed while it was read"))
}

/// What a file's name ends in, in lower case, without the dot.
fn extension(path: &Path) -> String {
    path.extension()
        .map(|extension| extension.to_string_lossy().to_lowercase())
        .unwrap_or_default()
}

fn ends_in_tga_footer(file: &mut File) -> io::Result<bool> {
    let mut footer = [0; TGA_FOOTER.len()];
    if file.metadata()?.len() < footer.len() as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-(footer.len() as i64)))?;
    file.read_exact(&mut footer)?;
    Ok(&footer == TGA_FOOTER)
}

/// The identity of a file that is not kept; none if it is larger than the limit.
fn hash(file: &File, max_file_bytes: u64) -> io::Result<Option<ImageId>> {
    if file.metadata()?.len() > max_file_bytes {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(max_file_bytes))?;
    Ok(Some(ImageId(*hasher.finalize().as_bytes())))
}

fn not_an_image(header: &[u8]) -> String {
    if header.is_empty() {
        return "not an image: the file is empty".to_owned();
    }
    let first = &header[..header.len().min(16)];
    if header.iter().all(|&byte| byte == 0) {
        return "not an image: the file begins with zeros, as files do that were lost in copying"
            .to_owned();
    }
    format!(
        "not an image: the file begins with \"{}\"",
        first.escape_ascii()
    )
}
