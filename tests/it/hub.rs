//! Fetches from a server on loopback that breaks in every way that servers break.

mod scene;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use showtell::hub::{self, HubError, Origin, Request, Store};

use scene::Scene;
use server::{Reply, Server, Then, header, part, reply, sha256, status, weights, whole};

#[test]
fn a_file_is_fetched_whole() {
    let server = Server::play(vec![whole(&weights(), weights().len())]);
    let mut scene = Scene::new(&server.url);
    assert_eq!(scene.succeeds(), Origin::Fetched);

    let total = weights().len() as u64;
    let progress = &scene.diary.progress;
    assert_eq!(progress.first(), Some(&(0, Some(total))));
    assert_eq!(progress.last(), Some(&(total, Some(total))));
    assert!(progress.is_sorted());
    assert!(scene.diary.notes.is_empty());
    let request = &server.requests()[0];
    assert_eq!(header(request, "range"), None);
    assert_eq!(header(request, "accept-encoding"), Some("identity"));
    assert!(
        header(request, "user-agent")
            .unwrap()
            .starts_with("showtell/")
    );
}

#[test]
fn a_file_of_unknown_length_is_fetched_whole() {
    let server = Server::play(vec![reply("200 OK", &[], &weights())]);
    let mut scene = Scene::new(&server.url);
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(scene.diary.progress[0], (0, None));
}

#[test]
fn a_break_shows_by_the_published_size_where_no_length_was_told() {
    let body = weights();
    let server = Server::play(vec![
        reply("200 OK", &[("ETag", "\"v1\"")], &body[..100_000]),
        part(&body, 100_000, body.len()),
    ]);
    let mut scene = Scene::new(&server.url);
    scene.request.bytes = Some(2 << 20);
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(scene.diary.notes, ["retrying in 1 s"]);
}

