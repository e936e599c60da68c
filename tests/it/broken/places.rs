//! What goes wrong around a file: its name, the links to it, and what is no file at all.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::craft::with_tag;
use super::{Folder, Outcome, golden_bytes};

impl Folder<'_> {
    pub(super) fn not_what_the_name_says(&mut self) {
        let jpeg = golden_bytes("jpeg-420.jpg");
        let shown = Outcome::Shown {
            width: 18,
            height: 11,
        };
        self.write("names/jpeg inside.png", &jpeg, shown.clone());
        self.write("names/jpeg inside.txt", &jpeg, shown.clone());
        self.write("names/no extension", &jpeg, shown.clone());
        self.write("names/SHOUTED.JPG", &jpeg, shown.clone());
        self.write(
            "names/tga by its footer.bin",
            golden_bytes("tga-rgb.tga"),
            shown,
        );

        let text = b"Dear archivist,\nplease find the pictures attached.\n";
        let not = Outcome::Failed("not an image: the file begins with");
        self.write("names/letter.jpg", text, not.clone());
        self.write(
            "names/page.png",
            b"<!DOCTYPE html><title>404</title>",
            not.clone(),
        );
        self.write(
            "names/film.jpeg",
            b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2avc1mp41",
            not,
        );
        self.write("names/empty.jpg", b"", Outcome::Failed("the file is empty"));
        self.write(
            "names/zeros.jpg",
            [0; 4096],
            Outcome::Failed("begins with zeros"),
        );

        self.write("names/letter.txt", text, Outcome::NoRow);
        self.write("names/empty.txt", b"", Outcome::NoRow);
        self.write("names/zeros.bin", [0; 4096], Outcome::NoRow);
        self.write(
            "names/film.mp4",
            b"\0\0\0\x18ftypisom\0\0\x02\0isom",
            Outcome::NoRow,
        );
        self.write(
            "names/minutes.txt",
            b"BM: begin at nine, bring the minutes along",
            Outcome::NoRow,
        );
        self.write(
            "names/tasks.txt",
            b"P1 fix the roof\nP2 paint it\n",
            Outcome::NoRow,
        );
        self.write(
            "names/cursor.bin",
            b"\0\0\x01\0\x01\0\0\0\0\0\0\0",
            Outcome::NoRow,
        );
    }

    pub(super) fn unsupported(&mut self) {
        self.write(
            "unsupported/photo.HEIC",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            Outcome::Failed("HEIC is not supported: convert to JPEG"),
        );
        self.write(
            "unsupported/photo.jpg",
            b"\0\0\0\x1Cftypavif\0\0\0\0avifmif1miaf",
            Outcome::Failed("AVIF is not supported"),
        );
        // A drawing is a document, like a PDF.
        self.write(
            "unsupported/drawing.svg",
            b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            Outcome::NoRow,
        );
        self.write(
            "unsupported/IMG_0001.CR2",
            b"II*\0\x10\0\0\0CR\x02\0\0\0\0\0",
            Outcome::Failed("camera raw is not supported"),
        );
        // A preview of the picture is what a reader of TIFF would find in it.
        self.write(
            "unsupported/L1000001.DNG",
            with_tag(&golden_bytes("tiff-rgb.tif"), 0xC612, 1),
            Outcome::Failed("camera raw is not supported"),
        );
    }

    pub(super) fn names(&mut self) {
        let bytes = golden_bytes("png-rgb.png");
        let shown = Outcome::Shown {
            width: 18,
            height: 11,
        };
        for (name, uri) in [
            (&b"names/caf\xE9.png"[..], "names/caf%E9.png"),
            (b"names/two\nlines.png", "names/two%0Alines.png"),
            (b"names/100%.png", "names/100%25.png"),
            (b"names/a%20b.png", "names/a%2520b.png"),
            ("names/日本 📷.png".as_bytes(), "names/日本 📷.png"),
            (
                b"names/back\\slash \"quoted\".png",
                "names/back\\slash \"quoted\".png",
            ),
            (b"names/-rf.png", "names/-rf.png"),
            (b"names/ .png", "names/ .png"),
        ] {
            self.write_as(OsStr::from_bytes(name), uri, &bytes, shown.clone());
        }
        let long = format!("names/{}.png", "n".repeat(251));
        self.write(long, &bytes, shown.clone());
        let deep = format!("{}x.png", "deep/".repeat(60));
        self.write(deep, &bytes, shown.clone());
        // A directory with an image's name is a directory.
        self.write("order/a.png/b.png", &bytes, shown.clone());
        self.write("order/a.png.png", &bytes, shown.clone());
        self.write("order/a b.png", &bytes, shown.clone());
        self.write("order/a/z.png", &bytes, shown.clone());
        self.write("order/a.d/z.png", &bytes, shown);
    }

    pub(super) fn links(&mut self) {
        let link = |target: &str, name: &str| symlink(target, self.dir.join("links").join(name));
        fs::create_dir_all(self.dir.join("links/below")).unwrap();
        link("../formats/gif.gif", "inside.gif").unwrap();
        link("../order", "directory").unwrap();
        link("nowhere.jpg", "dangling.jpg").unwrap();
        link("itself", "itself").unwrap();
        link("..", "up").unwrap();
        link("../..", "below/up").unwrap();
        link("/nowhere/gone.jpg", "dangling outside.jpg").unwrap();
        link("/", "out").unwrap();
        link("/proc/self/exe", "out.jpg").unwrap();
        let shown = Outcome::Shown {
            width: 18,
            height: 11,
        };
        self.expect("links/inside.gif", shown.clone());
        for file in [
            "a.png/b.png",
            "a.png.png",
            "a b.png",
            "a/z.png",
            "a.d/z.png",
        ] {
            self.expect(format!("links/directory/{file}"), shown.clone());
        }
        self.expect(
            "links/dangling.jpg",
            Outcome::Unreadable("nowhere.jpg, which does not exist"),
        );
        for name in [
            "dangling outside.jpg",
            "itself",
            "up",
            "below/up",
            "out",
            "out.jpg",
        ] {
            self.expect(format!("links/{name}"), Outcome::NoRow);
        }
    }

    /// What would be waited for without end if it were opened.
    pub(super) fn special(&mut self) {
        fs::create_dir_all(self.dir.join("special")).unwrap();
        let pipe = self.dir.join("special/pipe.jpg");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success(), "mkfifo {}", pipe.display());
        symlink("pipe.jpg", self.dir.join("special/link.jpg")).unwrap();
        self.expect("special/pipe.jpg", Outcome::NoRow);
        self.expect("special/link.jpg", Outcome::NoRow);
        // A socket's path may be no longer than some hundred bytes.
        if UnixListener::bind(self.dir.join("special/socket.jpg")).is_ok() {
            self.expect("special/socket.jpg", Outcome::NoRow);
        }
        fs::create_dir_all(self.dir.join("special/empty directory")).unwrap();
        self.expect("special/empty directory", Outcome::NoRow);
    }

    pub(super) fn hidden(&mut self) {
        let bytes = golden_bytes("png-rgb.png");
        self.write("hidden/.secret.png", &bytes, Outcome::NoRow);
        self.write("hidden/.cache/a.png", &bytes, Outcome::NoRow);
        self.write("hidden/._photo.jpg", b"\0\x05\x16\x07", Outcome::NoRow);
    }
}
