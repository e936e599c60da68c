//! Turns an address and a position into an answer whose headers are understood.
//!
//! It stands apart so that the rules of HTTP (ranges, validators, which faults pass by themselves) are
//! in one place and the download loop reads as what it does.
//! Ranges: RFC 9110, sections 13.1.5 (If-Range), 14 and 15.5.17.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, BodyReader, Proxy};

use super::error::HubError;

/// How to reach the network.
#[derive(Debug, Clone)]
pub struct Network {
    pub proxy: ProxyChoice,
    pub roots: Roots,
    pub timeouts: Timeouts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    Direct,
    /// `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY`, but for the hosts in `NO_PROXY`.
    FromEnvironment,
    /// Such as `http://user:password@proxy:3128` or `socks5://proxy:1080`.
    Url(String),
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those that Mozilla believes.
    Mozilla,
    /// Those in this PEM file alone, as behind a proxy that opens TLS.
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To look up the name, connect and shake hands.
    pub connect: Duration,
    /// From the request to the end of the answer's headers.
    pub answer: Duration,
    /// Without a single byte. There is no limit on the whole, which may take hours.
    pub silence: Duration,
}

impl Network {
    /// With the environment's proxy and Mozilla's certificates, patient enough for a slow line.
    pub fn from_environment() -> Network {
        Network {
            proxy: ProxyChoice::FromEnvironment,
            roots: Roots::Mozilla,
            timeouts: Timeouts {
                connect: Duration::from_secs(30),
                answer: Duration::from_secs(60),
                silence: Duration::from_secs(60),
            },
        }
    }
}

/// Sends requests.
pub(super) struct Transport {
    agent: Agent,
}

/// An answer, read up to its body.
pub(super) struct Answer {
    pub kind: Kind,
    /// Names this version of the file: a strong ETag, else the time of its last change.
    pub validator: Option<String>,
    pub content_type: Option<String>,
    pub body: BodyReader<'static>,
}

/// What the status and the headers of an answer mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// 200: all bytes from the first. `total` where it was said.
    Whole { total: Option<u64> },
    /// 206: the bytes from `start`. `total` of the whole file, where it was said.
    Part { start: u64, total: Option<u64> },
    /// 416: nothing from where it was asked. `total` of the whole file, where it was said.
    Beyond { total: Option<u64> },
    /// A status that time may cure, and how long the server wants to be left alone.
    Later {
        status: String,
        wait: Option<Duration>,
    },
    /// A status that asking again does not change.
    Refused { status: String },
}

/// Why there is no answer.
pub(super) enum Fault {
    /// The network's: trying again may help.
    Passing(String),
    /// Trying again would give the same.
    Lasting(Box<ureq::Error>),
}

impl Transport {
    pub(super) fn new(network: &Network) -> Result<Transport, HubError> {
        let proxy = match &network.proxy {
            ProxyChoice::Direct => None,
            ProxyChoice::FromEnvironment => Proxy::try_from_env(),
            ProxyChoice::Url(url) => {
                Some(Proxy::new(url).map_err(|source| HubError::BadProxy {
                    proxy: url.clone(),
                    source: Box::new(source),
                })?)
            }
        };
        let roots = match &network.roots {
            Roots::Mozilla => RootCerts::WebPki,
            Roots::File(path) => certificates(path)?,
        };
        let agent = Agent::config_builder()
            .proxy(proxy)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("showtell/", env!("CARGO_PKG_VERSION")))
            // A compressed body has other bytes than the file and cannot be resumed.
            .accept_encoding("identity")
            .http_status_as_error(false)
            .timeout_connect(Some(network.timeouts.connect))
            .timeout_recv_response(Some(network.timeouts.answer))
            .timeout_per_read(Some(network.timeouts.silence))
            .build()
            .new_agent();
        Ok(Transport { agent })
    }

    /// Asks for the bytes from `start`; if the file is no longer that of `validator`, for all of them.
    pub(super) fn get(
        &self,
        url: &str,
        start: u64,
        validator: Option<&str>,
    ) -> Result<Answer, Fault> {
        let mut request = self.agent.get(url);
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
            if let Some(validator) = validator {
                request = request.header("If-Range", validator);
            }
        }
        let response = request.call().map_err(classify)?;
        Ok(understand(response))
    }
}

fn understand(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let headers = &parts.headers;
    let encoded = text(headers, "content-encoding").is_some_and(|coding| coding != "identity");
    Answer {
        kind: kind_of(parts.status, headers, encoded),
        validator: if encoded { None } else { validator(headers) },
        content_type: text(headers, "content-type").map(str::to_string),
        // Without a limit: ureq's own is 10 MB.
        body: body.into_with_config().limit(u64::MAX).reader(),
    }
}

fn kind_of(status: StatusCode, headers: &HeaderMap, encoded: bool) -> Kind {
    let status_text = || match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    };
    match status.as_u16() {
        200 => Kind::Whole {
            total: match encoded {
                true => None,
                false => text(headers, "content-length").and_then(|length| length.parse().ok()),
            },
        },
        206 => match text(headers, "content-range").and_then(content_range) {
            Some((Some(start), total)) if !encoded => Kind::Part { start, total },
            _ => Kind::Refused {
                status: format!("{} without telling which part", status_text()),
            },
        },
        416 => Kind::Beyond {
            total: text(headers, "content-range")
                .and_then(content_range)
                .and_then(|(_, total)| total),
        },
        408 | 425 | 429 | 500 | 502..=504 | 507..=599 => Kind::Later {
            status: status_text(),
            wait: text(headers, "retry-after")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
        },
        _ => Kind::Refused {
            status: status_text(),
        },
    }
}

