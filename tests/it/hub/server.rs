//! A server on loopback that plays a script, byte by byte: well-behaved servers cannot be made to break
//! a connection at will.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

/// The file that is served: no two blocks of it are alike.
pub fn weights() -> Vec<u8> {
    (0..100_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// One connection: what the server sends before it closes.
#[derive(Clone)]
pub struct Reply {
    pub bytes: Vec<u8>,
    pub then: Then,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    Close,
    /// Says nothing more until the next connection comes.
    Hang,
}

pub fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let bytes = [head.as_bytes(), body].concat();
    Reply {
        bytes,
        then: Then::Close,
    }
}

/// 200 with `sent` bytes of `body`, all of which were promised.
pub fn whole(body: &[u8], sent: usize) -> Reply {
    let length = body.len().to_string();
    reply(
        "200 OK",
        &[("Content-Length", &length), ("ETag", "\"v1\"")],
        &body[..sent],
    )
}

/// 206 from `start`, cut off before `end`.
pub fn part(body: &[u8], start: usize, end: usize) -> Reply {
    let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
    let length = (body.len() - start).to_string();
    let headers = [
        ("Content-Length", length.as_str()),
        ("Content-Range", &range),
        ("ETag", "\"v1\""),
    ];
    reply("206 Partial Content", &headers, &body[start..end])
}

pub fn status(status: &str) -> Reply {
    reply(status, &[("Content-Length", "0")], b"")
}

/// Plays a script: the n-th connection gets the n-th reply. After the last one nobody listens.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn play(script: Vec<Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/weights.pth", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            let mut held = None;
            for reply in script {
                let Ok((mut stream, _)) = listener.accept() else {
                    return;
                };
                drop(held.take());
                let mut head = String::new();
                let mut lines = BufReader::new(&stream);
                while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
                seen.lock().unwrap().push(head.to_lowercase());
                // The client may have heard enough already.
                let _ = stream.write_all(&reply.bytes);
                match reply.then {
                    Then::Close => drop(stream.shutdown(Shutdown::Both)),
                    Then::Hang => held = Some(stream),
                }
            }
        });
        Server { url, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