#[test]
fn a_file_that_is_there_is_not_fetched_again() {
    let server = Server::play(vec![whole(&weights(), weights().len())]);
    let mut scene = Scene::new(&server.url);
    scene.succeeds();
    assert_eq!(scene.succeeds(), Origin::AlreadyHere);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_damaged_file_is_replaced() {
    let server = Server::play(vec![whole(&weights(), weights().len())]);
    let mut scene = Scene::new(&server.url);
    std::fs::create_dir(scene.folder.path().join("models")).unwrap();
    std::fs::write(&scene.request.target, "damaged").unwrap();
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(scene.diary.notes, ["damaged"]);
}

#[test]
fn a_dropped_connection_is_continued_where_it_broke() {
    let body = weights();
    let server = Server::play(vec![
        whole(&body, 150_000),
        part(&body, 150_000, body.len()),
    ]);
    let mut scene = Scene::new(&server.url);
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(scene.diary.notes, ["retrying in 1 s"]);
    let requests = server.requests();
    assert_eq!(header(&requests[1], "range"), Some("bytes=150000-"));
    assert_eq!(header(&requests[1], "if-range"), Some("\"v1\""));
}

#[test]
fn a_run_that_gave_up_is_continued_by_the_next() {
    let body = weights();
    let server = Server::play(vec![
        whole(&body, 150_000),
        part(&body, 150_000, body.len()),
    ]);
    let mut scene = Scene::new(&server.url);
    scene.attempts = 1;
    let error = scene.fetch().unwrap_err();
    assert!(
        matches!(error, HubError::GaveUp { attempts: 1, .. }),
        "{error}"
    );
    assert_eq!(
        scene.files(),
        ["weights.pth.partial", "weights.pth.partial.json"]
    );

    assert_eq!(scene.succeeds(), Origin::Resumed { from: 150_000 });
    assert_eq!(scene.diary.notes, ["resuming at 150000"]);
    assert_eq!(header(&server.requests()[1], "if-range"), Some("\"v1\""));
}

#[test]
fn a_line_that_brings_little_is_followed_to_the_end() {
    let body = weights();
    let mut script = vec![whole(&body, 50_000)];
    script.extend(
        (50_000..400_000)
            .step_by(50_000)
            .map(|start| part(&body, start, start + 50_000)),
    );
    let server = Server::play(script);
    let mut scene = Scene::new(&server.url);
    scene.attempts = 2;
    scene.succeeds();
    assert_eq!(scene.diary.notes, ["retrying in 1 s"; 7]);
}

#[test]
fn a_line_that_brings_nothing_is_given_up() {
    let body = weights();
    let mut script = vec![whole(&body, 1_000)];
    script.extend(vec![part(&body, 1_000, 1_000); 4]);
    let server = Server::play(script);
    let mut scene = Scene::new(&server.url);
    let error = scene.fetch().unwrap_err();
    assert!(
        matches!(error, HubError::GaveUp { attempts: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&server.url), "{error}");
    assert_eq!(scene.diary.notes, ["retrying in 1 s", "retrying in 2 s"]);
    assert_eq!(std::fs::metadata(scene.partial()).unwrap().len(), 1_000);
}

#[test]
fn a_connection_closed_before_the_answer_is_made_again() {
    let nothing = Reply {
        bytes: Vec::new(),
        then: Then::Close,
    };
    let server = Server::play(vec![
        nothing.clone(),
        nothing,
        whole(&weights(), weights().len()),
    ]);
    assert_eq!(Scene::new(&server.url).succeeds(), Origin::Fetched);
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let body = weights();
    let hanging = Reply {
        then: Then::Hang,
        ..whole(&body, 100_000)
    };
    let server = Server::play(vec![hanging, part(&body, 100_000, body.len())]);
    let mut scene = Scene::new(&server.url);
    scene.silence = Duration::from_millis(500);
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(
        header(&server.requests()[1], "range"),
        Some("bytes=100000-")
    );
}

#[test]
fn nobody_listening_is_an_error_that_names_the_address() {
    let server = Server::play(vec![]);
    let mut scene = Scene::new(&server.url);
    let error = scene.fetch().unwrap_err();
    assert!(
        matches!(error, HubError::GaveUp { attempts: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&server.url), "{error}");
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let later = reply(
        "503 Service Unavailable",
        &[("Content-Length", "0"), ("Retry-After", "20")],
        b"",
    );
    let server = Server::play(vec![
        later,
        status("502 Bad Gateway"),
        whole(&weights(), weights().len()),
    ]);
    let mut scene = Scene::new(&server.url);
    scene.succeeds();
    assert_eq!(scene.diary.notes, ["retrying in 20 s", "retrying in 2 s"]);
}

#[test]
fn a_missing_file_is_not_asked_for_twice() {
    let server = Server::play(vec![status("404 Not Found"), whole(&weights(), 0)]);
    let mut scene = Scene::new(&server.url);
    let error = scene.fetch().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} answered 404 Not Found", server.url)
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn redirects_are_followed_with_the_range() {
    let body = weights();
    let mirror = Server::play(vec![
        whole(&body, 150_000),
        part(&body, 150_000, body.len()),
    ]);
    let moved = reply(
        "302 Found",
        &[("Location", &mirror.url), ("Content-Length", "0")],
        b"",
    );
    let server = Server::play(vec![moved; 2]);
    assert_eq!(Scene::new(&server.url).succeeds(), Origin::Fetched);
    assert_eq!(
        header(&mirror.requests()[1], "range"),
        Some("bytes=150000-")
    );
    assert_eq!(header(&mirror.requests()[1], "if-range"), Some("\"v1\""));
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let body = weights();
    let server = Server::play(vec![whole(&body, 300_000), whole(&body, body.len())]);
    let mut scene = Scene::new(&server.url);
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(
        scene.diary.notes,
        [
            "retrying in 1 s",
            "starting over: the server sends the file from its first byte"
        ]
    );
}

#[test]
fn a_file_that_grew_starts_over() {
    let body = weights();
    let server = Server::play(vec![part(&body, 4, body.len()), whole(&body, body.len())]);
    let mut scene = Scene::new(&server.url).begun(&body[..4], &server.url, 17);
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(scene.diary.notes[1], "starting over: the file has changed");
    assert_eq!(header(&server.requests()[1], "range"), None);
}

#[test]
fn another_part_than_was_asked_for_starts_over() {
    let body = weights();
    let server = Server::play(vec![part(&body, 8, body.len()), whole(&body, body.len())]);
    let mut scene = Scene::new(&server.url).begun(&body[..4], &server.url, body.len());
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(
        scene.diary.notes[1],
        "starting over: the server sent another part"
    );
}

#[test]
fn the_last_byte_may_have_come_before_the_process_ended() {
    let server = Server::play(vec![]);
    let body = weights();
    let mut scene = Scene::new(&server.url).begun(&body, &server.url, body.len());
    assert_eq!(
        scene.succeeds(),
        Origin::Resumed {
            from: body.len() as u64
        }
    );
}

#[test]
fn nothing_beyond_the_end_means_that_all_is_here() {
    let body = weights();
    let range = format!("bytes */{}", body.len());
    let beyond = reply(
        "416 Range Not Satisfiable",
        &[("Content-Range", &range), ("Content-Length", "0")],
        b"",
    );
    let server = Server::play(vec![beyond]);
    let mut scene = Scene::new(&server.url).begun(&body, &server.url, 999_999);
    assert_eq!(
        scene.succeeds(),
        Origin::Resumed {
            from: body.len() as u64
        }
    );
}

#[test]
fn more_than_the_server_has_starts_over() {
    let body = weights();
    let range = format!("bytes */{}", body.len());
    let beyond = reply(
        "416 Range Not Satisfiable",
        &[("Content-Range", &range), ("Content-Length", "0")],
        b"",
    );
    let server = Server::play(vec![beyond, whole(&body, body.len())]);
    let longer = [body.as_slice(), b"more"].concat();
    let mut scene = Scene::new(&server.url).begun(&longer, &server.url, 999_999);
    assert_eq!(scene.succeeds(), Origin::Fetched);
}

#[test]
fn bytes_that_spoilt_on_the_disk_are_fetched_again() {
    let body = weights();
    let server = Server::play(vec![
        part(&body, 5_000, body.len()),
        whole(&body, body.len()),
    ]);
    let mut scene = Scene::new(&server.url).begun(&[0; 5_000], &server.url, body.len());
    assert_eq!(scene.succeeds(), Origin::Fetched);
    assert_eq!(
        scene.diary.notes,
        ["resuming at 5000", "starting over: the digest is wrong"]
    );
}

#[test]
fn a_mirror_carries_on_where_another_address_stopped() {
    let body = weights();
    let server = Server::play(vec![part(&body, 5_000, body.len())]);
    let mut scene = Scene::new(&server.url).begun(
        &body[..5_000],
        "https://elsewhere.example/weights.pth",
        body.len(),
    );
    assert_eq!(scene.succeeds(), Origin::Resumed { from: 5_000 });
    let request = &server.requests()[0];
    assert_eq!(header(request, "range"), Some("bytes=5000-"));
    assert_eq!(header(request, "if-range"), None);
}

#[test]
fn a_wrong_digest_is_an_error_with_both_and_nothing_is_kept() {
    let mut other = weights();
    other[200_000] ^= 1;
    let server = Server::play(vec![whole(&other, other.len())]);
    let mut scene = Scene::new(&server.url);
    let error = scene.fetch().unwrap_err().to_string();
    assert!(error.contains(&sha256(&other)), "{error}");
    assert!(error.contains(&sha256(&weights())), "{error}");
    assert!(!error.contains("login page"), "{error}");
    assert_eq!(scene.files(), Vec::<String>::new());
}

#[test]
fn a_length_that_is_too_short_is_caught_by_the_digest() {
    let body = weights();
    let server = Server::play(vec![whole(&body[..300_000], 300_000)]);
    let error = Scene::new(&server.url).fetch().unwrap_err();
    assert!(
        matches!(error, HubError::WrongDigest { bytes: 300_000, .. }),
        "{error}"
    );
}

#[test]
fn a_login_page_is_recognised() {
    let page = b"<html>Please pay for the hotel's network</html>";
    let headers = [("Content-Type", "text/html; charset=utf-8")];
    let server = Server::play(vec![reply("200 OK", &headers, page)]);
    let error = Scene::new(&server.url).fetch().unwrap_err().to_string();
    assert!(error.contains("login page"), "{error}");
}

#[test]
fn far_more_than_was_published_is_not_fetched() {
    let promised = reply("200 OK", &[("Content-Length", "9000000000")], b"x");
    let endless = reply("200 OK", &[], &vec![0; 3 << 20]);
    for reply in [promised, endless] {
        let server = Server::play(vec![reply]);
        let error = Scene::new(&server.url).fetch().unwrap_err();
        assert!(matches!(error, HubError::TooLarge { .. }), "{error}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let server = Server::play(vec![whole(&weights(), weights().len())]);
    let mut scene = Scene::new(&server.url);
    std::fs::create_dir(scene.folder.path().join("models")).unwrap();
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", scene.partial()).unwrap();
    let error = scene.fetch().unwrap_err();
    assert!(matches!(error, HubError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
}

#[test]
fn other_schemes_are_refused() {
    for url in [
        "",
        "ftp://x/weights.pth",
        "file:///etc/passwd",
        "/etc/passwd",
    ] {
        let error = Scene::new(url).fetch().unwrap_err();
        assert!(matches!(error, HubError::BadAddress { .. }), "{error}");
    }
}

#[test]
fn an_entry_becomes_a_request() {
    let entry = hub::find("vgg16").unwrap();
    let store = Store::new("/models");
    let request = Request::of(entry, &store, None);
    assert_eq!(request.url, entry.url);
    assert_eq!(request.target, PathBuf::from("/models/vgg16-397923af.pth"));
    let mirrored = Request::of(entry, &store, Some("http://mirror/x"));
    assert_eq!(
        (mirrored.url.as_str(), mirrored.digest),
        ("http://mirror/x", request.digest)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn wherever_the_line_breaks_the_file_is_whole(mut cuts in prop::collection::vec(1..400_000_usize, 0..6)) {
        let body = weights();
        cuts.sort();
        cuts.dedup();
        cuts.push(body.len());
        let mut script = vec![whole(&body, cuts[0])];
        script.extend(cuts.windows(2).map(|cut| part(&body, cut[0], cut[1])));
        let server = Server::play(script);
        Scene::new(&server.url).succeeds();
        prop_assert_eq!(server.requests().len(), cuts.len());
    }
}