/// The start and the whole length in `bytes 100-199/1000`, `bytes 100-199/*` or `bytes */1000`.
fn content_range(value: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let start = match range.trim() {
        "*" => None,
        range => Some(range.split_once('-')?.0.parse().ok()?),
    };
    Some((start, total))
}

/// If-Range takes strong validators only.
fn validator(headers: &HeaderMap) -> Option<String> {
    text(headers, "etag")
        .filter(|etag| etag.starts_with('"'))
        .or_else(|| text(headers, "last-modified"))
        .map(str::to_string)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn classify(error: ureq::Error) -> Fault {
    use ureq::Error::*;
    match error {
        // rustls wraps what it thinks of a certificate in an I/O error.
        Io(source) if is_tls(&source) => Fault::Lasting(Box::new(Io(source))),
        Io(_)
        | Timeout(_)
        | HostNotFound
        | ConnectionFailed
        | ConnectProxyFailed(_)
        | Protocol(_)
        | BodyStalled => Fault::Passing(error.to_string()),
        _ => Fault::Lasting(Box::new(error)),
    }
}

fn is_tls(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

fn certificates(path: &PathBuf) -> Result<RootCerts, HubError> {
    let bad = |reason: String| HubError::BadCertificates {
        path: path.clone(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|source| HubError::file("read", path, source))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| bad(error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(bad("there is no certificate in this file".into()));
    }
    Ok(RootCerts::new_with_certs(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn kind(status: u16, pairs: &[(&'static str, &str)]) -> Kind {
        kind_of(
            StatusCode::from_u16(status).unwrap(),
            &headers(pairs),
            false,
        )
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_writes_them() {
        assert_eq!(
            content_range("bytes 100-199/1000"),
            Some((Some(100), Some(1000)))
        );
        assert_eq!(content_range("bytes 100-199/*"), Some((Some(100), None)));
        assert_eq!(content_range("bytes */1000"), Some((None, Some(1000))));
        for text in [
            "",
            "bytes",
            "bytes 1-2",
            "items 1-2/3",
            "bytes x-2/3",
            "bytes 1-2/x",
            "bytes -2/3",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(
            kind(200, &[("content-length", "12")]),
            Kind::Whole { total: Some(12) }
        );
        assert_eq!(
            kind(206, &[("content-range", "bytes 3-11/12")]),
            Kind::Part {
                start: 3,
                total: Some(12)
            }
        );
        assert!(matches!(kind(206, &[]), Kind::Refused { .. }));
        assert_eq!(
            kind(416, &[("content-range", "bytes */12")]),
            Kind::Beyond { total: Some(12) }
        );
        assert_eq!(
            kind(503, &[("retry-after", "7")]),
            Kind::Later {
                status: "503 Service Unavailable".into(),
                wait: Some(Duration::from_secs(7))
            }
        );
        for status in [408, 429, 500, 502, 504, 520] {
            assert!(matches!(kind(status, &[]), Kind::Later { .. }), "{status}");
        }
        for status in [204, 301, 400, 401, 403, 404, 410, 451, 501] {
            assert!(
                matches!(kind(status, &[]), Kind::Refused { .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn a_compressed_answer_has_no_length_and_cannot_be_continued() {
        let headers = headers(&[("content-length", "12"), ("content-range", "bytes 3-11/12")]);
        let of = |status: StatusCode| kind_of(status, &headers, true);
        assert_eq!(of(StatusCode::OK), Kind::Whole { total: None });
        assert!(matches!(
            of(StatusCode::PARTIAL_CONTENT),
            Kind::Refused { .. }
        ));
    }

    #[test]
    fn weak_validators_are_passed_over() {
        let validator = |pairs: &[(&'static str, &str)]| validator(&headers(pairs));
        assert_eq!(validator(&[("etag", "\"a\"")]).as_deref(), Some("\"a\""));
        assert_eq!(
            validator(&[
                ("etag", "W/\"a\""),
                ("last-modified", "Tue, 1 Jan 2019 00:00:00 GMT")
            ])
            .as_deref(),
            Some("Tue, 1 Jan 2019 00:00:00 GMT")
        );
        assert_eq!(validator(&[("etag", "W/\"a\"")]), None);
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let network = |path: &PathBuf| Network {
            roots: Roots::File(path.clone()),
            ..Network::from_environment()
        };
        assert!(matches!(
            Transport::new(&network(&path)),
            Err(HubError::File { .. })
        ));
        std::fs::write(&path, "hello").unwrap();
        assert!(matches!(
            Transport::new(&network(&path)),
            Err(HubError::BadCertificates { .. })
        ));
    }

    #[test]
    fn a_bad_proxy_is_named() {
        let network = Network {
            proxy: ProxyChoice::Url("ftp://proxy".into()),
            ..Network::from_environment()
        };
        let error = Transport::new(&network).err().unwrap().to_string();
        assert!(error.contains("ftp://proxy"), "{error}");
    }
}
